// The annotation document: everything known about one photo and the masks on it. The page's save file, read and
// written by Python's records/annotation too. Keys that the page does not know are kept.

import { type Bitmap, bitmapArea, extent } from "./bitmap";
import type { Size } from "./frames";
import type { PromptEvent } from "./prompt";
import { checkedRuns, encodeRle, type Rle } from "./rle";

export const FORMAT = "segany-annotation 1";

export interface ImageInfo {
  readonly image_id: number;
  readonly width: number;
  readonly height: number;
  readonly file_name: string;
  readonly sha256: string;
}

export interface Interaction {
  readonly prompts: readonly PromptEvent[];
  readonly created: string;
  readonly modified: string;
  readonly active_seconds: number;
  /** Which of the three candidates was taken; null when there was no choice. */
  readonly chosen: number | null;
  /** Fingerprint of the model that helped; null for none. */
  readonly model: string | null;
}

export interface Annotation {
  readonly id: number;
  readonly segmentation: Rle;
  readonly area: number;
  /** x, y, w, h by the reference's rule: w is the last column minus the first. */
  readonly bbox: readonly [number, number, number, number];
  readonly predicted_iou: number;
  readonly point_coords: readonly (readonly [number, number])[];
  readonly stability_score: number;
  readonly crop_box: readonly [number, number, number, number];
  readonly output_index?: number;
  readonly label?: string;
  readonly source?: string;
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly interaction: Interaction;
  readonly view?: { readonly colour: string; readonly hidden: boolean };
}

export interface AnnotationDocument {
  readonly format: typeof FORMAT;
  readonly image: ImageInfo;
  readonly created: string;
  readonly modified: string;
  readonly active_seconds: number;
  readonly annotations: readonly Annotation[];
}

export function newDocument(image: ImageInfo, now: string): AnnotationDocument {
  return { format: FORMAT, image, created: now, modified: now, active_seconds: 0, annotations: [] };
}

/** The keys that follow from the mask itself. */
export function maskKeys(
  mask: Bitmap,
  photo: Size,
): Pick<Annotation, "segmentation" | "area" | "bbox" | "crop_box"> {
  const box = extent(mask) ?? [0, 0, 1, 1];
  return {
    segmentation: encodeRle(mask, photo),
    area: bitmapArea(mask),
    bbox: [box[0], box[1], box[2] - box[0] - 1, box[3] - box[1] - 1],
    crop_box: [0, 0, photo.width, photo.height],
  };
}

/** The smallest number above every id. */
export function nextId(annotations: readonly Annotation[]): number {
  return annotations.reduce((id, annotation) => Math.max(id, annotation.id + 1), 1);
}

type Json = Record<string, unknown>;

function fail(what: string, got: unknown, help: string): never {
  const text = JSON.stringify(got) ?? String(got);
  throw new Error(`${what}; got ${text.length > 60 ? `${text.slice(0, 57)}...` : text}. ${help}`);
}

function objectOf(value: unknown, name: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  return fail(
    `${name} must be an object`,
    value,
    "Choose a file that was exported as an annotation document.",
  );
}

function numberOf(value: unknown, name: string): number {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  return fail(`${name} must be a number`, value, "The file is damaged.");
}

function textOf(value: unknown, name: string): string {
  return typeof value === "string" ? value : fail(`${name} must be text`, value, "The file is damaged.");
}

function numbersOf(value: unknown, count: number, name: string): number[] {
  if (Array.isArray(value) && value.length === count) return value.map((item) => numberOf(item, name));
  return fail(`${name} must be ${count} numbers`, value, "The file is damaged.");
}

function readImage(value: unknown): ImageInfo {
  const image = objectOf(value, "image");
  for (const key of ["image_id", "width", "height"]) numberOf(image[key], `image.${key}`);
  for (const key of ["file_name", "sha256"]) textOf(image[key], `image.${key}`);
  return image as unknown as ImageInfo;
}

function readInteraction(value: unknown, now: string): Interaction {
  if (value === undefined) {
    return { prompts: [], created: now, modified: now, active_seconds: 0, chosen: null, model: null };
  }
  const interaction = objectOf(value, "interaction");
  if (!Array.isArray(interaction.prompts))
    fail("interaction.prompts must be a list", interaction.prompts, "The file is damaged.");
  numberOf(interaction.active_seconds, "interaction.active_seconds");
  return interaction as unknown as Interaction;
}

function readAnnotation(value: unknown, index: number, image: ImageInfo, now: string): Annotation {
  const name = `annotation ${index}`;
  const annotation = objectOf(value, name);
  const segmentation = objectOf(annotation.segmentation, `${name}: segmentation`);
  const size = numbersOf(segmentation.size, 2, `${name}: size`);
  if (size[0] !== image.height || size[1] !== image.width) {
    fail(
      `${name}: the mask must have the photo's size ${image.height} x ${image.width}`,
      size,
      "It is another photo's.",
    );
  }
  const runs = checkedRuns({ size, counts: segmentation.counts });
  const area = runs.reduce((sum, run, i) => (i % 2 === 1 ? sum + run : sum), 0);
  if (annotation.area !== area)
    fail(`${name}: area must be the mask's ${area} pixels`, annotation.area, "The file is damaged.");
  numbersOf(annotation.bbox, 4, `${name}: bbox`);
  numbersOf(annotation.crop_box, 4, `${name}: crop_box`);
  numberOf(annotation.predicted_iou, `${name}: predicted_iou`);
  numberOf(annotation.stability_score, `${name}: stability_score`);
  return {
    ...annotation,
    interaction: readInteraction(annotation.interaction, now),
  } as unknown as Annotation;
}

/**
 * A document from parsed JSON, checked.
 *
 * @throws Error with what was expected, what came, and what to do.
 */
export function readDocument(value: unknown, now: string): AnnotationDocument {
  const document = objectOf(value, "an annotation document");
  if (document.format !== FORMAT) {
    fail(
      `format must be "${FORMAT}"`,
      document.format,
      "Choose a file that was exported as an annotation document.",
    );
  }
  const image = readImage(document.image);
  if (!Array.isArray(document.annotations))
    fail("annotations must be a list", document.annotations, "The file is damaged.");
  const annotations = (document.annotations as unknown[]).map((item, i) =>
    readAnnotation(item, i, image, now),
  );
  const ids = new Set(annotations.map((annotation) => annotation.id));
  if (ids.size !== annotations.length) fail("ids must differ", [...ids], "The file is damaged.");
  return { ...(document as unknown as AnnotationDocument), image, annotations };
}

/** Whether a detector found the mask and nobody has worked on it since. */
export function isFoundByModel({ interaction }: Annotation): boolean {
  const { prompts } = interaction;
  return prompts.length > 0 && prompts.every((prompt) => prompt.kind === "detector");
}

/** What a person calls the mask. */
export function nameOf(annotation: Annotation): string {
  return annotation.label ?? `Mask ${annotation.id}`;
}
