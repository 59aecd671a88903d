"""Masks as polygons that run along pixel edges, and back.

The frame is the image's: the top-left pixel covers [0, 1] x [0, 1]. So a polygon's extent is the mask's exact
extent, and its area, holes taken off, is the mask's number of pixels.
"""

# K polygon corners · H, W mask height and width

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from segany.masks.boxes import exact_box_xywh
from segany.masks.coco_segmentation import rings_to_rle
from segany.masks.rle import BoolArray, as_bool_mask, decode

Ring: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Polygon:
    """One connected part of a mask."""

    outer: Ring
    """(K, 2) corners x, y; the last one joins the first."""
    holes: tuple[Ring, ...] = field(default=())
    """Rings of background inside, each (K, 2)."""


def mask_to_polygons(mask: Any, *, tolerance: float = 0.0) -> list[Polygon]:
    """The outline of each connected part (8-connectivity) with its holes.

    Args:
        mask: (H, W) boolean or integer.
        tolerance: how far, in pixels, a simplified outline may leave the true one. 0 is exact, with two
            corners per step of a slanted edge; 1 is a good deal lighter. A ring that would shrink to a line
            stays exact.

    Returns:
        Polygons in pixels of the mask; none for an empty mask.

    Raises:
        DataError: not (H, W), or a floating type.
    """
    array = as_bool_mask(mask)
    x, y, w, h = exact_box_xywh(array)
    if w == 0:
        return []
    origin = np.array([x, y])
    part = array[y : y + h, x : x + w]
    doubled = np.zeros((2 * h + 1, 2 * w + 1), np.uint8)
    doubled[1::2, 1::2] = part
    grown = cv2.dilate(doubled, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=(0.0,))
    contours, hierarchy = cv2.findContours(grown, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [_simplified(_pixel_edges(contour[:, 0]) + origin, tolerance) for contour in contours]
    holes: dict[int, list[Ring]] = {}
    for index, (_, _, _, parent) in enumerate(hierarchy[0]):
        if parent >= 0:
            holes.setdefault(int(parent), []).append(rings[index])
    outer = [index for index, (_, _, _, parent) in enumerate(hierarchy[0]) if parent < 0]
    return [Polygon(rings[index], tuple(holes.get(index, ()))) for index in outer]


def polygons_to_mask(polygons: Sequence[Polygon], size_hw: tuple[int, int]) -> BoolArray:
    """The union of polygons, holes left out; exact for polygons along pixel edges.

    Args:
        polygons: in pixels of the mask; parts outside it are cut off.
        size_hw: height and width of the mask.

    Returns:
        (H, W) boolean mask.

    Raises:
        DataError: a ring with fewer than three corners, not a number, or absurdly far outside.
    """
    mask = np.zeros(size_hw, bool)
    for polygon in polygons:
        filled = _filled([polygon.outer], size_hw)
        if polygon.holes:
            filled &= ~_filled(polygon.holes, size_hw)
        mask |= filled
    return mask


def joined_ring(polygons: Sequence[Polygon]) -> Ring:
    """All outlines and holes as one ring, for formats that know a single outline per object.

    The parts hang together by bridges walked there and back, which enclose nothing; filled by COCO's or any
    even-odd rule the ring gives the same mask.

    Args:
        polygons: at least one, from `mask_to_polygons`.

    Returns:
        (K, 2) corners.
    """
    rings = [ring for polygon in polygons for ring in (polygon.outer, *polygon.holes)]
    joined = rings[0]
    for ring in rings[1:]:
        start = int(ring[:, 0].argmin())
        at = int(np.square(joined - ring[start]).sum(axis=1).argmin())
        walk = np.concatenate([ring[start:], ring[: start + 1]])
        joined = np.concatenate([joined[: at + 1], walk, joined[at:]])
    return joined


def ring_area(ring: ArrayLike) -> float:
    """Area inside a ring (K, 2), in square pixels."""
    x, y = np.asarray(ring, np.float64).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _pixel_edges(contour: NDArray[Any]) -> Ring:
    """Corners of the outline on the doubled grid, pixels on odd and their corners on even positions.

    The tracer cuts inner corners diagonally; the corner it skipped is the one with both coordinates even.
    """
    following = np.roll(contour, -1, axis=0)
    skipped = np.where(contour % 2 == 0, contour, following)
    diagonal = (contour != following).all(axis=1)
    path = np.insert(contour, np.flatnonzero(diagonal) + 1, skipped[diagonal], axis=0)
    step_in, step_out = path - np.roll(path, 1, axis=0), np.roll(path, -1, axis=0) - path
    corners: Ring = path[(step_in != step_out).any(axis=1)] / 2
    return corners


def _simplified(ring: Ring, tolerance: float) -> Ring:
    if tolerance <= 0:
        return ring
    simple = cv2.approxPolyDP(ring.astype(np.float32)[:, None], tolerance, closed=True)[:, 0]
    return simple.astype(np.float64) if len(simple) >= 3 else ring


def _filled(rings: Sequence[Ring], size_hw: tuple[int, int]) -> BoolArray:
    return decode(rings_to_rle(rings, size_hw))
