// What a mask is in the page: the bytes of its own window of the photo, so that memory follows the mask and not the
// photo. A pixel is 0 or 1.

import type { Box, Size } from "./frames";

export interface Bitmap extends Size {
  /** Window's corner in the photo. */
  readonly x: number;
  readonly y: number;
  /** Row by row, 0 or 1. */
  readonly data: Uint8Array;
}

export const EMPTY: Bitmap = { x: 0, y: 0, width: 0, height: 0, data: new Uint8Array(0) };

export function emptyBitmap(x: number, y: number, width: number, height: number): Bitmap {
  return { x, y, width, height, data: new Uint8Array(width * height) };
}

export function bitmapArea(mask: Bitmap): number {
  let sum = 0;
  for (const value of mask.data) sum += value;
  return sum;
}

export function isInside(mask: Bitmap, x: number, y: number): boolean {
  const column = Math.floor(x) - mask.x;
  const row = Math.floor(y) - mask.y;
  if (column < 0 || row < 0 || column >= mask.width || row >= mask.height) return false;
  return mask.data[row * mask.width + column] === 1;
}

/** Exact extent x0, y0, x1, y1 (the maximum is exclusive); null when empty. */
export function extent(mask: Bitmap): Box | null {
  const { width, height, data } = mask;
  let [left, top, right, bottom] = [width, -1, -1, -1];
  for (let y = 0; y < height; y++) {
    const row = data.subarray(y * width, (y + 1) * width);
    const first = row.indexOf(1);
    if (first < 0) continue;
    if (top < 0) top = y;
    bottom = y;
    left = Math.min(left, first);
    right = Math.max(right, row.lastIndexOf(1));
  }
  return top < 0 ? null : [mask.x + left, mask.y + top, mask.x + right + 1, mask.y + bottom + 1];
}

/** The same mask on another window: cut, or surrounded by zeros. */
export function rewindow(mask: Bitmap, x: number, y: number, width: number, height: number): Bitmap {
  const out = emptyBitmap(x, y, width, height);
  const x0 = Math.max(x, mask.x);
  const x1 = Math.min(x + width, mask.x + mask.width);
  const y1 = Math.min(y + height, mask.y + mask.height);
  if (x1 <= x0) return out;
  for (let row = Math.max(y, mask.y); row < y1; row++) {
    const from = (row - mask.y) * mask.width - mask.x;
    out.data.set(mask.data.subarray(from + x0, from + x1), (row - y) * width + x0 - x);
  }
  return out;
}

/** The mask on the smallest window that holds it. */
export function tight(mask: Bitmap): Bitmap {
  const box = extent(mask);
  if (box === null) return EMPTY;
  const [x0, y0, x1, y1] = box;
  if (x0 === mask.x && y0 === mask.y && x1 - x0 === mask.width && y1 - y0 === mask.height) return mask;
  return rewindow(mask, x0, y0, x1 - x0, y1 - y0);
}

/** Smallest window around both, inside the photo. */
export function spanning(a: Bitmap, b: Pick<Bitmap, "x" | "y" | "width" | "height">): Bitmap {
  if (a.width === 0 || a.height === 0) return emptyBitmap(b.x, b.y, b.width, b.height);
  const x0 = Math.min(a.x, b.x);
  const y0 = Math.min(a.y, b.y);
  const x1 = Math.max(a.x + a.width, b.x + b.width);
  const y1 = Math.max(a.y + a.height, b.y + b.height);
  return rewindow(a, x0, y0, x1 - x0, y1 - y0);
}

export function intersectionArea(a: Bitmap, b: Bitmap): number {
  const x0 = Math.max(a.x, b.x);
  const x1 = Math.min(a.x + a.width, b.x + b.width);
  const y1 = Math.min(a.y + a.height, b.y + b.height);
  let sum = 0;
  for (let y = Math.max(a.y, b.y); y < y1; y++) {
    let inA = (y - a.y) * a.width + x0 - a.x;
    let inB = (y - b.y) * b.width + x0 - b.x;
    for (let x = x0; x < x1; x++) sum += a.data[inA++]! & b.data[inB++]!;
  }
  return sum;
}
