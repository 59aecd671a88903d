"""Making parts of a photo unrecognisable, for good: what is kept of them is a few blocks of mean colour."""

# H, W image height and width

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]

BLOCKS = 5
"""Blocks along the longer side of a blurred part; a face of so few cannot be brought back."""


def blur_regions(rgb: Rgb, outlines: Iterable[Sequence[tuple[float, float]]]) -> Rgb:
    """The photo with these parts blurred.

    Args:
        rgb: (H, W, 3) uint8; stays as it is.
        outlines: corners x, y of each part in pixels; what lies outside the photo is left out.

    Returns:
        (H, W, 3) uint8.
    """
    blurred = rgb.copy()
    for outline in outlines:
        _blur(blurred, np.asarray(outline, np.float64))
    return blurred


def _blur(rgb: Rgb, outline: NDArray[np.float64]) -> None:
    height, width = rgb.shape[:2]
    x0, y0 = np.floor(np.clip(outline.min(axis=0), 0, (width, height))).astype(int)
    x1, y1 = np.ceil(np.clip(outline.max(axis=0), 0, (width, height))).astype(int)
    if x1 <= x0 or y1 <= y0:
        return
    patch = rgb[y0:y1, x0:x1]
    inside = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.round(outline - (x0, y0)).astype(np.int32)], 1)
    step = -(-max(patch.shape[:2]) // BLOCKS)
    coarse = _block_means(patch, step)
    smooth = cv2.GaussianBlur(coarse, (0, 0), max(0.5, step / 2))
    np.copyto(patch, np.asarray(smooth, np.uint8).reshape(patch.shape), where=inside[..., None] > 0)


def _block_means(patch: Rgb, step: int) -> Rgb:
    """Every block of step x step pixels in its mean colour."""
    rows = np.arange(0, patch.shape[0], step)
    columns = np.arange(0, patch.shape[1], step)
    sums = np.add.reduceat(np.add.reduceat(patch.astype(np.int64), rows, axis=0), columns, axis=1)
    tall, wide = np.diff(np.append(rows, patch.shape[0])), np.diff(np.append(columns, patch.shape[1]))
    means = sums // (tall[:, None, None] * wide[None, :, None])
    spread = np.repeat(np.repeat(means, tall, axis=0), wide, axis=1)
    return np.asarray(spread, np.uint8)
