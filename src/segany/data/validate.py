"""Checking a data set thoroughly: every mask, every photo, every number, every hash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from segany.core.errors import DataError, ImageError
from segany.core.files import sha256_file
from segany.data.sample import Document, Sample, StoredDocument
from segany.data.shard_format import MANIFEST, describe_shard, read_manifest, shard_paths
from segany.masks.coco_segmentation import coco_segmentation_to_rle
from segany.masks.polygons import ring_area
from segany.masks.rle import Rle, compressed, rle_area, rle_exact_box_xywh
from segany.records._checks import listing, mapping
from segany.records.record import MaskRecord

Kind = Literal[
    "missing",
    "unreadable",
    "schema",
    "rle",
    "rle_size",
    "area",
    "bbox",
    "empty_mask",
    "duplicate_image",
    "duplicate_id",
    "image",
    "image_size",
    "manifest",
]
MEANINGS: dict[str, str] = {
    "missing": "an image without annotations or the other way round",
    "unreadable": "annotations that cannot be read at all",
    "schema": "a key missing, or a value of the wrong kind",
    "rle": "a mask that cannot be decoded",
    "rle_size": "a mask of another size than its image",
    "area": "an area that is not the mask's",
    "bbox": "a box that is not the mask's",
    "empty_mask": "a mask without a pixel",
    "duplicate_image": "one image number for two images",
    "duplicate_id": "one mask number twice in an image",
    "image": "a photo that cannot be decoded",
    "image_size": "a photo of another size than its annotations say",
    "manifest": "shards and manifest.json disagree",
}
"""What every kind of offence is."""

FIRST = 10
"""Offenders that are named, per kind."""

_SA1B_TOLERANCE = 1.0
_COCO_TOLERANCE = 2.0


@dataclass
class Validation:
    """What was found.

    Attributes:
        name: the data set's name.
        images: images looked at.
        masks: masks looked at.
        counts: offences per kind.
        first: the first `FIRST` offenders per kind, a line each.
    """

    name: str
    images: int = 0
    masks: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[str]] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Nothing was found."""
        return not self.counts

    def note(self, kind: Kind, offender: str) -> None:
        """Count one offence."""
        self.counts[kind] += 1
        lines = self.first.setdefault(kind, [])
        if len(lines) < FIRST:
            lines.append(offender)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "name": self.name,
            "good": self.good,
            "images": self.images,
            "masks": self.masks,
            "offences": {
                kind: {"meaning": MEANINGS[kind], "count": self.counts[kind], "first": self.first[kind]}
                for kind in get_args(Kind)
                if kind in self.counts
            },
        }


class Validator:
    """Looks at samples one by one.

    Args:
        name: the data set's name.
        images: False leaves the photos undecoded, which is many times faster.
    """

    def __init__(self, name: str, *, images: bool = True) -> None:
        self.report = Validation(name)
        self._images = images
        self._seen: dict[int, str] = {}

    def missing(self, lines: tuple[str, ...]) -> None:
        """Note what a reader had to leave out."""
        for line in lines:
            self.report.note("missing", line)

    def add(self, sample: Sample) -> None:
        """Check one image with its masks; what is wrong is noted, nothing is raised."""
        self.report.images += 1
        load = sample.load_record
        try:
            if isinstance(load, StoredDocument):
                size, number = self._document(sample.key, load)
            else:
                record = sample.record
                size, number = record.size_hw, record.image_id
                self._masks_of(sample.key, record.annotations)
        except DataError as error:
            self.report.note("unreadable", f"{sample.key}: {error}")
            size, number = None, None
        if number is not None:
            if number in self._seen:
                self.report.note("duplicate_image", f"{number}: {self._seen[number]} and {sample.key}")
            self._seen.setdefault(number, sample.key)
        if self._images:
            self._photo(sample, size)

    def _masks_of(self, key: str, masks: tuple[MaskRecord, ...]) -> None:
        self.report.masks += len(masks)
        for index, mask in enumerate(masks):
            if mask.area == 0:
                self.report.note("empty_mask", f"{key}, mask {index}")

    def _photo(self, sample: Sample, size: tuple[int, int] | None) -> None:
        from segany.transforms.encoded import decode_image

        try:
            found = decode_image(sample.load_bytes(), sample.file_name).shape[:2]
        except (DataError, ImageError) as error:
            self.report.note("image", f"{sample.key}: {error}")
            return
        if size is not None and found != size:
            self.report.note("image_size", f"{sample.key}: photo (H, W) = {found}, annotations {size}")

    def _document(self, key: str, load: StoredDocument) -> tuple[tuple[int, int] | None, int | None]:
        content = load.load()
        image, annotations = _parts(content, load.layout)
        name = "image_id" if load.layout == "sa1b" else "id"
        size = _whole(image.get("height"), 1), _whole(image.get("width"), 1)
        number = _whole(image.get(name), 0)
        for key_name, value in ((name, number), ("height", size[0]), ("width", size[1])):
            if value is None:
                self.report.note("schema", f"{key}: {key_name} must be a whole number; got {image.get(key_name)!r}")
        if not isinstance(image.get("file_name"), str):
            self.report.note("schema", f"{key}: file_name must be text; got {image.get('file_name')!r}")
        if size[0] is None or size[1] is None:
            return None, number
        ids: set[Any] = set()
        for index, annotation in enumerate(annotations):
            self.report.masks += 1
            where = f"{key}, mask {index}"
            self._annotation(where, annotation, (size[0], size[1]), load.layout)
            known = annotation.get("id") if isinstance(annotation, Mapping) else None
            if isinstance(known, int) and known in ids:
                self.report.note("duplicate_id", f"{where}: id {known}")
            ids.add(known if isinstance(known, int) else None)
        return (size[0], size[1]), number

    def _annotation(self, where: str, annotation: Any, size: tuple[int, int], layout: str) -> None:
        if not isinstance(annotation, Mapping) or "segmentation" not in annotation:
            self.report.note("schema", f"{where}: must be an object with a segmentation")
            return
        try:
            rle = _rle(annotation["segmentation"], size)
        except _OtherSizeError as error:
            self.report.note("rle_size", f"{where}: mask {error}, image {list(size)}")
            return
        except DataError as error:
            self.report.note("rle", f"{where}: {error}")
            return
        pixels = rle_area(rle)
        if pixels == 0:
            self.report.note("empty_mask", where)
        agrees = self._agrees_sa1b if layout == "sa1b" else self._agrees_coco
        agrees(where, annotation, rle, pixels)

    def _agrees_sa1b(self, where: str, annotation: Mapping[str, Any], rle: Rle, pixels: int) -> None:
        """The box may be counted with or without the last pixel: the tolerance covers both."""
        wrong, exact = False, rle_exact_box_xywh(rle)
        if isinstance(annotation.get("area"), int | float) and annotation["area"] != pixels:
            self.report.note("area", f"{where}: area {annotation['area']}, mask {pixels} pixels")
            wrong = True
        if _numbers(annotation.get("bbox")) and not _near(annotation["bbox"], exact, _SA1B_TOLERANCE):
            self.report.note("bbox", f"{where}: bbox {annotation['bbox']}, mask {list(exact)}")
            wrong = True
        if not wrong:
            try:
                MaskRecord.from_dict(annotation)
            except DataError as error:
                self.report.note("schema", f"{where}: {error}")

    def _agrees_coco(self, where: str, annotation: Mapping[str, Any], rle: Rle, pixels: int) -> None:
        """Of polygons, area and box are the outlines', spikes without a pixel included, so these count too.

        The areas of crowd regions are left alone: in COCO itself they are not the masks'.
        """
        area, box = annotation.get("area"), annotation.get("bbox")
        extent, outline_area = _outline(annotation["segmentation"])
        mask_box = rle_exact_box_xywh(rle)
        slack = _COCO_TOLERANCE * (mask_box[2] + mask_box[3]) + _COCO_TOLERANCE**2
        if area is not None and not annotation.get("iscrowd"):
            near = isinstance(area, int | float) and min(abs(area - pixels), abs(area - outline_area)) <= slack
            if not near:
                self.report.note("area", f"{where}: area {area}, mask {pixels} pixels")
        if box is not None and pixels:
            fits = _numbers(box) and any(
                one is not None and _near(box, one, _COCO_TOLERANCE) for one in (mask_box, extent)
            )
            if not fits:
                self.report.note("bbox", f"{where}: bbox {box}, mask {list(mask_box)}")


class _OtherSizeError(Exception):
    """A mask of another size than its image; shows the mask's."""


def check_manifest(folder: Path) -> Iterator[str]:
    """Where ``manifest.json`` and the shards of a folder disagree, a line each; hashes every shard.

    Nothing to say where there is no manifest: SA-1B itself has none.
    """
    if not (folder / MANIFEST).is_file():
        return
    try:
        entries = {entry.name: entry for entry in read_manifest(folder)}
    except DataError as error:
        yield str(error)
        return
    shards = {shard.name: shard for shard in shard_paths(folder)}
    yield from (f"{name} is listed, but not there" for name in entries if name not in shards)
    yield from (f"{name} is there, but not listed" for name in shards if name not in entries)
    for name, entry in entries.items():
        if name not in shards:
            continue
        if (digest := sha256_file(shards[name])) != entry.sha256:
            yield f"{name} has the SHA-256 {digest}, listed is {entry.sha256}"
            continue
        try:
            found, _ = describe_shard(shards[name])
        except DataError as error:
            yield str(error)
            continue
        if (found.images, found.masks, found.ids) != (entry.images, entry.masks, entry.ids):
            yield (
                f"{name} holds {found.images} images and {found.masks} masks, listed are {entry.images} and "
                f"{entry.masks}, or other image numbers"
            )
    listed = Counter(number for entry in entries.values() for number in entry.ids)
    yield from (f"image {number} is listed {times} times" for number, times in listed.items() if times > 1)


def _parts(content: Document, layout: str) -> tuple[dict[str, Any], list[Any]]:
    image = content.get("image") if layout == "sa1b" else content["images"][0]
    return mapping("image", image), listing("annotations", content.get("annotations"))


def _whole(value: Any, low: int) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= low else None


def _numbers(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 4
        and all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
    )


def _rle(segmentation: Any, size: tuple[int, int]) -> Rle:
    if not isinstance(segmentation, Mapping):
        return coco_segmentation_to_rle(segmentation, size)
    rle = compressed(segmentation)
    if tuple(rle["size"]) != size:
        raise _OtherSizeError(rle["size"])
    return rle


def _outline(segmentation: Any) -> tuple[tuple[float, ...] | None, float]:
    """Box x, y, w, h around polygons and the sum of their areas; nothing for run lengths."""
    if isinstance(segmentation, Mapping):
        return None, 0.0
    rings = [np.asarray(ring, np.float64).reshape(-1, 2) for ring in segmentation if len(ring) >= 6]
    if not rings:
        return None, 0.0
    corners = np.concatenate(rings)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return (*low.tolist(), *(high - low).tolist()), sum(ring_area(ring) for ring in rings)


def _near(box: Any, other: Sequence[float], tolerance: float) -> bool:
    """Both corners of two boxes x, y, w, h are at most so many pixels apart along each axis."""
    x, y, w, h = (float(value) for value in box)
    left, top, width, height = other
    apart = (x - left, y - top, x + w - (left + width), y + h - (top + height))
    return max(abs(distance) for distance in apart) <= tolerance
