"""Overlapping crops in layers, for small objects in large photos."""

from __future__ import annotations

import math

from segany.core.errors import OptionError


def crop_boxes(
    size_hw: tuple[int, int], layers: int, overlap_ratio: float
) -> tuple[list[tuple[int, int, int, int]], list[int]]:
    """The whole image and, for layer i of 1…, 2^i × 2^i overlapping crops.

    Args:
        size_hw: the image, (H, W).
        layers: crop layers beyond the whole image.
        overlap_ratio: overlap as a share of the image's shorter side in layer 1, in [0, 1); halved with each layer.

    Returns:
        XYXY boxes in pixels, clipped to the image (columns outermost), and the layer of each. A crop that would
        hold no pixel, in an image with fewer pixels a side than crops, is left out.

    Raises:
        OptionError: a negative number of layers, or a ratio outside [0, 1).

    Source: Segment Anything released code, automatic mask generation.
    """
    if layers < 0:
        raise OptionError(f"crop layers must be 0 or more; got {layers}. 0 looks at the whole image alone.")
    if not 0 <= overlap_ratio < 1:
        raise OptionError(f"the crop overlap ratio must be in [0, 1); got {overlap_ratio}. The usual one is 512/1500.")
    height, width = size_hw
    boxes, of_layer = [(0, 0, width, height)], [0]
    for layer in range(1, layers + 1):
        per_side = 2**layer
        overlap = int(overlap_ratio * min(height, width) * (2 / per_side))
        crop_w, crop_h = _length(width, per_side, overlap), _length(height, per_side, overlap)
        for column in range(per_side):
            x0 = (crop_w - overlap) * column
            for row in range(per_side):
                y0 = (crop_h - overlap) * row
                if x0 >= width or y0 >= height:
                    continue
                boxes.append((x0, y0, min(x0 + crop_w, width), min(y0 + crop_h, height)))
                of_layer.append(layer)
    return boxes, of_layer


def _length(side: int, crops: int, overlap: int) -> int:
    return math.ceil((overlap * (crops - 1) + side) / crops)
