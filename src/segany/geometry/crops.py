"""Overlapping crops in layers, for small objects in large photos."""

from __future__ import annotations

import math


def crop_boxes(
    size_hw: tuple[int, int], layers: int, overlap_ratio: float
) -> tuple[list[tuple[int, int, int, int]], list[int]]:
    """The whole image and, for layer i of 1…, 2^i × 2^i overlapping crops.

    Args:
        size_hw: the image, (H, W).
        layers: crop layers beyond the whole image.
        overlap_ratio: overlap as a share of the image's shorter side in layer 1; halved with each layer.

    Returns:
        XYXY boxes in pixels, clipped to the image (columns outermost), and the layer of each.

    Source: Segment Anything released code, automatic mask generation.
    """
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
                boxes.append((x0, y0, min(x0 + crop_w, width), min(y0 + crop_h, height)))
                of_layer.append(layer)
    return boxes, of_layer


def _length(side: int, crops: int, overlap: int) -> int:
    return math.ceil((overlap * (crops - 1) + side) / crops)
