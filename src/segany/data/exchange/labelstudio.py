"""Label Studio's JSON export."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from segany.core.errors import DataError
from segany.data.exchange.shapes import box_corners, ellipse_corners, image_record, mask_record, ring_rle
from segany.masks.foreign_rle import unpack_brush
from segany.masks.rle import Rle, encode
from segany.records._checks import integer, listing, mapping, number, pairs, text
from segany.records.record import ImageRecord, MaskRecord

_KINDS = ("brush", "polygon", "rectangle", "ellipse")


def from_label_studio(tasks: Any) -> list[ImageRecord]:
    """The images of a Label Studio export: brush strokes, polygons, boxes and ellipses; other results are left out.

    Of several annotations of a task the last one counts that was not cancelled; without any, the last prediction. A
    task that has no region at all has no size either and is left out: Label Studio tells sizes with regions only.

    Raises:
        DataError: not such an export, or a region that cannot be read; the message names the task.
    """
    records = []
    for index, task in enumerate(listing("a Label Studio export", tasks)):
        try:
            record = _record(mapping("a task", task))
        except (DataError, KeyError, TypeError) as error:
            wrong = str(error) if isinstance(error, DataError) else f"a key is missing: {error}"
            raise DataError(f"task {index}: {wrong}") from error
        records += [] if record is None else [record]
    return records


def read_label_studio(path: Path) -> list[ImageRecord]:
    """Read a Label Studio export.

    Raises:
        DataError: no such file, not JSON, or as `from_label_studio`; the message names the file.
    """
    try:
        return from_label_studio(json.loads(Path(path).read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a Label Studio export; {error}") from error


def image_name(address: str) -> str:
    """The photo's name in a task's address: behind ``?d=`` of a local storage, else the address's own path."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    name = local[0] if local else unquote(parts.path)
    return name.lstrip("/") if not parts.scheme and not name.startswith("/data/") else name.rpartition("/")[2]


def _record(task: dict[str, Any]) -> ImageRecord | None:
    results = [mapping("a result", one) for one in _results(task)]
    address = next((value for value in mapping("data", task["data"]).values() if isinstance(value, str)), "")
    shown = mapping("data", task["data"]).get("image", address)
    regions = [one for one in results if isinstance(one.get("value"), Mapping) and "original_width" in one]
    if not regions:
        return None
    size = (
        integer("original_height", regions[0]["original_height"], low=1),
        integer("original_width", regions[0]["original_width"], low=1),
    )
    if any(one.get("image_rotation") for one in regions):
        raise DataError("photos turned inside Label Studio cannot be read; turn the file itself, or undo the turn.")
    masks = [mask for one in regions if (mask := _mask(one, size)) is not None]
    return image_record(image_name(text("image", shown)), size, masks)


def _results(task: Mapping[str, Any]) -> list[Any]:
    made = [one for one in task.get("annotations", task.get("completions")) or [] if not one.get("was_cancelled")]
    chosen = made or task.get("predictions") or []
    return listing("result", chosen[-1].get("result", [])) if chosen else []


def _mask(region: Mapping[str, Any], size: tuple[int, int]) -> MaskRecord | None:
    kind = next((kind for kind in _KINDS if str(region.get("type", "")).startswith(kind)), None)
    if kind is None:
        return None
    value = mapping("value", region["value"])
    labels = value.get(f"{kind}labels") or value.get("labels") or [None]
    meta = region.get("meta")
    return mask_record(_rle(kind, value, size), labels[0], attributes=meta if isinstance(meta, Mapping) else None)


def _rle(kind: str, value: Mapping[str, Any], size: tuple[int, int]) -> Rle:
    if kind == "brush":
        return encode(unpack_brush(listing("rle", value["rle"]), size))
    wide, high = size[1] / 100, size[0] / 100
    if kind == "polygon":
        return ring_rle([(x * wide, y * high) for x, y in pairs("points", value["points"])], size)
    x, y = float(number("x", value["x"])) * wide, float(number("y", value["y"])) * high
    turn = float(number("rotation", value.get("rotation", 0)))
    if kind == "ellipse":
        rx, ry = float(number("radiusX", value["radiusX"])), float(number("radiusY", value["radiusY"]))
        return ring_rle(ellipse_corners(x, y, rx * wide, ry * high, degrees=turn), size)
    w, h = float(number("width", value["width"])) * wide, float(number("height", value["height"])) * high
    return ring_rle(box_corners(x, y, x + w, y + h, degrees=turn, about=(x, y)), size)
