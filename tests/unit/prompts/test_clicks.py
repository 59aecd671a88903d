from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segany.core.errors import PromptError
from segany.prompts.clicks import depth_map, first_click_center, next_click


def block(x0: int, y0: int, x1: int, y1: int, size: int = 20) -> NDArray[np.bool_]:
    mask = np.zeros((size, size), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_centre_of_a_block_is_x_then_y() -> None:
    assert first_click_center(block(2, 10, 5, 17)) == (3, 11)


def test_the_image_border_counts_as_outside() -> None:
    assert first_click_center(np.ones((5, 9), bool)) == (2, 2)


def test_the_last_bit_of_the_library_moves_no_click(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of several equally deep pixels was clicked hung on rounding, process by process."""
    mask = np.ones((60, 60), bool)
    for x, y in (
        (0, 0),
        (14, 0),
        (7, 17),
        (26, 24),
        (40, 24),
        (33, 41),
        (0, 40),
        (20, 50),
        (50, 10),
        (55, 55),
        (12, 33),
    ):
        mask[max(0, y - 3) : y + 3, max(0, x - 3) : x + 3] = False
    whole, rng = cv2.distanceTransform, np.random.default_rng(0)
    expected = depth_map(mask)

    def unsteady(*arguments: Any) -> NDArray[np.float32]:
        depth = np.asarray(whole(*arguments), np.float32)
        aside = np.nextafter(depth, rng.choice([0, 1e9], depth.shape).astype(np.float32))
        return np.where(depth > 0, aside, depth)

    monkeypatch.setattr(cv2, "distanceTransform", unsteady)
    for _ in range(20):
        np.testing.assert_array_equal(depth_map(mask), expected)
        assert first_click_center(mask) == np.unravel_index(expected.argmax(), expected.shape)[::-1]


def test_integers_and_uint8_are_masks_too() -> None:
    mask = block(4, 4, 9, 9)
    assert first_click_center(mask.astype(np.uint8) * 255) == first_click_center(mask.astype(np.int64)) == (6, 6)


def test_the_deeper_error_wins() -> None:
    gt = block(0, 0, 9, 20)
    assert next_click(block(0, 0, 4, 20), gt) == ((6, 2), 1)
    assert next_click(block(0, 0, 16, 20), gt) == ((12, 3), 0)


def test_a_tie_goes_to_the_missing_part() -> None:
    gt, pred = block(0, 0, 3, 3), block(10, 10, 13, 13)
    assert next_click(pred, gt) == ((1, 1), 1)


def test_an_empty_truth_is_corrected_by_a_background_click() -> None:
    assert next_click(block(3, 3, 6, 6), block(0, 0, 0, 0)) == ((4, 4), 0)


def test_impossible_masks_are_errors() -> None:
    empty = np.zeros((4, 4), bool)
    with pytest.raises(PromptError, match="empty"):
        first_click_center(empty)
    with pytest.raises(PromptError, match="empty"):
        next_click(empty, empty)
    with pytest.raises(PromptError, match="same size"):
        next_click(np.ones((4, 5), bool), np.ones((4, 4), bool))
    for wrong in (np.ones(4, bool), np.ones((1, 4, 4), bool), np.ones((0, 4), bool)):
        with pytest.raises(PromptError, match=r"\(H, W\)"):
            first_click_center(wrong)
