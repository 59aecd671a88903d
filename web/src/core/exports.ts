// Annotation documents → the files other tools read: SA-1B's JSON per photo and COCO's dataset, as Python writes them.

import { extent } from "./bitmap";
import type { Annotation, AnnotationDocument } from "./document";
import { decodeRle } from "./rle";

const NO_LABEL = "object";

/** The record alone, without what only the page and the data engine keep. */
function recordOf(annotation: Annotation): Omit<Annotation, "interaction" | "view"> {
  const { interaction: _interaction, view: _view, ...record } = annotation;
  return record;
}

export function toSa1b(document: AnnotationDocument): unknown {
  const { image_id, width, height, file_name } = document.image;
  return {
    image: { image_id, width, height, file_name },
    annotations: document.annotations.map((annotation) => {
      const { id, ...rest } = recordOf(annotation);
      return { id, ...rest };
    }),
  };
}

function exactBox(annotation: Annotation): number[] {
  const box = extent(decodeRle(annotation.segmentation));
  return box === null ? [0, 0, 0, 0] : [box[0], box[1], box[2] - box[0], box[3] - box[1]];
}

const byText = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** One dataset of several photos; masks numbered from 1, classes by label in alphabetical order. */
export function toCoco(documents: readonly AnnotationDocument[]): unknown {
  const kept = [...documents].sort(
    (a, b) => byText(a.image.file_name, b.image.file_name) || a.image.image_id - b.image.image_id,
  );
  const labelled = kept.flatMap((document) =>
    document.annotations.map((annotation) => annotation.label ?? NO_LABEL),
  );
  const names = [...new Set(labelled)].sort(byText);
  if (names.length === 0) names.push(NO_LABEL);
  let number = 0;
  return {
    info: { description: "Masks made with segany" },
    images: kept.map(({ image }) => ({
      id: image.image_id,
      width: image.width,
      height: image.height,
      file_name: image.file_name,
    })),
    annotations: kept.flatMap((document) =>
      document.annotations.map((annotation) => {
        const { label, ...record } = recordOf(annotation);
        number += 1;
        return {
          ...record,
          id: number,
          image_id: document.image.image_id,
          category_id: names.indexOf(label ?? NO_LABEL) + 1,
          iscrowd: 0,
          bbox: exactBox(annotation),
        };
      }),
    ),
    categories: names.map((name, index) => ({ id: index + 1, name })),
  };
}

/** A file name without its ending and without what file systems dislike. */
export function stemOf(fileName: string): string {
  const stem = fileName.replace(/(?<=.)\.[^./\\]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "_");
  return stem.replace(/^[._]+|[._]+$/g, "") || "photo";
}
