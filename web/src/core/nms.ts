// Keeping one of many overlapping masks, decided as Python decides it: greedy, strictly above the threshold, equal
// scores in input order, boxes without +1, a box of no area neither suppresses nor is suppressed.

import { type Bitmap, bitmapArea, intersectionArea } from "./bitmap";
import type { Box } from "./frames";

function byScore(scores: readonly number[]): number[] {
  return scores.map((_, i) => i).sort((a, b) => scores[b]! - scores[a]! || a - b);
}

function greedy(scores: readonly number[], overlaps: (kept: number, other: number) => boolean): number[] {
  const kept: number[] = [];
  for (const candidate of byScore(scores)) {
    if (!kept.some((better) => overlaps(better, candidate))) kept.push(candidate);
  }
  return kept;
}

export function boxIou(a: Box, b: Box): number {
  const areaOf = (box: Box) => (box[2] - box[0]) * (box[3] - box[1]);
  if (areaOf(a) <= 0 || areaOf(b) <= 0) return 0;
  const width = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
  const height = Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const shared = width * height;
  return shared / (areaOf(a) + areaOf(b) - shared);
}

/** Indices of the kept boxes by descending score. */
export function boxNms(boxes: readonly Box[], scores: readonly number[], threshold: number): number[] {
  return greedy(scores, (kept, other) => boxIou(boxes[kept]!, boxes[other]!) > threshold);
}

export function maskIou(a: Bitmap, b: Bitmap, areaA = bitmapArea(a), areaB = bitmapArea(b)): number {
  const shared = intersectionArea(a, b);
  return shared === 0 ? 0 : shared / (areaA + areaB - shared);
}

/** Indices of the kept masks by descending score. */
export function maskNms(masks: readonly Bitmap[], scores: readonly number[], threshold: number): number[] {
  const areas = masks.map(bitmapArea);
  return greedy(scores, (kept, other) => {
    // The smaller area over the larger bounds the IoU, so most pairs need no pixels.
    const [a, b] = [areas[kept]!, areas[other]!];
    if (Math.min(a, b) <= threshold * Math.max(a, b)) return false;
    return maskIou(masks[kept]!, masks[other]!, a, b) > threshold;
  });
}
