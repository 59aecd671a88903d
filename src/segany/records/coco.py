"""COCO's dataset file: all images, masks and classes in one JSON.

Boxes are exact extents and masks compressed RLEs. What COCO does not know (predicted IoU, clicks, ...) stands
beside it under SA-1B's names, so that reading brings everything back.

A run over a folder writes one small dataset per image under ``coco_parts/`` (`write`), and `finish` merges
them into ``annotations.json``. Parts stay, so that a run can be resumed at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segany.core.errors import DataError
from segany.core.files import atomic_write_text
from segany.masks.coco_segmentation import coco_segmentation_to_rle
from segany.records import _checks as check
from segany.records.record import OPTIONAL_KEYS, REFERENCE_KEYS, ImageRecord, MaskRecord

NO_LABEL = "object"
PARTS = "coco_parts"
MERGED = "annotations.json"

_IMAGE_KEYS = ("id", "width", "height", "file_name")
_OWN_KEYS = ("image_id", "category_id", "iscrowd")


def to_coco(records: Iterable[ImageRecord]) -> dict[str, Any]:
    """One dataset of many images.

    Masks are numbered from 1 over the whole dataset, and so are classes: the labels in alphabetical order.
    Masks without a label are of class "object".

    Raises:
        DataError: two images have one id.
    """
    kept = sorted(records, key=lambda record: (record.file_name, record.image_id))
    seen: dict[int, str] = {}
    for record in kept:
        if record.image_id in seen:
            raise DataError(
                f"images of a COCO dataset must have different ids; {seen[record.image_id]} and "
                f"{record.file_name} are both {record.image_id}. Remove one if they are the same image."
            )
        seen[record.image_id] = record.file_name
    names = sorted({mask.label or NO_LABEL for record in kept for mask in record.annotations}) or [NO_LABEL]
    category = {name: index for index, name in enumerate(names, start=1)}
    annotations: list[dict[str, Any]] = []
    for record in kept:
        for mask in record.annotations:
            number = len(annotations) + 1
            annotations.append(_annotation(mask, number, record.image_id, category[mask.label or NO_LABEL]))
    return {
        "info": {"description": "Masks made with segany"},
        "images": [_image(record) for record in kept],
        "annotations": annotations,
        "categories": [{"id": index, "name": name} for name, index in category.items()],
    }


def from_coco(dataset: Mapping[str, Any]) -> list[ImageRecord]:
    """The images of a COCO dataset with their masks; polygons and both RLE spellings are read.

    Area and box are computed from the mask. A mask without predicted IoU or stability counts as certain
    (1). The class name becomes the label, except where the only class is "object". ``iscrowd`` and unknown
    keys go to `extra`.

    Raises:
        DataError: a key is missing, a value wrong, or an id unknown; the message names the entry.
    """
    content = check.mapping("a COCO file", dataset)
    check.need("a COCO file", content, ("images", "annotations"))
    labels = _labels(content.get("categories", []))
    images: dict[int, dict[str, Any]] = {}
    masks: dict[int, list[MaskRecord]] = {}
    for index, value in enumerate(check.listing("images", content["images"])):
        image = check.mapping(f"image {index}", value)
        check.need(f"image {index}", image, _IMAGE_KEYS)
        number = check.integer(f"image {index}: id", image["id"])
        if number in images:
            raise DataError(f"images of a COCO dataset must have different ids; {number} comes twice.")
        images[number], masks[number] = image, []
    for index, value in enumerate(check.listing("annotations", content["annotations"])):
        where = f"annotation {index}"
        annotation = check.mapping(where, value)
        check.need(where, annotation, ("image_id", "segmentation"))
        number = check.integer(f"{where}: image_id", annotation["image_id"])
        if number not in images:
            raise DataError(f"{where}: image_id must be one of the images; got {number}, which is not listed.")
        try:
            masks[number].append(_mask(annotation, images[number], labels))
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
    return [_record(image, masks[number]) for number, image in images.items()]


def write_coco(records: Iterable[ImageRecord], path: Path) -> Path:
    """Write one dataset; the file is whole or not there.

    Raises:
        DataError: two images have one id, or something inside is not plain JSON.
    """
    atomic_write_text(path, check.to_json(to_coco(records)))
    return path


def read_coco(path: Path) -> list[ImageRecord]:
    """Read a dataset.

    Raises:
        DataError: no such file, not JSON, or not COCO; the message names the file and the entry.
    """
    try:
        return from_coco(check.read_json(Path(path)))
    except DataError as error:
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from error


def merge(parts: Sequence[Path], path: Path) -> Path:
    """One dataset from several. An image whose id is taken, as of a photo present twice, gets the next.

    Raises:
        DataError: a part cannot be read.
    """
    return write_coco(_with_own_ids(record for part in sorted(parts) for record in read_coco(part)), path)


def target(out_dir: Path, stem: str) -> Path:
    """The part that `write` makes."""
    return out_dir / PARTS / f"{stem}.json"


def write(record: ImageRecord, out_dir: Path, stem: str) -> list[Path]:
    """One image's part, ``OUT/coco_parts/STEM.json``, a COCO dataset by itself."""
    path = target(out_dir, stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    return [write_coco([record], path)]


def finish(out_dir: Path) -> list[Path]:
    """Merge all parts into ``OUT/annotations.json``."""
    parts = [path for path in (out_dir / PARTS).rglob("*.json") if not path.name.startswith(".")]
    return [merge(parts, out_dir / MERGED)]


def _with_own_ids(records: Iterable[ImageRecord]) -> Iterator[ImageRecord]:
    taken: set[int] = set()
    for record in records:
        number = record.image_id
        while number in taken:
            number = (number + 1) % (check.SAFE_INTEGER + 1)
        taken.add(number)
        yield record if number == record.image_id else replace(record, image_id=number)


def _annotation(mask: MaskRecord, number: int, image_id: int, category_id: int) -> dict[str, Any]:
    known = mask.to_dict()
    known.pop("label", None)
    iscrowd = known.pop("iscrowd", 0)
    own = {"id": number, "image_id": image_id, "category_id": category_id, "iscrowd": iscrowd}
    return {**known, **own, "bbox": list(mask.exact_bbox)}


def _image(record: ImageRecord) -> dict[str, Any]:
    return {
        **record.extra,
        "id": record.image_id,
        "width": record.width,
        "height": record.height,
        "file_name": record.file_name,
    }


def _labels(categories: Any) -> dict[int, str | None]:
    labels: dict[int, str | None] = {}
    for index, value in enumerate(check.listing("categories", categories)):
        category = check.mapping(f"category {index}", value)
        check.need(f"category {index}", category, ("id", "name"))
        labels[check.integer(f"category {index}: id", category["id"])] = check.text("name", category["name"])
    return dict.fromkeys(labels) if set(labels.values()) == {NO_LABEL} else labels


def _mask(annotation: dict[str, Any], image: Mapping[str, Any], labels: Mapping[int, str | None]) -> MaskRecord:
    size = (check.integer("height", image["height"], low=1), check.integer("width", image["width"], low=1))
    rle = coco_segmentation_to_rle(annotation["segmentation"], size)
    label = annotation.get("label")
    if "category_id" in annotation and labels:
        number = check.integer("category_id", annotation["category_id"])
        if number not in labels:
            raise DataError(f"category_id must be one of {sorted(labels)}; got {number}.")
        label = labels[number]
    given = ("predicted_iou", "stability_score", "point_coords", "crop_box", *OPTIONAL_KEYS)
    known = {key: annotation[key] for key in given if key in annotation and key != "label"}
    extra = {k: v for k, v in annotation.items() if k not in (*REFERENCE_KEYS, *OPTIONAL_KEYS, *_OWN_KEYS)}
    if annotation.get("iscrowd"):
        extra["iscrowd"] = annotation["iscrowd"]
    return MaskRecord.from_mask(rle, **known, label=label, extra=extra)


def _record(image: dict[str, Any], masks: list[MaskRecord]) -> ImageRecord:
    known = {key: image.pop(key) for key in _IMAGE_KEYS}
    record = ImageRecord(
        image_id=known["id"],
        width=known["width"],
        height=known["height"],
        file_name=known["file_name"],
        extra=image,
    )
    return replace(record, annotations=tuple(masks))
