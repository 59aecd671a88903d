"""Label maps: the largest first, smaller ones on top."""

from __future__ import annotations

import numpy as np
import pytest

from segany.core.errors import DataError
from segany.masks.label_map import label_map_to_masks, masks_to_label_map
from segany.masks.rle import encode


def test_smaller_masks_lie_on_top_whatever_the_order() -> None:
    small, large = np.zeros((2, 6, 6), bool)
    small[2:4, 2:4] = True
    large[1:6, 1:6] = True
    first = masks_to_label_map([small, large])
    assert first.dtype == np.uint16
    assert first[2, 2] == 1 and first[1, 1] == 2 and first[0, 0] == 0
    second = masks_to_label_map([large, encode(small)])
    assert second[2, 2] == 2 and second[1, 1] == 1


def test_of_equal_areas_the_later_is_on_top() -> None:
    mask = np.ones((2, 2), bool)
    assert (masks_to_label_map([mask, mask]) == 2).all()


def test_more_masks_than_sixteen_bits_hold() -> None:
    masks = np.ones((65536, 1, 1), bool)
    label_map = masks_to_label_map(masks)
    assert label_map.dtype == np.uint32
    assert label_map.tolist() == [[65536]]
    assert masks_to_label_map(masks[:65535]).dtype == np.uint16


def test_no_masks_need_a_size() -> None:
    assert masks_to_label_map([], (3, 4)).shape == (3, 4)
    with pytest.raises(DataError, match="size_hw"):
        masks_to_label_map([])


def test_masks_of_other_sizes_are_errors() -> None:
    with pytest.raises(DataError, match="size"):
        masks_to_label_map([np.ones((2, 2), bool), np.ones((2, 3), bool)])


def test_labels_may_have_gaps() -> None:
    labels, masks = label_map_to_masks(np.array([[0, 7], [3, 7]]))
    assert labels.tolist() == [3, 7]
    assert masks.tolist() == [[[False, False], [True, False]], [[False, True], [False, True]]]
    assert label_map_to_masks(np.zeros((2, 2), int))[1].shape == (0, 2, 2)


@pytest.mark.parametrize("label_map", [np.zeros((2, 2)), np.zeros((2, 2, 3), int), np.zeros((0, 2), int)])
def test_other_pictures_are_errors(label_map: np.ndarray) -> None:
    with pytest.raises(DataError):
        label_map_to_masks(label_map)
