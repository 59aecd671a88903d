"""SA-1B's file: one JSON per image, ``{"image": {...}, "annotations": [...]}``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segany.core.errors import DataError
from segany.core.files import atomic_write_text
from segany.records import _checks as check
from segany.records.record import IMAGE_KEYS, ImageRecord, MaskRecord


def to_sa1b(record: ImageRecord) -> dict[str, Any]:
    """The record in SA-1B's schema. Masks without an id get the smallest free ones, in order."""
    taken = {mask.id for mask in record.annotations}
    free = (number for number in range(len(taken) + len(record.annotations) + 1) if number not in taken)
    annotations = [
        {"id": next(free) if mask.id is None else mask.id, **_without_id(mask)} for mask in record.annotations
    ]
    image = {key: getattr(record, key) for key in IMAGE_KEYS}
    return {"image": {**image, **record.extra}, "annotations": annotations, **record.file_extra}


def from_sa1b(document: Mapping[str, Any]) -> ImageRecord:
    """The record of an SA-1B document; unknown keys are kept.

    Raises:
        DataError: a key is missing or a value wrong; the message names the annotation.
    """
    content = check.mapping("an SA-1B file", document)
    check.need("an SA-1B file", content, ("image", "annotations"))
    image = check.mapping("image", content.pop("image"))
    check.need("image", image, IMAGE_KEYS)
    masks = []
    for index, annotation in enumerate(check.listing("annotations", content.pop("annotations"))):
        try:
            masks.append(MaskRecord.from_dict(annotation))
        except DataError as error:
            raise DataError(f"annotation {index}: {error}") from error
    known = {key: image.pop(key) for key in IMAGE_KEYS}
    return ImageRecord(**known, annotations=tuple(masks), extra=image, file_extra=content)


def write_sa1b(record: ImageRecord, path: Path) -> Path:
    """Write one image's record; the file is whole or not there.

    Raises:
        DataError: something inside is not plain JSON.
    """
    atomic_write_text(path, check.to_json(to_sa1b(record)))
    return path


def read_sa1b(path: Path) -> ImageRecord:
    """Read one image's record.

    Raises:
        DataError: no such file, not JSON, or not SA-1B; the message names the file and the annotation.
    """
    try:
        return from_sa1b(check.read_json(Path(path)))
    except DataError as error:
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from error


def target(out_dir: Path, stem: str) -> Path:
    """The file that `write` makes."""
    return out_dir / f"{stem}.json"


def write(record: ImageRecord, out_dir: Path, stem: str) -> list[Path]:
    """``OUT/STEM.json``."""
    return [write_sa1b(record, target(out_dir, stem))]


def _without_id(mask: MaskRecord) -> dict[str, Any]:
    return {key: value for key, value in mask.to_dict().items() if key != "id"}
