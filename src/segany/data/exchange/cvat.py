"""CVAT's XML, "CVAT for images 1.1"."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from segany.core.errors import DataError
from segany.data.exchange.shapes import box_corners, ellipse_corners, image_record, mask_record, ring_rle
from segany.masks.foreign_rle import box_row_runs_to_mask
from segany.masks.rle import Rle, encode
from segany.records.record import ImageRecord, MaskRecord

_WITHOUT_AREA = ("polyline", "points", "tag", "skeleton", "cuboid")


def from_cvat(text: str) -> list[ImageRecord]:
    """The images of a CVAT file: masks, polygons, boxes and ellipses; points, lines, tags and cuboids are left out.

    Attributes become texts in `MaskRecord.attributes`. Every shape is a mask of its own.

    Raises:
        DataError: not XML, not "CVAT for images", or a shape that cannot be read; the message names the image.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError("a CVAT file has no document type of its own; this one does. Export it anew.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(f"a CVAT file must be XML; got {error}. The file is damaged or of another kind.") from error
    if root.tag != "annotations":
        raise DataError(f"a CVAT file must begin with <annotations>; got <{root.tag}>. It is of another kind.")
    if root.find("track") is not None and root.find("image") is None:
        raise DataError('this is "CVAT for video"; export the task as "CVAT for images 1.1".')
    return [_image(image) for image in root.findall("image")]


def read_cvat(path: Path) -> list[ImageRecord]:
    """Read a CVAT file.

    Raises:
        DataError: no such file, or as `from_cvat`; the message names the file.
    """
    try:
        return from_cvat(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected a CVAT file at {path}; it cannot be read: {error}. Check the path.") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _image(image: ElementTree.Element) -> ImageRecord:
    name = image.get("name", "")
    try:
        size = (int(image.attrib["height"]), int(image.attrib["width"]))
        masks = [_mask(shape, size) for shape in image if shape.tag not in _WITHOUT_AREA]
        return image_record(name, size, masks)
    except (KeyError, ValueError, TypeError) as error:
        wrong = str(error) if isinstance(error, DataError) else f"a value is missing or no number: {error!r}"
        raise DataError(f"image {name!r}: {wrong}") from error


def _mask(shape: ElementTree.Element, size: tuple[int, int]) -> MaskRecord:
    attributes = {one.get("name", ""): one.text or "" for one in shape.findall("attribute")}
    return mask_record(_rle(shape, size), shape.get("label"), attributes=attributes)


def _rle(shape: ElementTree.Element, size: tuple[int, int]) -> Rle:
    def number(name: str) -> float:
        return float(shape.attrib[name])

    turn = float(shape.get("rotation", "0"))
    if shape.tag == "mask":
        runs = [int(run) for run in shape.attrib["rle"].split(",") if run.strip()]
        x, y, w, h = (int(shape.attrib[name]) for name in ("left", "top", "width", "height"))
        return encode(box_row_runs_to_mask(runs, (x, y, w, h), size))
    if shape.tag == "polygon":
        corners = [tuple(float(side) for side in corner.split(",")) for corner in shape.attrib["points"].split(";")]
        return ring_rle(corners, size)
    if shape.tag == "box":
        return ring_rle(box_corners(*(number(name) for name in ("xtl", "ytl", "xbr", "ybr")), degrees=turn), size)
    if shape.tag == "ellipse":
        return ring_rle(ellipse_corners(*(number(name) for name in ("cx", "cy", "rx", "ry")), degrees=turn), size)
    raise DataError(f"a shape must be a mask, polygon, box or ellipse; got <{shape.tag}>. Remove it in CVAT.")
