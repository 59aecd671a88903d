"""Boxes around masks, numpy and torch alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segany.core.errors import DataError
from segany.masks.boxes import exact_box_xywh, masks_to_boxes


@pytest.fixture
def masks() -> np.ndarray:
    masks = np.zeros((5, 6, 9), bool)
    masks[0, 2:4, 3:8] = True
    masks[1, 5, 8] = True
    masks[3] = True
    masks[4, 0, 2] = masks[4, 4, 1] = True
    return masks


EXPECTED = [[3, 2, 7, 3], [8, 5, 8, 5], [0, 0, 0, 0], [0, 0, 8, 5], [1, 0, 2, 4]]


def test_maximum_is_inclusive_and_empty_gives_zeros(masks: np.ndarray) -> None:
    boxes = masks_to_boxes(masks)
    assert boxes.tolist() == EXPECTED
    assert boxes.dtype == np.int64


def test_torch_gives_the_same(masks: np.ndarray) -> None:
    boxes = masks_to_boxes(torch.from_numpy(masks))
    assert isinstance(boxes, torch.Tensor)
    assert boxes.dtype == torch.int64
    assert boxes.tolist() == EXPECTED
    assert masks_to_boxes(torch.from_numpy(masks).to(torch.uint8)).tolist() == EXPECTED


def test_no_masks_no_boxes() -> None:
    assert masks_to_boxes(np.zeros((0, 4, 4), bool)).shape == (0, 4)
    assert masks_to_boxes(torch.zeros((0, 4, 4), dtype=torch.bool)).shape == (0, 4)


def test_exact_extent_counts_pixels(masks: np.ndarray) -> None:
    assert [exact_box_xywh(mask) for mask in masks[:3]] == [(3, 2, 5, 2), (8, 5, 1, 1), (0, 0, 0, 0)]


def test_logits_are_refused() -> None:
    with pytest.raises(DataError, match="logits > 0"):
        masks_to_boxes(torch.zeros((1, 4, 4)))
    with pytest.raises(DataError, match="logits > 0"):
        masks_to_boxes(np.zeros((1, 4, 4), np.float32))
    with pytest.raises(DataError):
        masks_to_boxes(torch.zeros((4, 4), dtype=torch.bool))
