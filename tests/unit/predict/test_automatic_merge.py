"""From candidates to the final list: suppression, clean-up and the optional filters, on masks drawn by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segany.masks.boxes import masks_to_boxes
from segany.masks.rle import decode, encode
from segany.predict.automatic.candidates import Box, Candidates
from segany.predict.automatic.config import SweepConfig
from segany.predict.automatic.merge import clean_up, merge_crops, merge_within_crop

SIZE = (60, 80)
WHOLE: Box = (0, 0, 80, 60)


def block(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def found(*entries: tuple[NDArray[np.bool_], float] | tuple[NDArray[np.bool_], float, Box]) -> Candidates:
    candidates = Candidates()
    for number, entry in enumerate(entries):
        x0, y0, x1, y1 = masks_to_boxes(entry[0][None])[0].tolist()
        candidates.rles.append(dict(encode(entry[0])))
        candidates.boxes.append((x0, y0, x1, y1))
        candidates.iou.append(entry[1])
        candidates.stability.append(0.9)
        candidates.points.append((float(number), 0.0))
        candidates.tokens.append(1)
        candidates.crops.append(entry[2] if len(entry) == 3 else WHOLE)
    return candidates


def order(candidates: Candidates) -> list[int]:
    """The kept candidates by their number in the input."""
    return [int(x) for x, _ in candidates.points]


def config(**knobs: Any) -> SweepConfig:
    return SweepConfig(**knobs)


def test_within_a_crop_the_surer_box_wins() -> None:
    near = [block(10, 10, 30, 30), block(11, 10, 31, 30), block(50, 10, 70, 30)]
    candidates = found((near[0], 0.90), (near[1], 0.95), (near[2], 0.89))
    assert order(merge_within_crop(candidates, config())) == [1, 2]
    assert order(merge_within_crop(candidates, config(box_nms_thresh=1.0))) == [1, 0, 2]
    tied = found((near[0], 0.9), (near[1], 0.9))
    assert order(merge_within_crop(tied, config())) == [0]


def test_between_crops_the_smaller_crop_wins() -> None:
    small: Box = (0, 0, 50, 40)
    candidates = found((block(10, 10, 30, 30), 0.99), (block(10, 10, 30, 31), 0.89, small))
    assert order(merge_crops(candidates, config())) == [1]
    assert order(merge_crops(candidates, config(crop_nms_thresh=1.0))) == [1, 0]


@pytest.mark.parametrize("knobs", [{}, {"min_mask_region_area": 9}, {"max_area_share": 0.9, "mask_nms_thresh": 0.5}])
def test_nothing_stays_nothing(knobs: dict[str, Any]) -> None:
    nothing = Candidates()
    assert len(merge_within_crop(nothing, config())) == len(merge_crops(nothing, config())) == 0
    assert clean_up(nothing, config(**knobs, containment_thresh=0.5)).records() == []


def test_holes_are_filled_and_islands_removed() -> None:
    mask = block(10, 10, 40, 40)
    mask[20:22, 20:22] = False
    mask[50:52, 60:62] = True
    mended = clean_up(found((mask, 0.9)), config(min_mask_region_area=5))
    assert np.array_equal(decode(mended.rles[0]), block(10, 10, 40, 40))
    assert mended.boxes == [(10, 10, 39, 39)] and mended.records()[0].area == 900
    untouched = clean_up(found((mask, 0.9)), config(min_mask_region_area=4))
    assert np.array_equal(decode(untouched.rles[0]), mask), "the area itself is not below the area"
    assert np.array_equal(decode(clean_up(found((mask, 0.9)), config()).rles[0]), mask)


def test_an_unedited_mask_wins_over_an_edited_one() -> None:
    whole = block(10, 10, 40, 40)
    holed = whole.copy()
    holed[20, 20] = False
    candidates = found((holed, 0.99), (whole, 0.90))
    assert order(clean_up(candidates, config(min_mask_region_area=5))) == [1]
    assert order(clean_up(candidates, config())) == [0, 1]
    strictest = clean_up(candidates, config(min_mask_region_area=5, crop_nms_thresh=1.0))
    assert order(strictest) == [1, 0], "the larger of both thresholds counts"


def test_small_masks_stay_unless_they_are_to_be_dropped() -> None:
    small, scattered = block(10, 10, 13, 13), block(40, 40, 60, 60)
    parts = block(60, 2, 64, 6) | block(70, 2, 73, 6) | block(60, 12, 63, 16)
    candidates = found((small, 0.9), (scattered, 0.9), (parts, 0.9))
    kept = clean_up(candidates, config(min_mask_region_area=100))
    assert sorted(order(kept)) == [0, 1, 2]
    by_number = {number: decode(rle) for number, rle in zip(order(kept), kept.rles, strict=True)}
    assert np.array_equal(by_number[0], small), "the only part stays"
    assert by_number[2].sum() == 16, "of several small parts the largest stays"
    dropped = clean_up(candidates, config(min_mask_region_area=100, drop_small_masks=True))
    assert order(dropped) == [1]
    assert order(clean_up(candidates, config(drop_small_masks=True))) == [0, 1, 2], "only with an area"
    exactly = found((block(10, 10, 20, 20), 0.9), (block(30, 10, 40, 19), 0.9))
    assert order(clean_up(exactly, config(min_mask_region_area=100, drop_small_masks=True))) == [0]


def test_nearly_whole_images_are_dropped() -> None:
    candidates = found((block(0, 0, 80, 60), 0.9), (block(0, 0, 80, 57), 0.9), (block(0, 0, 80, 56), 0.9))
    assert order(clean_up(candidates, config(max_area_share=0.95))) == [2], "95 % itself is dropped"
    assert order(clean_up(candidates, config())) == [0, 1, 2]


def test_mask_iou_suppression_looks_at_pixels() -> None:
    """Two diagonal stripes share a box and not a pixel; a third is nearly the first."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    one = np.asarray((np.abs(rows - columns) < 4) & (rows < 50) & (columns < 50))
    other = one[:, ::-1] & block(30, 0, 80, 60)
    nearly = one.copy()
    nearly[:2] = False
    candidates = found((nearly, 0.8), (one, 0.9), (other, 0.7))
    assert order(clean_up(candidates, config(mask_nms_thresh=0.7))) == [1, 2]
    assert order(clean_up(candidates, config())) == [0, 1, 2]


def test_containment_suppression_keeps_the_better_whole() -> None:
    whole, part, beside = block(10, 10, 40, 40), block(12, 12, 20, 20), block(35, 12, 60, 30)
    candidates = found((part, 0.8), (whole, 0.9), (beside, 0.85))
    assert order(clean_up(candidates, config(containment_thresh=0.9))) == [1, 2]
    better_part = found((part, 0.95), (whole, 0.9))
    assert order(clean_up(better_part, config(containment_thresh=0.9))) == [0, 1], "a whole around a better part stays"


def test_records_carry_every_column() -> None:
    crop: Box = (5, 6, 70, 50)
    record = found((block(10, 12, 30, 40), 1.25, crop)).records()[0]
    assert record.predicted_iou == 1.25 and record.stability_score == 0.9 and record.output_index == 1
    assert record.bbox == (10, 12, 19, 27) and record.crop_box == (5, 6, 65, 44)
    assert record.point_coords == ((0.0, 0.0),) and record.area == 20 * 28
