"""Overlap of masks given as arrays. For masks kept as RLE see `segany.masks.rle.rle_iou`."""

# N, M masks · H, W mask height and width

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import DataError
from segany.masks.rle import as_bool_mask

_PIXELS_PER_PRODUCT = 2**22


def mask_iou(first: Any, second: Any) -> float:
    """Intersection over union of two masks.

    Args:
        first: (H, W) boolean or integer.
        second: (H, W) boolean or integer.

    Returns:
        Value in [0, 1]; two empty masks give 0.

    Raises:
        DataError: shapes differ, or not masks.
    """
    a, b = as_bool_mask(first), as_bool_mask(second)
    _check_same_image(a, b)
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 0.0


def pairwise_mask_iou(first: Any, second: Any) -> NDArray[np.float64]:
    """Intersection over union of every mask of one stack with every mask of another.

    Args:
        first: (N, H, W) boolean or integer.
        second: (M, H, W) boolean or integer.

    Returns:
        (N, M) values in [0, 1]; two empty masks give 0.

    Raises:
        DataError: image sizes differ, or not stacks of masks.
    """
    a, b = as_bool_mask(first, ndim=3), as_bool_mask(second, ndim=3)
    _check_same_image(a, b)
    pixels = a.shape[1] * a.shape[2]
    flat_a, flat_b = a.reshape(len(a), pixels), b.reshape(len(b), pixels)
    inter = np.zeros((len(a), len(b)))
    for start in range(0, pixels, _PIXELS_PER_PRODUCT):  # float32 sums of ones are exact up to 2^24
        part = slice(start, start + _PIXELS_PER_PRODUCT)
        inter += flat_a[:, part].astype(np.float32) @ flat_b[:, part].astype(np.float32).T
    area_a, area_b = np.count_nonzero(flat_a, axis=1), np.count_nonzero(flat_b, axis=1)
    union = area_a[:, None] + area_b[None, :] - inter
    iou: NDArray[np.float64] = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return iou


def _check_same_image(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> None:
    if a.shape[-2:] != b.shape[-2:]:
        raise DataError(
            f"masks to compare must have one size; got {a.shape[-2:]} and {b.shape[-2:]}. "
            "Resize one of them, or check that both belong to the same image."
        )
