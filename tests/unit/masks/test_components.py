"""Small holes and islands, by 8-connectivity."""

from __future__ import annotations

import numpy as np

from segany.masks.components import fill_small_holes, largest_component_area, remove_small_islands


def test_holes_below_the_area_are_filled() -> None:
    mask = np.ones((10, 10), bool)
    mask[2:4, 2:4] = mask[6:9, 6:9] = False
    filled, changed = fill_small_holes(mask, 5)
    assert changed
    assert filled[2:4, 2:4].all()
    assert not filled[6:9, 6:9].any()
    assert fill_small_holes(mask, 4)[1] is False


def test_islands_below_the_area_are_removed() -> None:
    mask = np.zeros((10, 10), bool)
    mask[0:2, 0:2] = mask[5:8, 5:8] = True
    kept, changed = remove_small_islands(mask, 5)
    assert changed
    assert kept.sum() == 9
    same, changed = remove_small_islands(mask, 4)
    assert not changed
    assert (same == mask).all()


def test_corners_connect() -> None:
    assert largest_component_area(np.eye(7, dtype=bool)) == 7
    assert remove_small_islands(np.eye(7, dtype=bool), 7)[1] is False
    assert fill_small_holes(~np.eye(7, dtype=bool), 7)[1] is False


def test_if_all_are_small_the_largest_stays() -> None:
    mask = np.zeros((8, 8), bool)
    mask[0, 0] = mask[4, 2:5] = mask[7, 7] = True
    kept, changed = remove_small_islands(mask, 100)
    assert changed
    assert np.argwhere(kept).tolist() == [[4, 2], [4, 3], [4, 4]]


def test_empty_and_full_masks() -> None:
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    assert largest_component_area(empty) == 0
    assert largest_component_area(full) == 16
    assert remove_small_islands(empty, 10)[1] is False
    assert fill_small_holes(full, 10)[1] is False


def test_the_input_is_not_changed() -> None:
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    fill_small_holes(mask, 3)
    remove_small_islands(mask, 30)
    assert mask.sum() == 24
