"""LabelMe's JSON, one per image."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from segany.core.errors import DataError, ImageError
from segany.data.exchange.shapes import box_corners, ellipse_corners, image_record, mask_record, ring_rle, united
from segany.masks.rle import Rle, encode
from segany.records._checks import integer, listing, mapping, need, pairs, read_json, text
from segany.records.record import ImageRecord

_KEYS = ("shapes", "imagePath", "imageHeight", "imageWidth")
_WITHOUT_AREA = ("point", "points", "line", "linestrip")


def is_labelme(document: Mapping[str, Any]) -> bool:
    """Whether a JSON object looks like one of LabelMe's."""
    return all(key in document for key in ("shapes", "imagePath"))


def from_labelme(document: Mapping[str, Any]) -> ImageRecord:
    """The image of a LabelMe file: polygons, rectangles, circles and masks; points and lines are left out.

    Shapes of one label with the same ``group_id`` are one mask.

    Raises:
        DataError: not such a file, or a shape that cannot be read; the message names the shape.
    """
    content = mapping("a LabelMe file", document)
    need("a LabelMe file", content, _KEYS)
    size = (integer("imageHeight", content["imageHeight"], low=1), integer("imageWidth", content["imageWidth"], low=1))
    groups: dict[Any, list[tuple[str, Rle, dict[str, Any]]]] = {}
    for index, value in enumerate(listing("shapes", content["shapes"])):
        shape = mapping(f"shape {index}", value)
        kind = shape.get("shape_type") or "polygon"
        if kind in _WITHOUT_AREA:
            continue
        try:
            label, group = text("label", shape["label"]), shape.get("group_id")
            key = ("alone", index) if group is None else (label, str(group))
            flags = shape.get("flags")
            told = {name: item for name, item in flags.items() if item} if isinstance(flags, Mapping) else {}
            groups.setdefault(key, []).append((label, _rle(str(kind), shape, size), told))
        except (DataError, ImageError, KeyError, ValueError) as error:
            wrong = f"a key is missing: {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"shape {index}: {wrong}") from error
    masks = [
        mask_record(united([rle for _, rle, _ in parts]), parts[0][0], attributes=parts[0][2])
        for parts in groups.values()
    ]
    name = text("imagePath", content["imagePath"]).replace("\\", "/")
    return image_record(PurePosixPath(name).name, size, masks)


def read_labelme(path: Path) -> ImageRecord:
    """Read a LabelMe file.

    Raises:
        DataError: no such file, or as `from_labelme`; the message names the file.
    """
    content = read_json(Path(path))
    try:
        return from_labelme(content)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _rle(kind: str, shape: Mapping[str, Any], size: tuple[int, int]) -> Rle:
    points = pairs("points", shape["points"])
    if kind == "polygon":
        return ring_rle(points, size)
    if kind in ("rectangle", "mask", "circle") and len(points) != 2:
        raise DataError(f"a {kind} must have two points; got {len(points)}.")
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points
        return ring_rle(box_corners(x0, y0, x1, y1), size)
    if kind == "circle":
        (x, y), (ex, ey) = points
        radius = float(np.hypot(ex - x, ey - y))
        return ring_rle(ellipse_corners(x, y, radius, radius), size)
    if kind == "mask":
        return _picture(shape["mask"], points[0], size)
    raise DataError(f"a shape must be a polygon, rectangle, circle or mask; got {kind!r}. Remove it in LabelMe.")


def _picture(content: Any, corner: tuple[float, float], size: tuple[int, int]) -> Rle:
    """A mask that LabelMe keeps as a small PNG with its top left corner."""
    from segany.transforms.encoded import decode_mask

    try:
        pixels = decode_mask(base64.b64decode(text("mask", content), validate=True), "mask")
    except binascii.Error as error:
        raise DataError(f"a mask must be a PNG in base64; got {error}.") from error
    x, y = round(corner[0]), round(corner[1])
    mask = np.zeros(size, bool)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + pixels.shape[1], size[1]), min(y + pixels.shape[0], size[0])
    if x1 > x0 and y1 > y0:
        mask[y0:y1, x0:x1] = pixels[y0 - y : y1 - y, x0 - x : x1 - x]
    return encode(mask)
