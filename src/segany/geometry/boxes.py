"""Axis-aligned boxes as numpy arrays. The name says the layout: xyxy corners, xywh corner and size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[Any]


def xyxy_to_xywh(boxes_xyxy: ArrayLike) -> Boxes:
    """(…, 4) corners → corner and size, without any +1."""
    boxes = np.array(boxes_xyxy)
    boxes[..., 2:] -= boxes[..., :2]
    return boxes


def xywh_to_xyxy(boxes_xywh: ArrayLike) -> Boxes:
    """(…, 4) corner and size → corners, without any +1."""
    boxes = np.array(boxes_xywh)
    boxes[..., 2:] += boxes[..., :2]
    return boxes


def box_area_xyxy(boxes_xyxy: ArrayLike) -> Boxes:
    """(…, 4) → (…) areas; zero when a side is."""
    boxes = np.asarray(boxes_xyxy)
    area: Boxes = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return area


def box_iou_xyxy(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """(N, 4) and (M, 4) corners → (N, M) IoU, no +1; two empty boxes overlap by 0."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    union = box_area_xyxy(a)[:, None] + box_area_xyxy(b)[None, :] - shared
    iou: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def clip_xyxy(boxes_xyxy: ArrayLike, size_hw: tuple[int, int]) -> Boxes:
    """(…, 4) corners moved into an image of (H, W)."""
    height, width = size_hw
    clipped: Boxes = np.clip(np.asarray(boxes_xyxy), 0, [width, height, width, height])
    return clipped


def sides_near_crop_edge(
    boxes_xyxy: ArrayLike, crop_xyxy: ArrayLike, image_xyxy: ArrayLike, *, atol: float = 20.0
) -> NDArray[np.bool_]:
    """Which sides of boxes, (N, 4), touch an edge of their crop that is not an edge of the image.

    Args:
        boxes_xyxy: (N, 4) in pixels of the crop.
        crop_xyxy: (4,) the crop in the image.
        image_xyxy: (4,) the image, normally 0, 0, W, H.
        atol: how near counts as touching, pixels.

    Source: Segment Anything released code, automatic mask generation.
    """
    crop, image = np.asarray(crop_xyxy, dtype=np.float64), np.asarray(image_xyxy, dtype=np.float64)
    boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4) + np.tile(crop[:2], 2)
    near_crop = np.isclose(boxes, crop, atol=atol, rtol=0)
    near_image = np.isclose(boxes, image, atol=atol, rtol=0)
    return np.asarray(near_crop & ~near_image, dtype=np.bool_)


def near_crop_edge(
    boxes_xyxy: ArrayLike, crop_xyxy: ArrayLike, image_xyxy: ArrayLike, *, atol: float = 20.0
) -> NDArray[np.bool_]:
    """Which boxes, (N,), have a side near an edge of their crop alone: their masks are probably cut."""
    sides = sides_near_crop_edge(boxes_xyxy, crop_xyxy, image_xyxy, atol=atol)
    return np.asarray(sides.any(axis=1), dtype=np.bool_)
