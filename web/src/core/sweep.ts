// Everything: click on a grid, keep what is sure and stable, drop doubles. The same rules, in the same order, as
// Python's automatic masks on the whole photo without crops.

import { type Bitmap, bitmapArea, extent, intersectionArea } from "./bitmap";
import { fillSmallHoles, removeSmallIslands } from "./components";
import type { Box, Frame, Point, Size } from "./frames";
import { boxNms, maskNms } from "./nms";
import { encodeRle, type Rle } from "./rle";
import { Upscaler } from "./upscale";

/** Python's SweepConfig, without crops. A threshold of 0 or less is off. */
export interface SweepKnobs {
  /** Clicks along each edge; cost grows with the square. */
  points_per_side: number;
  /** Clicks decoded together. */
  points_per_batch: number;
  pred_iou_thresh: number;
  stability_score_thresh: number;
  stability_score_offset: number;
  box_nms_thresh: number;
  mask_nms_thresh: number;
  containment_thresh: number;
  min_mask_region_area: number;
  max_area_share: number;
}

export const REFERENCE_KNOBS: SweepKnobs = {
  points_per_side: 32,
  points_per_batch: 64,
  pred_iou_thresh: 0.88,
  stability_score_thresh: 0.95,
  stability_score_offset: 1,
  box_nms_thresh: 0.7,
  mask_nms_thresh: 0,
  containment_thresh: 0,
  min_mask_region_area: 0,
  max_area_share: 0,
};

export interface Candidate {
  readonly mask: Bitmap;
  /** x0, y0, x1, y1 with the last pixel itself as the maximum. */
  readonly box: Box;
  readonly predictedIou: number;
  readonly stability: number;
  readonly point: Point;
  readonly outputIndex: number;
}

/** What is kept of a found mask. */
export interface FoundMask {
  readonly segmentation: Rle;
  readonly area: number;
  /** x, y, w, h by the reference's rule: w is the last column minus the first. */
  readonly bbox: readonly [number, number, number, number];
  readonly predicted_iou: number;
  readonly stability_score: number;
  readonly point_coords: readonly (readonly [number, number])[];
  readonly output_index: number;
}

/** Click positions in the photo, x fastest, half a step from every edge. */
export function gridPoints(perSide: number, photo: Size): Point[] {
  const points: Point[] = [];
  for (let row = 0; row < perSide; row++) {
    for (let column = 0; column < perSide; column++) {
      points.push({
        x: ((column + 0.5) / perSide) * photo.width,
        y: ((row + 0.5) / perSide) * photo.height,
      });
    }
  }
  return points;
}

/** Inclusive box of a mask; zeros when empty. */
function inclusiveBox(mask: Bitmap): Box {
  const box = extent(mask);
  return box === null ? [0, 0, 0, 0] : [box[0], box[1], box[2] - 1, box[3] - 1];
}

/** Judges decoded clicks one mask at a time. */
export class Judge {
  private readonly upscaler: Upscaler;

  constructor(
    frame: Frame,
    private readonly knobs: SweepKnobs,
    private readonly threshold: number,
  ) {
    this.upscaler = new Upscaler(frame);
  }

  /**
   * The candidate, or null when it is not sure or not stable enough.
   *
   * @param logits of one output on the low-res grid.
   */
  judge(logits: Float32Array, predictedIou: number, outputIndex: number, point: Point): Candidate | null {
    const { knobs, threshold } = this;
    if (knobs.pred_iou_thresh > 0 && !(predictedIou > knobs.pred_iou_thresh)) return null;
    const stability = this.upscaler.stability(logits, threshold, knobs.stability_score_offset);
    if (knobs.stability_score_thresh > 0 && stability < knobs.stability_score_thresh) return null;
    const mask = this.upscaler.mask(logits, threshold);
    return { mask, box: inclusiveBox(mask), predictedIou, stability, point, outputIndex };
  }
}

/** From all candidates to the final list, in the order of the last suppression. */
export function mergeCandidates(found: readonly Candidate[], photo: Size, knobs: SweepKnobs): Candidate[] {
  const take = (list: readonly Candidate[], indices: readonly number[]) => indices.map((i) => list[i]!);
  const iou = (list: readonly Candidate[]) => list.map((candidate) => candidate.predictedIou);
  let kept = take(
    found,
    boxNms(
      found.map((candidate) => candidate.box),
      iou(found),
      knobs.box_nms_thresh,
    ),
  );
  if (knobs.max_area_share > 0) {
    const limit = knobs.max_area_share * photo.width * photo.height;
    kept = kept.filter((candidate) => bitmapArea(candidate.mask) < limit);
  }
  if (knobs.min_mask_region_area > 0) kept = mend(kept, photo, knobs);
  if (knobs.mask_nms_thresh > 0) {
    kept = take(
      kept,
      maskNms(
        kept.map((candidate) => candidate.mask),
        iou(kept),
        knobs.mask_nms_thresh,
      ),
    );
  }
  if (knobs.containment_thresh > 0) kept = withoutContained(kept, knobs.containment_thresh);
  return kept;
}

/** Fill holes, remove islands; masks that were left alone win over edited ones. */
function mend(found: readonly Candidate[], photo: Size, knobs: SweepKnobs): Candidate[] {
  const area = knobs.min_mask_region_area;
  const scores: number[] = [];
  const mended = found.map((candidate) => {
    const filled = fillSmallHoles(candidate.mask, area, photo);
    const cleared = removeSmallIslands(filled.mask, area);
    const changed = filled.changed || cleared.changed;
    scores.push(changed ? 0 : 1);
    return changed ? { ...candidate, mask: cleared.mask, box: inclusiveBox(cleared.mask) } : candidate;
  });
  return boxNms(
    mended.map((candidate) => candidate.box),
    scores,
    knobs.box_nms_thresh,
  ).map((i) => mended[i]!);
}

function withoutContained(found: readonly Candidate[], threshold: number): Candidate[] {
  const order = found
    .map((_, i) => i)
    .sort((a, b) => found[b]!.predictedIou - found[a]!.predictedIou || a - b);
  const kept: Candidate[] = [];
  for (const index of order) {
    const candidate = found[index]!;
    const area = bitmapArea(candidate.mask);
    const inside = kept.some(
      (better) => area > 0 && intersectionArea(better.mask, candidate.mask) / area > threshold,
    );
    if (!inside) kept.push(candidate);
  }
  return kept;
}

export function foundMask(candidate: Candidate, photo: Size): FoundMask {
  const [x0, y0, x1, y1] = candidate.box;
  return {
    segmentation: encodeRle(candidate.mask, photo),
    area: bitmapArea(candidate.mask),
    bbox: [x0, y0, x1 - x0, y1 - y0],
    predicted_iou: candidate.predictedIou,
    stability_score: candidate.stability,
    point_coords: [[candidate.point.x, candidate.point.y]],
    output_index: candidate.outputIndex,
  };
}
