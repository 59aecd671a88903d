"""Small holes and small islands. Pixels touching by a side or a corner belong together (8-connectivity)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segany.masks.rle import BoolArray, as_bool_mask


def fill_small_holes(mask: Any, area: float) -> tuple[BoolArray, bool]:
    """Fill every background component smaller than the area, enclosed or at the image's edge.

    Args:
        mask: (H, W) boolean or integer.
        area: components of fewer pixels are filled.

    Returns:
        The mask, and whether anything was filled.

    Raises:
        DataError: not (H, W), or a floating type.

    Source: Segment Anything (arXiv 2304.02643), automatic mask generation.
    """
    array = as_bool_mask(mask)
    labels, sizes = _components(~array)
    small = sizes < area
    small[0] = False
    if not small.any():
        return array, False
    return array | small[labels], True


def remove_small_islands(mask: Any, area: float) -> tuple[BoolArray, bool]:
    """Remove every foreground component smaller than the area; if all are smaller, the largest stays.

    Args:
        mask: (H, W) boolean or integer.
        area: components of fewer pixels are removed.

    Returns:
        The mask, and whether it had a small component. As in the reference this is true even for a lone small
        component, which stays as it was.

    Raises:
        DataError: not (H, W), or a floating type.

    Source: Segment Anything (arXiv 2304.02643), automatic mask generation.
    """
    array = as_bool_mask(mask)
    labels, sizes = _components(array)
    keep = sizes >= area
    keep[0] = False
    if keep[1:].all():
        return array, False
    if not keep.any():
        keep[1 + int(np.argmax(sizes[1:]))] = True
    return keep[labels], True


def largest_component_area(mask: Any) -> int:
    """Pixels of the largest component; 0 for an empty mask.

    Args:
        mask: (H, W) boolean or integer.

    Raises:
        DataError: not (H, W), or a floating type.
    """
    _, sizes = _components(as_bool_mask(mask))
    return int(sizes[1:].max(initial=0))


def _components(mask: BoolArray) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(H, W) labels with 0 outside the mask, and the number of pixels of each label."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)
    return labels.astype(np.int32, copy=False), stats[:, cv2.CC_STAT_AREA].astype(np.int64)
