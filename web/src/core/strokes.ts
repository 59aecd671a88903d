// Brush and eraser: a path with a round tip, turned into pixels by one rule so that the same path always gives the same
// mask: a pixel belongs to the stroke when its centre is no further from the path than the radius.

import { type Bitmap, emptyBitmap, spanning, tight } from "./bitmap";
import type { Size } from "./frames";

export interface Stroke {
  readonly kind: "brush" | "erase";
  /** Pixels of the photo. */
  readonly radius: number;
  readonly path: readonly (readonly [number, number])[];
}

function paintSegment(
  mask: Bitmap,
  from: readonly number[],
  to: readonly number[],
  radius: number,
  value: 0 | 1,
): void {
  const [ax, ay] = [from[0]! - mask.x, from[1]! - mask.y];
  const [dx, dy] = [to[0]! - from[0]!, to[1]! - from[1]!];
  const length2 = dx * dx + dy * dy;
  const y0 = Math.max(0, Math.floor(Math.min(ay, ay + dy) - radius));
  const y1 = Math.min(mask.height - 1, Math.ceil(Math.max(ay, ay + dy) + radius));
  const x0 = Math.max(0, Math.floor(Math.min(ax, ax + dx) - radius));
  const x1 = Math.min(mask.width - 1, Math.ceil(Math.max(ax, ax + dx) + radius));
  for (let y = y0; y <= y1; y++) {
    const py = y + 0.5 - ay;
    for (let x = x0; x <= x1; x++) {
      const px = x + 0.5 - ax;
      const along = length2 === 0 ? 0 : Math.min(1, Math.max(0, (px * dx + py * dy) / length2));
      const ex = px - along * dx;
      const ey = py - along * dy;
      if (ex * ex + ey * ey <= radius * radius) mask.data[y * mask.width + x] = value;
    }
  }
}

function windowOf(
  stroke: Stroke,
  photo: Size,
): { x: number; y: number; width: number; height: number } | null {
  const xs = stroke.path.map((point) => point[0]);
  const ys = stroke.path.map((point) => point[1]);
  const x0 = Math.max(0, Math.floor(Math.min(...xs) - stroke.radius));
  const y0 = Math.max(0, Math.floor(Math.min(...ys) - stroke.radius));
  const x1 = Math.min(photo.width, Math.ceil(Math.max(...xs) + stroke.radius));
  const y1 = Math.min(photo.height, Math.ceil(Math.max(...ys) + stroke.radius));
  return x1 > x0 && y1 > y0 ? { x: x0, y: y0, width: x1 - x0, height: y1 - y0 } : null;
}

/** The mask after one stroke; the given mask is left as it is. */
export function applyStroke(mask: Bitmap, stroke: Stroke, photo: Size): Bitmap {
  const window = stroke.path.length > 0 ? windowOf(stroke, photo) : null;
  if (window === null) return mask;
  let out: Bitmap;
  if (stroke.kind === "brush") out = spanning(mask, window);
  else out = { ...mask, data: mask.data.slice() };
  if (out === mask) out = { ...mask, data: mask.data.slice() };
  const value = stroke.kind === "brush" ? 1 : 0;
  const { path } = stroke;
  if (path.length === 1) paintSegment(out, path[0]!, path[0]!, stroke.radius, value);
  for (let i = 1; i < path.length; i++) paintSegment(out, path[i - 1]!, path[i]!, stroke.radius, value);
  return tight(out);
}

export function applyStrokes(mask: Bitmap, strokes: readonly Stroke[], photo: Size): Bitmap {
  return strokes.reduce((current, stroke) => applyStroke(current, stroke, photo), mask);
}

/** A filled box as a mask, for tests and for drawing before a model is there. */
export function boxBitmap(x0: number, y0: number, x1: number, y1: number): Bitmap {
  const mask = emptyBitmap(x0, y0, x1 - x0, y1 - y0);
  mask.data.fill(1);
  return mask;
}
