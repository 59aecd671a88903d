"""Shapes of other tools as masks."""

# H, W image height and width · K corners

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segany.masks.coco_segmentation import rings_to_rle
from segany.masks.rle import Rle, decode, encode
from segany.records.coco import NO_LABEL
from segany.records.ids import image_id_for
from segany.records.record import ImageRecord, MaskRecord

Corners = NDArray[np.float64]
ELLIPSE_CORNERS = 180


def box_corners(x0: float, y0: float, x1: float, y1: float, *, degrees: float = 0.0, about: Any = None) -> Corners:
    """(4, 2) corners of a box, turned clockwise about a point, its middle when None."""
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)
    return turned(corners, degrees, corners.mean(axis=0) if about is None else np.asarray(about, np.float64))


def ellipse_corners(x: float, y: float, rx: float, ry: float, *, degrees: float = 0.0) -> Corners:
    """(K, 2) corners on an ellipse, turned clockwise about its middle."""
    angle = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)
    corners = np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)
    return turned(corners, degrees, np.array([x, y], np.float64))


def turned(corners: Corners, degrees: float, about: Corners) -> Corners:
    """Corners turned clockwise, as seen with y downwards."""
    if not degrees:
        return corners
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotated: Corners = (corners - about) @ np.array([[c, s], [-s, c]]) + about
    return rotated


def ring_rle(corners: Any, size_hw: tuple[int, int]) -> Rle:
    """A filled outline.

    Raises:
        DataError: fewer than three corners, or no numbers.
    """
    return rings_to_rle([corners], size_hw)


def united(rles: Sequence[Rle]) -> Rle:
    """One mask of several."""
    if len(rles) == 1:
        return rles[0]
    whole = decode(rles[0])
    for rle in rles[1:]:
        whole |= decode(rle)
    return encode(whole)


def mask_record(
    rle: Rle, label: str | None, *, source: str = "imported", attributes: Mapping[str, Any] | None = None
) -> MaskRecord:
    """A record; the name "object" stands for none."""
    name = None if label in (None, "", NO_LABEL) else label
    return MaskRecord.from_mask(rle, label=name, source=source, attributes=dict(attributes) if attributes else None)


def image_record(
    file_name: str, size_hw: tuple[int, int], masks: Sequence[MaskRecord], extra: Mapping[str, Any] | None = None
) -> ImageRecord:
    """A record of a photo whose file is not at hand: its number is that of its name, until the file is."""
    return ImageRecord(
        image_id=image_id_for(file_name, file_name.encode("utf-8", "surrogatepass")),
        width=size_hw[1],
        height=size_hw[0],
        file_name=file_name,
        annotations=tuple(masks),
        extra=extra or {},
    )
