// Masks as paths: sharp at every zoom, simplified as far as nobody can see.

import type { Bitmap } from "../../core/bitmap";
import { type Ring, simplifyRing, traceOutline } from "../../core/outline";

interface Shape {
  readonly rings: readonly Ring[];
  readonly paths: Map<number, Path2D>;
}

const shapes = new WeakMap<Bitmap, Shape>();
/** Pixels of the screen that a simplified outline may be off. */
const UNSEEN = 0.55;
/** From this zoom on the outline follows the pixels themselves. */
const EXACT_ZOOM = 3;

function toPath(rings: readonly Ring[]): Path2D {
  const path = new Path2D();
  for (const ring of rings) {
    path.moveTo(ring[0]!, ring[1]!);
    for (let i = 2; i < ring.length; i += 2) path.lineTo(ring[i]!, ring[i + 1]!);
    path.closePath();
  }
  return path;
}

/** The mask's outline in its own pixels, good enough for this many screen pixels a mask pixel. */
export function pathOf(mask: Bitmap, zoom: number): Path2D {
  let shape = shapes.get(mask);
  if (shape === undefined) {
    shape = { rings: traceOutline(mask), paths: new Map() };
    shapes.set(mask, shape);
  }
  const level = zoom >= EXACT_ZOOM ? 0 : 2 ** Math.floor(Math.log2(UNSEEN / zoom));
  let path = shape.paths.get(level);
  if (path === undefined) {
    path = toPath(level === 0 ? shape.rings : shape.rings.map((ring) => simplifyRing(ring, level)));
    shape.paths.set(level, path);
  }
  return path;
}
