"""COCO's ``segmentation`` field, in any of its three spellings, as a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from segany.core.errors import DataError


def coco_segmentation_to_mask(segmentation: Any, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
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
    height, width = size_hw
    if isinstance(segmentation, Mapping):
        return _from_rle(segmentation, size_hw)
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str | bytes):
        raise DataError(
            "a COCO segmentation must be a list of polygons or an RLE object; "
            f"got {type(segmentation).__name__}. Check the annotation file."
        )
    polygons = [[float(value) for value in polygon] for polygon in segmentation if len(polygon) >= 6]
    if not polygons:
        return np.zeros((height, width), dtype=bool)
    rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return np.asarray(coco_mask.decode(rle)).astype(bool)


def _from_rle(segmentation: Mapping[str, Any], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    height, width = size_hw
    if "size" not in segmentation or "counts" not in segmentation:
        raise DataError(f"a COCO RLE needs 'size' and 'counts'; got the keys {sorted(segmentation)}.")
    if tuple(segmentation["size"]) != (height, width):
        raise DataError(
            f"a COCO RLE must have its image's size, {[height, width]}; got {list(segmentation['size'])}."
        )
    counts = segmentation["counts"]
    if isinstance(counts, str | bytes):
        encoded = counts.encode("ascii") if isinstance(counts, str) else counts
        rle: Any = {"size": [height, width], "counts": encoded}
    else:
        if sum(counts) != height * width:
            raise DataError(f"an uncompressed RLE must count {height * width} pixels; got {sum(counts)}.")
        rle = coco_mask.frPyObjects({"size": [height, width], "counts": list(counts)}, height, width)
    return np.asarray(coco_mask.decode(rle)).astype(bool)
