"""From the candidates of all crops to the final list: suppression, clean-up, optional filters."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from segany.geometry.boxes import box_area_xyxy
from segany.masks.nms import containment_nms, mask_nms, nms
from segany.masks.rle import rle_area
from segany.masks.run_components import fill_small_run_holes, largest_run_component_area, remove_small_run_islands
from segany.masks.runs import Runs
from segany.predict.automatic.candidates import Candidates
from segany.predict.automatic.config import SweepConfig
from segany.predict.automatic.tally import AREA, INSIDE, MASK_OVERLAP, SMALL, SMALL_OVERLAP


def merge_within_crop(found: Candidates, config: SweepConfig) -> Candidates:
    """Of overlapping boxes keep the one of higher predicted IoU."""
    if not len(found):
        return found
    return found.take(nms(found.box_array(), np.array(found.iou), config.box_nms_thresh))


def merge_crops(found: Candidates, config: SweepConfig) -> Candidates:
    """Of overlapping boxes keep the one from the smaller crop."""
    if not len(found):
        return found
    scores = 1.0 / box_area_xyxy(np.array(found.crops, np.float64))
    return found.take(nms(found.box_array(), scores, config.crop_nms_thresh))


def clean_up(found: Candidates, config: SweepConfig, tally: Counter[str] | None = None) -> Candidates:
    """Drop near-whole-image masks, mend holes and islands, suppress again, apply the optional filters.

    Args:
        found: of all crops.
        config: thresholds.
        tally: gains what each of these dropped.
    """
    counts, before = Counter() if tally is None else tally, len(found)
    if config.max_area_share > 0:
        found = found.take([i for i, rle in enumerate(found.rles) if rle_area(rle) < _limit(rle, config)])
        counts[AREA] += before - len(found)
    if config.min_mask_region_area > 0 and len(found):
        found = _mend(found, config, counts)
    if config.mask_nms_thresh > 0 and len(found):
        before = len(found)
        found = found.take(mask_nms(found.rles, np.array(found.iou), config.mask_nms_thresh))
        counts[MASK_OVERLAP] += before - len(found)
    if config.containment_thresh > 0 and len(found):
        before = len(found)
        found = found.take(containment_nms(found.rles, np.array(found.iou), config.containment_thresh))
        counts[INSIDE] += before - len(found)
    return found


def _limit(rle: dict[str, Any], config: SweepConfig) -> float:
    height, width = rle["size"]
    return config.max_area_share * float(height * width)


def _mend(found: Candidates, config: SweepConfig, tally: Counter[str]) -> Candidates:
    """Fill holes, remove islands; masks that were left alone win over edited ones.

    Source: Segment Anything released code, small-region post-processing.
    """
    area = config.min_mask_region_area
    mended, scores, kept = [], [], []
    boxes = found.box_array()
    for index, rle in enumerate(found.rles):
        mask = Runs.of_rle(rle)
        if config.drop_small_masks and largest_run_component_area(mask) < area:
            continue
        mask, filled = fill_small_run_holes(mask, area)
        mask, cleared = remove_small_run_islands(mask, area)
        changed = filled or cleared
        if changed:
            boxes[index] = mask.inclusive_box()
        mended.append(mask.rle() if changed else rle)
        scores.append(0.0 if changed else 1.0)
        kept.append(index)
    tally[SMALL] += len(found) - len(kept)
    if not kept:
        return Candidates()
    found, boxes = found.take(kept), boxes[kept]
    found.rles = [dict(rle) for rle in mended]
    found.boxes = [(int(a), int(b), int(c), int(d)) for a, b, c, d in boxes]
    left = found.take(nms(boxes, np.array(scores), max(config.box_nms_thresh, config.crop_nms_thresh)))
    tally[SMALL_OVERLAP] += len(found) - len(left)
    return left
