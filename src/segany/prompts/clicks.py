"""The clicks a careful person would make: the middle of the object, then of what is still wrong."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segany.core.errors import PromptError

FOREGROUND = 1
"""Label of a click on the object."""
BACKGROUND = 0
"""Label of a click beside the object."""


def depth_map(region: NDArray[Any]) -> NDArray[np.float32]:
    """How far each pixel of a region lies from the nearest pixel outside it.

    Everything beyond the image counts as outside (a border of one zero pixel).

    Args:
        region: (H, W), true inside.

    Returns:
        (H, W) exact Euclidean distances in pixels; 0 outside, at least 1 inside.
    """
    padded = np.pad(_binary(region, "region").view(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # The library's last bit differs from process to process, and equally deep pixels must stay equal: a squared
    # distance is a whole number.
    squares = np.rint(np.square(depth[1:-1, 1:-1], dtype=np.float64))
    return np.asarray(np.sqrt(squares), dtype=np.float32)


def first_click_center(mask: NDArray[Any]) -> tuple[int, int]:
    """The pixel of a mask that lies deepest inside it.

    Args:
        mask: (H, W), true on the object.

    Returns:
        (x, y) of that pixel's centre, whole pixels; among equals the first in reading order.

    Raises:
        PromptError: the mask is empty or not (H, W).

    Source: Segment Anything (arXiv 2304.02643), point selection of the single-point evaluation.
    """
    (x, y), depth = _deepest(_binary(mask, "mask"))
    if depth == 0:
        raise PromptError("a click needs a mask with at least one pixel; got an empty mask. Leave such masks out.")
    return x, y


def next_click(pred: NDArray[Any], gt: NDArray[Any]) -> tuple[tuple[int, int], int]:
    """The click that corrects a prediction: the deepest pixel of all that is wrong.

    Missing and superfluous regions are compared by depth; on a tie the missing one wins. Where nothing is
    wrong, the click is the centre of the true mask, foreground: a confirmation.

    Args:
        pred: (H, W) predicted mask.
        gt: (H, W) true mask, same size.

    Returns:
        ((x, y), label): whole pixels, label 1 where the object is missing, 0 where it is too large.

    Raises:
        PromptError: the sizes differ, or both masks are empty.

    Source: Segment Anything (arXiv 2304.02643), point selection of the single-point evaluation.
    """
    predicted, true = _binary(pred, "pred"), _binary(gt, "gt")
    if predicted.shape != true.shape:
        raise PromptError(
            f"pred and gt must have the same size; got {predicted.shape} and {true.shape}. "
            "Scale the prediction to the image first."
        )
    missing_xy, missing_depth = _deepest(true & ~predicted)
    extra_xy, extra_depth = _deepest(predicted & ~true)
    if missing_depth == extra_depth == 0:
        return first_click_center(true), FOREGROUND
    if missing_depth >= extra_depth:
        return missing_xy, FOREGROUND
    return extra_xy, BACKGROUND


def _deepest(region: NDArray[np.bool_]) -> tuple[tuple[int, int], float]:
    rows = np.flatnonzero(region.any(axis=1))
    if rows.size == 0:
        return (0, 0), 0.0
    columns = np.flatnonzero(region.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    depth = depth_map(region[top : rows[-1] + 1, left : columns[-1] + 1])
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return (left + int(x), top + int(y)), float(depth[y, x])


def _binary(mask: NDArray[Any], name: str) -> NDArray[np.bool_]:
    array = np.asarray(mask)
    if array.ndim != 2 or array.size == 0:
        raise PromptError(f"{name} must be a mask of shape (H, W) with H, W ≥ 1; got {array.shape}.")
    return np.ascontiguousarray(array, dtype=bool)
