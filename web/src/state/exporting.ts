// Work → files for other tools. The page writes what it can; other formats are the service's.

import { zipSync } from "fflate";
import { type Bitmap, extent } from "../core/bitmap";
import type { AnnotationDocument } from "../core/document";
import { stemOf, toCoco, toSa1b } from "../core/exports";
import { decodeRle } from "../core/rle";
import type { ServiceFormat } from "../service/service";
import { pictureOf } from "./photos";
import type { Workspace } from "./workspace";

export type PageFormat = "annotations" | "sa1b" | "coco" | "masks" | "cutouts";
export type Format = PageFormat | Exclude<ServiceFormat, PageFormat | "png">;

export interface FormatEntry {
  readonly format: Format;
  readonly name: string;
  readonly about: string;
  readonly needsService: boolean;
}

export const FORMATS: readonly FormatEntry[] = [
  {
    format: "annotations",
    name: "Annotations",
    about: "Everything, to open here again",
    needsService: false,
  },
  { format: "sa1b", name: "SA-1B JSON", about: "One JSON a photo, masks as RLE", needsService: false },
  { format: "coco", name: "COCO JSON", about: "One data set of all photos", needsService: false },
  { format: "masks", name: "PNG masks", about: "White on black, the photo's size", needsService: false },
  { format: "cutouts", name: "Cut-outs", about: "Each thing alone on transparency", needsService: false },
  { format: "labelmap", name: "Label map", about: "One 16-bit PNG, a number a mask", needsService: true },
  { format: "polygons", name: "Polygons", about: "Outlines as JSON", needsService: true },
  { format: "yolo", name: "YOLO", about: "Segmentation labels as text", needsService: true },
  { format: "labelme", name: "LabelMe", about: "One JSON a photo", needsService: true },
  { format: "cvat", name: "CVAT", about: "One XML of all photos", needsService: true },
  { format: "labelstudio", name: "Label Studio", about: "One JSON of all photos", needsService: true },
];

interface Output {
  readonly name: string;
  readonly data: Blob;
}

const json = (value: unknown) => new Blob([JSON.stringify(value)], { type: "application/json" });

function isService(format: Format): format is Exclude<Format, PageFormat> {
  return FORMATS.some((entry) => entry.format === format && entry.needsService);
}

/** Different photos may have one name: later ones get a number. */
function distinctStems(documents: readonly AnnotationDocument[]): string[] {
  const taken = new Set<string>();
  return documents.map(({ image }) => {
    const stem = stemOf(image.file_name);
    let name = stem;
    for (let n = 2; taken.has(name.toLowerCase()); n++) name = `${stem}_${n}`;
    taken.add(name.toLowerCase());
    return name;
  });
}

async function maskPng(mask: Bitmap, width: number, height: number): Promise<Blob> {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d")!;
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  if (mask.data.length > 0) {
    const image = new ImageData(mask.width, mask.height);
    for (let i = 0; i < mask.data.length; i++) {
      const value = mask.data[i]! * 255;
      image.data.set([value, value, value, 255], i * 4);
    }
    context.putImageData(image, mask.x, mask.y);
  }
  return canvas.convertToBlob({ type: "image/png" });
}

async function cutout(mask: Bitmap, picture: ImageBitmap): Promise<Blob | null> {
  const box = extent(mask);
  if (box === null) return null;
  const [x0, y0, x1, y1] = box;
  const canvas = new OffscreenCanvas(x1 - x0, y1 - y0);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(picture, -x0, -y0);
  const image = context.getImageData(0, 0, x1 - x0, y1 - y0);
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++) {
      if (mask.data[(y - mask.y) * mask.width + x - mask.x] === 0) {
        image.data[((y - y0) * (x1 - x0) + x - x0) * 4 + 3] = 0;
      }
    }
  }
  context.putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

async function pictures(
  documents: readonly AnnotationDocument[],
  files: ReadonlyMap<string, Blob>,
  format: "masks" | "cutouts",
): Promise<Output[]> {
  const outputs: Output[] = [];
  const stems = distinctStems(documents);
  for (const [index, { image, annotations }] of documents.entries()) {
    const file = files.get(image.sha256);
    const picture = format === "cutouts" && file ? await pictureOf(file, image.file_name) : null;
    for (const one of annotations) {
      const mask = decodeRle(one.segmentation);
      const data = picture ? await cutout(mask, picture) : await maskPng(mask, image.width, image.height);
      const label = one.label ? `_${stemOf(`${one.label}.`)}` : "";
      if (data) outputs.push({ name: `${stems[index]}_${one.id}${label}.png`, data });
    }
    picture?.close();
  }
  return outputs;
}

function texts(documents: readonly AnnotationDocument[], format: "annotations" | "sa1b" | "coco"): Output[] {
  if (format === "coco") return [{ name: "coco.json", data: json(toCoco(documents)) }];
  const stems = distinctStems(documents);
  const ending = format === "annotations" ? ".segany.json" : ".json";
  return documents.map((document, i) => ({
    name: `${stems[i]}${ending}`,
    data: json(format === "annotations" ? document : toSa1b(document)),
  }));
}

async function zipped(outputs: readonly Output[], name: string): Promise<Output> {
  const files: Record<string, [Uint8Array, { level: 0 | 6 }]> = {};
  for (const output of outputs) {
    const level = output.name.endsWith(".png") ? 0 : 6;
    files[output.name] = [new Uint8Array(await output.data.arrayBuffer()), { level }];
  }
  return { name, data: new Blob([zipSync(files) as Uint8Array<ArrayBuffer>], { type: "application/zip" }) };
}

/** One file to save: what was asked for, or a zip of it. */
export async function exportFile(workspace: Workspace, format: Format, all: boolean): Promise<Output> {
  const current = workspace.open.value?.annotator.photo.key;
  const documents = (await workspace.documents()).filter((one) => all || one.image.sha256 === current);
  const files = new Map(workspace.photos.value.map(({ photo }) => [photo.key, photo.file]));
  if (isService(format)) {
    const service = workspace.offer.value?.service;
    if (!service)
      throw new Error(`expected a service to write ${format}; there is none. Export SA-1B JSON instead.`);
    const { file, name } = await service.export(documents, format);
    return { name, data: file };
  }
  const outputs =
    format === "masks" || format === "cutouts"
      ? await pictures(documents, files, format)
      : texts(documents, format);
  if (outputs.length === 0) throw new Error("expected at least one mask to export; there is none yet.");
  const stem = all ? "segany" : distinctStems(documents)[0];
  return outputs.length === 1 ? outputs[0]! : zipped(outputs, `${stem}_${format}.zip`);
}

export function saveFile({ name, data }: Output): void {
  const url = URL.createObjectURL(data);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
