"""Overlap of masks given as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from segany.core.errors import DataError
from segany.masks import iou
from segany.masks.iou import mask_iou, pairwise_mask_iou


def test_known_answers() -> None:
    a, b, empty = np.zeros((3, 4, 4), bool)
    a[:2], b[1:3] = True, True
    assert mask_iou(a, b) == pytest.approx(1 / 3)
    assert mask_iou(a, a) == 1
    assert mask_iou(empty, empty) == 0


def test_pairs_equal_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = np.random.default_rng(1).random((6, 9, 8)) > 0.6
    expected = [[mask_iou(a, b) for b in masks[2:]] for a in masks[:3]]
    assert np.allclose(pairwise_mask_iou(masks[:3], masks[2:]), expected)
    monkeypatch.setattr(iou, "_PIXELS_PER_PRODUCT", 7)
    assert np.allclose(pairwise_mask_iou(masks[:3], masks[2:]), expected)
    assert pairwise_mask_iou(masks[:0], masks).shape == (0, 6)


def test_sizes_must_agree() -> None:
    with pytest.raises(DataError, match="one size"):
        mask_iou(np.ones((2, 2), bool), np.ones((2, 3), bool))
    with pytest.raises(DataError, match="one size"):
        pairwise_mask_iou(np.ones((1, 2, 2), bool), np.ones((1, 1, 2), bool))
