// COCO run lengths: column by column, background first; as numbers, and as COCO's text. The browser's counterpart of
// pycocotools, limited to what the page needs.

import { type Bitmap, EMPTY, emptyBitmap } from "./bitmap";
import type { Size } from "./frames";

export interface Rle {
  /** [height, width]. */
  readonly size: readonly [number, number];
  readonly counts: string;
}

/** Run lengths of a mask in a photo of this size, background first. */
export function runsOf(mask: Bitmap, photo: Size): number[] {
  const runs: number[] = [];
  let value = 0;
  let run = mask.x * photo.height;
  const put = (next: number, length: number) => {
    if (next === value) run += length;
    else if (length > 0) {
      runs.push(run);
      value = next;
      run = length;
    }
  };
  const below = photo.height - mask.y - mask.height;
  for (let x = 0; x < mask.width; x++) {
    put(0, mask.y);
    for (let y = 0, at = x; y < mask.height; y++, at += mask.width) put(mask.data[at]!, 1);
    put(0, below);
  }
  put(0, (photo.width - mask.x - mask.width) * photo.height);
  runs.push(run);
  return runs;
}

/** COCO's text: 5 bits a character, from the fourth run on the difference to the run two before. */
export function runsToText(runs: readonly number[]): string {
  let text = "";
  for (let i = 0; i < runs.length; i++) {
    let rest = i > 2 ? runs[i]! - runs[i - 2]! : runs[i]!;
    for (;;) {
      let bits = rest & 31;
      rest >>= 5;
      const more = bits & 16 ? rest !== -1 : rest !== 0;
      if (more) bits |= 32;
      text += String.fromCharCode(bits + 48);
      if (!more) break;
    }
  }
  return text;
}

export function textToRuns(text: string): number[] {
  const runs: number[] = [];
  for (let at = 0; at < text.length; ) {
    let value = 0;
    let shift = 0;
    for (let more = true; more; shift += 5) {
      const bits = text.charCodeAt(at++) - 48;
      if (!(bits >= 0 && bits < 64) || shift > 30) throw damaged(`something else at character ${at}`);
      value |= (bits & 31) << shift;
      more = (bits & 32) !== 0;
      if (!more && bits & 16 && shift + 5 < 32) value |= -1 << (shift + 5);
    }
    if (runs.length > 2) value += runs[runs.length - 2]!;
    runs.push(value);
  }
  return runs;
}

function damaged(what: string): Error {
  return new Error(
    `run lengths must be COCO's compressed text that fills the mask; got ${what}. The file is damaged.`,
  );
}

export function encodeRle(mask: Bitmap, photo: Size): Rle {
  return { size: [photo.height, photo.width], counts: runsToText(runsOf(mask, photo)) };
}

/** Checked runs of an RLE in either spelling. */
export function checkedRuns(rle: { size: readonly number[]; counts: unknown }): number[] {
  const [height, width] = rle.size;
  if (!(Number.isInteger(height) && Number.isInteger(width) && height! > 0 && width! > 0))
    throw damaged("no size of two positive whole numbers");
  const runs = typeof rle.counts === "string" ? textToRuns(rle.counts) : (rle.counts as number[]);
  let sum = 0;
  if (!Array.isArray(runs)) throw damaged("no counts");
  for (const run of runs) {
    if (!(Number.isInteger(run) && run >= 0)) throw damaged(`a run of ${run}`);
    sum += run;
  }
  if (sum !== height! * width!) throw damaged(`a sum of ${sum} for ${width} x ${height} pixels`);
  return runs;
}

/** The mask on its own window. */
export function decodeRle(rle: { size: readonly number[]; counts: unknown }): Bitmap {
  const runs = checkedRuns(rle);
  const height = rle.size[0]!;
  let [left, top, right, bottom] = [Number.POSITIVE_INFINITY, height, -1, -1];
  let at = 0;
  runs.forEach((run, i) => {
    if (i % 2 === 1 && run > 0) {
      const last = at + run - 1;
      left = Math.min(left, Math.floor(at / height));
      right = Math.floor(last / height);
      if (Math.floor(at / height) === Math.floor(last / height)) {
        top = Math.min(top, at % height);
        bottom = Math.max(bottom, last % height);
      } else {
        top = 0;
        bottom = height - 1;
      }
    }
    at += run;
  });
  if (right < 0) return EMPTY;
  const mask = emptyBitmap(left, top, right - left + 1, bottom - top + 1);
  at = 0;
  runs.forEach((run, i) => {
    if (i % 2 === 1) {
      for (let p = at; p < at + run; p++) {
        mask.data[((p % height) - top) * mask.width + Math.floor(p / height) - left] = 1;
      }
    }
    at += run;
  });
  return mask;
}

export function rleArea(rle: { size: readonly number[]; counts: unknown }): number {
  return checkedRuns(rle).reduce((sum, run, i) => (i % 2 === 1 ? sum + run : sum), 0);
}
