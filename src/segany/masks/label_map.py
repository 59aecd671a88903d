"""One picture of integers for many masks: 0 is background, i + 1 is the i-th mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import DataError
from segany.masks.rle import BoolArray, as_bool_mask, decode, rle_area


def masks_to_label_map(
    masks: Sequence[Any] | NDArray[Any], size_hw: tuple[int, int] | None = None
) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """Paint masks over one another, the largest first, so that smaller ones stay visible on top.

    Args:
        masks: N masks (H, W) boolean or integer, or RLEs, also mixed. Of equal areas the later one is on top.
        size_hw: height and width of the picture; needed only when there is no mask.

    Returns:
        (H, W) uint16, or uint32 for more than 65535 masks. A mask wholly covered by others has none.

    Raises:
        DataError: sizes differ, or no mask and no size.
    """
    count = len(masks)
    if size_hw is None and count == 0:
        raise DataError("a label map without masks needs size_hw=(height, width); got neither.")
    areas = [rle_area(m) if isinstance(m, Mapping) else int(np.count_nonzero(as_bool_mask(m))) for m in masks]
    size = size_hw if size_hw is not None else _array(masks[0]).shape
    label_map = np.zeros(size, np.uint16 if count <= np.iinfo(np.uint16).max else np.uint32)
    for index in sorted(range(count), key=lambda i: -areas[i]):
        mask = _array(masks[index])
        if mask.shape != label_map.shape:
            raise DataError(
                f"all masks of a label map must have the picture's size {label_map.shape}; mask {index} has "
                f"{mask.shape}. Check that it belongs to the same image."
            )
        label_map[mask] = index + 1
    return label_map


def label_map_to_masks(label_map: Any) -> tuple[NDArray[np.int64], BoolArray]:
    """The masks of a label map, without its background 0.

    Args:
        label_map: (H, W) non-negative integers.

    Returns:
        (N,) labels in ascending order and (N, H, W) boolean masks.

    Raises:
        DataError: not (H, W), or not integers.
    """
    array = np.asarray(label_map)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer) or array.size == 0:
        raise DataError(
            f"a label map must be (H, W) integers, 0 for background; got {array.shape} {array.dtype}. "
            "A colour picture of labels must be turned into indices first."
        )
    labels = np.unique(array)
    labels = labels[labels != 0]
    return labels.astype(np.int64), array[None] == labels[:, None, None]


def _array(mask: Any) -> BoolArray:
    return decode(mask) if isinstance(mask, Mapping) else as_bool_mask(mask)
