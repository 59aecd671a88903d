"""Suppression: the details that decide parity with the reference."""

from __future__ import annotations

import numpy as np
import pytest

from segany.core.errors import DataError
from segany.masks.nms import containment_nms, mask_nms, nms
from segany.masks.rle import encode


def test_order_is_by_score() -> None:
    boxes = [[0, 0, 2, 2], [10, 10, 12, 12], [20, 20, 22, 22]]
    assert nms(boxes, [0.1, 0.9, 0.5], 0.7).tolist() == [1, 2, 0]


def test_ties_keep_input_order() -> None:
    assert nms([[0, 0, 4, 4]] * 3, [0.5, 0.5, 0.5], 0.7).tolist() == [0]
    far = [[10 * i, 0, 10 * i + 4, 4] for i in range(6)]
    assert nms(far, [1.0] * 6, 0.7).tolist() == list(range(6))


@pytest.mark.parametrize(("threshold", "kept"), [(0.8, [0, 1]), (0.79, [0])])
def test_equal_to_the_threshold_survives(threshold: float, kept: list[int]) -> None:
    assert nms([[0, 0, 5, 2], [0, 0, 4, 2]], [2, 1], threshold).tolist() == kept


def test_boxes_count_without_one() -> None:
    # 3 x 10 of 4 x 10 without +1 is 0.75; with +1 it would be 4/5
    assert nms([[0, 0, 4, 10], [0, 0, 3, 10]], [2, 1], 0.76).tolist() == [0, 1]
    assert nms([[0, 0, 4, 10], [0, 0, 3, 10]], [2, 1], 0.74).tolist() == [0]


def test_zero_area_neither_suppresses_nor_is_suppressed() -> None:
    boxes = [[5, 0, 5, 9], [5, 0, 5, 9], [0, 0, 9, 9], [5, 5, 5, 5]]
    assert nms(boxes, [4, 3, 2, 1], 0.0).tolist() == [0, 1, 2, 3]


def test_a_suppressed_box_suppresses_nothing() -> None:
    chain = [[0, 0, 10, 1], [3, 0, 13, 1], [6, 0, 16, 1]]
    assert nms(chain, [3, 2, 1], 0.5).tolist() == [0, 2]


def test_nothing_in_nothing_out() -> None:
    assert nms(np.zeros((0, 4)), [], 0.7).tolist() == []
    assert nms([], [], 0.7).tolist() == []
    assert mask_nms([], [], 0.7).tolist() == []


@pytest.mark.parametrize(
    ("boxes", "scores"),
    [
        ([[0, 0, 1]], [1]),
        ([[0, 0, 1, 1]], [1, 2]),
        ([[0, 0, np.nan, 1]], [1]),
        ([[0, 0, 1, 1]], [np.nan]),
    ],
)
def test_bad_shapes_and_nan_are_errors(boxes: list[list[float]], scores: list[float]) -> None:
    with pytest.raises(DataError):
        nms(boxes, scores, 0.7)


def _bars(*spans: tuple[int, int]) -> list[dict[str, object]]:
    masks = np.zeros((len(spans), 3, 400), bool)
    for mask, (start, stop) in zip(masks, spans, strict=True):
        mask[:, start:stop] = True
    return [encode(mask) for mask in masks]


def test_mask_nms_looks_at_pixels_not_boxes() -> None:
    ring = np.ones((20, 20), bool)
    ring[2:-2, 2:-2] = False
    rles = [encode(ring), encode(np.ones((20, 20), bool)), encode(ring)]
    assert mask_nms(rles, [1, 2, 3], 0.5).tolist() == [2, 1]
    assert mask_nms(rles, [1, 2, 3], 0.3).tolist() == [2]


def test_mask_nms_works_across_blocks() -> None:
    spans = [(i, i + 100) for i in range(300)]
    kept = mask_nms(_bars(*spans), np.arange(300, 0, -1), 0.5).tolist()
    assert kept == list(range(0, 300, 34))


def test_containment_drops_the_part_inside_a_better_one_only() -> None:
    whole, part, beside = _bars((0, 100), (10, 30), (90, 130))
    assert containment_nms([whole, part, beside], [3, 2, 1], 0.9).tolist() == [0, 2]
    assert containment_nms([whole, part, beside], [1, 3, 2], 0.9).tolist() == [1, 2, 0]
    assert containment_nms([whole, part, beside], [3, 2, 1], 0.2).tolist() == [0]


def test_an_empty_mask_is_left_alone() -> None:
    empty = encode(np.zeros((4, 4), bool))
    assert containment_nms([empty, empty], [2, 1], 0.5).tolist() == [0, 1]
    assert mask_nms([empty, empty], [2, 1], 0.5).tolist() == [0, 1]
