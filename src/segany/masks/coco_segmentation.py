"""COCO's ``segmentation`` field, in any of its three spellings, as a mask."""

# K polygon corners · H, W mask height and width

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask as coco_mask

from segany.core.errors import DataError
from segany.masks.rle import BoolArray, Rle, compressed, decode, encode

_FAR = 100_000.0


def coco_segmentation_to_mask(segmentation: Any, size_hw: tuple[int, int]) -> BoolArray:
    """Rasterise one COCO annotation exactly as the COCO tools do.

    Args:
        segmentation: a list of flat polygons ``[x0, y0, x1, y1, …]`` in pixels, an uncompressed RLE
            ``{"size": [h, w], "counts": [ints]}`` or a compressed one ``{"size": [h, w], "counts": str}``.
        size_hw: height and width of the image.

    Returns:
        (H, W) booleans; the union of the polygons.

    Raises:
        DataError: the value is none of the three, or belongs to an image of another size.

    Source: COCO annotation format.
    """
    return decode(coco_segmentation_to_rle(segmentation, size_hw))


def coco_segmentation_to_rle(segmentation: Any, size_hw: tuple[int, int]) -> Rle:
    """The same as a compressed RLE; polygons of fewer than three corners are left out.

    Args:
        segmentation: as `coco_segmentation_to_mask`.
        size_hw: height and width of the image.

    Raises:
        DataError: as `coco_segmentation_to_mask`.
    """
    if isinstance(segmentation, Mapping):
        rle = compressed(segmentation)
        if tuple(rle["size"]) != tuple(size_hw):
            raise DataError(
                f"a COCO RLE must have its image's size, {list(size_hw)}; got {rle['size']}. "
                "Sizes are [height, width]; check that the annotation belongs to this image."
            )
        return rle
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str | bytes):
        raise DataError(
            "a COCO segmentation must be a list of polygons or an RLE object; "
            f"got {type(segmentation).__name__}. Check the annotation file."
        )
    if not all(isinstance(polygon, Sequence | np.ndarray) for polygon in segmentation):
        raise DataError(
            "a COCO polygon segmentation must be a list of lists [[x0, y0, x1, y1, ...], ...]; got "
            f"{[type(polygon).__name__ for polygon in segmentation[:3]]}. Wrap a lone polygon in a list."
        )
    rings = [polygon for polygon in segmentation if len(polygon) >= 6]
    return rings_to_rle(rings, size_hw) if rings else encode(np.zeros(size_hw, bool))


def rings_to_rle(rings: Sequence[ArrayLike], size_hw: tuple[int, int]) -> Rle:
    """Compressed RLE of the union of rings, filled as COCO fills polygons: no holes.

    Args:
        rings: at least one; each (K, 2), or flat x0, y0, x1, y1, ... in pixels of the image.
        size_hw: height and width of the mask; parts outside it are cut off.

    Raises:
        DataError: no ring, one with fewer than three corners, or a value that is not a number of pixels.
    """
    if not len(rings):
        raise DataError("a polygon segmentation must have at least one ring; got none. Leave it out.")
    height, width = int(size_hw[0]), int(size_hw[1])
    flat = [_checked_ring(ring).reshape(-1).tolist() for ring in rings]
    merged = coco_mask.merge(coco_mask.frPyObjects(flat, height, width))
    return {"size": [height, width], "counts": merged["counts"].decode("ascii")}


def _checked_ring(ring: ArrayLike) -> NDArray[np.float64]:
    try:
        corners = np.asarray(ring, np.float64)
    except (TypeError, ValueError):
        corners = np.zeros(0)
    if corners.ndim == 1 and corners.size % 2 == 0:
        corners = corners.reshape(-1, 2)
    if corners.ndim == 2 and corners.shape[1] == 2 and len(corners) >= 3 and (np.abs(corners) <= _FAR).all():
        return corners
    raise DataError(
        f"a polygon ring must be at least three corners x, y, each a number between ±{_FAR:.0f}; "
        f"got shape {corners.shape}. Coordinates are pixels of the image."
    )
