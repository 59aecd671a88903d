// The outline of a mask as closed polygons along pixel edges, and simplified versions of it for drawing small.
// Filled by the even-odd rule the exact outline gives back exactly the mask.

import type { Bitmap } from "./bitmap";

/** x0, y0, x1, y1, ... of one closed ring, in pixels of the photo. */
export type Ring = Float32Array;

const RIGHT = 0;
const DOWN = 1;
const LEFT = 2;
const UP = 3;

/**
 * Rings along pixel edges, the mask on the right hand of the direction of travel. Where two pixels meet only by a
 * corner, the rings stay apart.
 */
export function traceOutline(mask: Bitmap): Ring[] {
  const { width, height, data } = mask;
  const rings: Ring[] = [];
  const at = (x: number, y: number) =>
    x < 0 || y < 0 || x >= width || y >= height ? 0 : data[y * width + x]!;
  // A top edge (travelled to the right) of every ring is met exactly once; `done` marks those already on a ring.
  const done = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[y * width + x] === 0 || done[y * width + x] === 1 || at(x, y - 1) === 1) continue;
      rings.push(follow(mask, at, done, x, y));
    }
  }
  return rings;
}

function follow(
  mask: Bitmap,
  at: (x: number, y: number) => number,
  done: Uint8Array,
  startX: number,
  startY: number,
): Ring {
  const points: number[] = [];
  let [x, y, direction] = [startX, startY, RIGHT];
  do {
    points.push(x + mask.x, y + mask.y);
    // Travel along the edge until the outline turns.
    for (;;) {
      if (direction === RIGHT) {
        done[y * mask.width + x] = 1;
        x++;
      } else if (direction === DOWN) y++;
      else if (direction === LEFT) x--;
      else y--;
      const turn = nextDirection(at, x, y, direction);
      if (turn !== direction) {
        direction = turn;
        break;
      }
      if (x === startX && y === startY && direction === RIGHT) break;
    }
  } while (!(x === startX && y === startY && direction === RIGHT));
  return Float32Array.from(points);
}

function nextDirection(
  at: (x: number, y: number) => number,
  x: number,
  y: number,
  direction: number,
): number {
  const [nw, ne, sw, se] = [at(x - 1, y - 1), at(x, y - 1), at(x - 1, y), at(x, y)];
  if (direction === RIGHT) return sw === 0 ? RIGHT : se === 0 ? DOWN : ne === 0 ? RIGHT : UP;
  if (direction === DOWN) return sw === 0 ? LEFT : se === 0 ? DOWN : RIGHT;
  if (direction === LEFT) return nw === 0 ? UP : sw === 0 ? LEFT : DOWN;
  return ne === 0 ? RIGHT : nw === 0 ? UP : LEFT;
}

/** Fewer points, none of them further than `tolerance` from the ring. Source: Douglas and Peucker (1973). */
export function simplifyRing(ring: Ring, tolerance: number): Ring {
  const count = ring.length / 2;
  if (count <= 4 || tolerance <= 0) return ring;
  // A ring has no ends: cut it at its first point and the one furthest from that.
  let [far, furthest] = [0, -1];
  for (let i = 1; i < count; i++) {
    const distance = (ring[i * 2]! - ring[0]!) ** 2 + (ring[i * 2 + 1]! - ring[1]!) ** 2;
    if (distance > furthest) [far, furthest] = [i, distance];
  }
  const keep = new Uint8Array(count + 1);
  keep[0] = keep[far] = keep[count] = 1;
  const open: [number, number][] = [
    [0, far],
    [far, count],
  ];
  const limit = tolerance * tolerance;
  while (open.length > 0) {
    const [from, to] = open.pop()!;
    const split = furthestFromLine(ring, count, from, to, limit);
    if (split > 0) {
      keep[split] = 1;
      open.push([from, split], [split, to]);
    }
  }
  const points: number[] = [];
  for (let i = 0; i < count; i++) if (keep[i] === 1) points.push(ring[i * 2]!, ring[i * 2 + 1]!);
  return Float32Array.from(points);
}

function furthestFromLine(ring: Ring, count: number, from: number, to: number, limit: number): number {
  const [ax, ay] = [ring[from * 2]!, ring[from * 2 + 1]!];
  const end = to % count;
  const [dx, dy] = [ring[end * 2]! - ax, ring[end * 2 + 1]! - ay];
  const length2 = dx * dx + dy * dy;
  let [best, index] = [limit, -1];
  for (let i = from + 1; i < to; i++) {
    const [px, py] = [ring[i * 2]! - ax, ring[i * 2 + 1]! - ay];
    const cross = px * dy - py * dx;
    const distance = length2 === 0 ? px * px + py * py : (cross * cross) / length2;
    if (distance > best) [best, index] = [distance, i];
  }
  return index;
}
