"""Any data set to any format: masks by the record writers, photos byte for byte beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Literal, Protocol

from segany.core.errors import DataError, OptionError
from segany.core.files import atomic_write_bytes, atomic_write_text
from segany.data.sample import Sample
from segany.data.shards import ShardWriter, shard_record
from segany.records.formats import WRITERS, Format
from segany.records.formats.yolo import CLASSES

TargetFormat = Literal["sa1b", "shards", "coco", "png", "labelmap", "yolo", "labelme", "cvat", "labelstudio"]


class Target(Protocol):
    """Takes samples."""

    def write(self, sample: Sample) -> bool:
        """Write one sample; False when it was there already.

        Raises:
            DataError: the sample cannot be read, or its image came before under another name.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """How to write."""

    photos: bool = True
    """Copy the photos too; shards always hold them."""
    worker: int = 0
    """Number of this worker."""
    workers: int = 1
    """How many write to the same folder; each takes every n-th sample."""
    shard_images: int = 10_000
    """Images per shard, at most."""
    shard_bytes: int = 1 << 30
    """Bytes per shard, about at most."""


@contextmanager
def open_target(format: TargetFormat, folder: Path, options: TargetOptions | None = None) -> Iterator[Target]:
    """Something to write samples to; what has to be closed is closed in the end, unless there was an error.

    Args:
        format: "sa1b" a folder of ``sa_N.jpg`` and ``sa_N.json``; "shards" the same in tars; "coco"
            ``annotations.json`` and ``images/``; "png" ``masks/NAME/`` and ``images/``; "labelmap"
            ``labels/NAME_labels.png`` and ``images/``; "yolo" ``labels/``, ``images/`` and ``data.yaml``;
            "labelme" each JSON beside its photo; "cvat" ``annotations.xml`` and ``images/``; "labelstudio"
            ``labelstudio.json`` and ``images/``.
        folder: made if missing.
        options: how.

    Raises:
        OptionError: impossible options.
    """
    chosen = options or TargetOptions()
    check_target(format, chosen)
    if format == "shards":
        with ShardWriter(
            folder,
            worker=chosen.worker,
            workers=chosen.workers,
            max_images=chosen.shard_images,
            max_bytes=chosen.shard_bytes,
        ) as writer:
            yield _Shards(writer)
        return
    folder.mkdir(parents=True, exist_ok=True)
    if format == "sa1b":
        yield _SA1BTarget(folder, chosen.photos)
        return
    target = _FolderTarget(folder, format, chosen.photos)
    yield target
    target.finish()


def check_target(format: TargetFormat, options: TargetOptions) -> None:
    """See that a target can be opened with these options, without touching a file.

    Raises:
        OptionError: it cannot.
    """
    if not 0 <= options.worker < options.workers:
        raise OptionError(f"a worker's number must be below {options.workers}, from 0; got {options.worker}.")
    if options.shard_images < 1 or options.shard_bytes < 1:
        raise OptionError(
            f"a shard must hold 1 image or more; got {options.shard_images} images, {options.shard_bytes} bytes."
        )
    if format == "yolo" and options.workers > 1:
        raise OptionError(
            "YOLO's classes.txt is shared by all images, so one worker only can write it; "
            f"got {options.workers}. Convert with one worker."
        )


class _Once:
    """Refuses the second image of a number."""

    def __init__(self) -> None:
        self._seen: dict[int, str] = {}

    def take(self, number: int, sample: Sample) -> None:
        first = self._seen.setdefault(number, sample.key)
        if first != sample.key:
            raise DataError(
                f"{sample.name}: an image may be in a data set once; it is the same file as {first}. "
                "Leave it out, or merge the masks of both."
            )


class _Shards:
    def __init__(self, writer: ShardWriter) -> None:
        self._writer, self._once = writer, _Once()

    def write(self, sample: Sample) -> bool:
        content = sample.load_bytes()
        record = sample.record
        number = shard_record(record, content).image_id
        self._once.take(number, sample)
        if self._writer.has(number):
            return False
        self._writer.add(record, content)
        return True


class _SA1BTarget:
    def __init__(self, folder: Path, photos: bool) -> None:
        self._folder, self._photos, self._once = folder, photos, _Once()
        self._format = WRITERS["sa1b"]

    def write(self, sample: Sample) -> bool:
        content = sample.load_bytes()
        record = shard_record(sample.record, content)
        self._once.take(record.image_id, sample)
        stem = PurePath(record.file_name).stem
        if self._format.target(self._folder, stem).exists():
            return False
        if self._photos:
            atomic_write_bytes(self._folder / record.file_name, content)
        self._format.write(record, self._folder, stem)
        return True


class _FolderTarget:
    """Masks in one place, photos in another, both under the sample's key."""

    def __init__(self, folder: Path, format: str, photos: bool) -> None:
        self._folder, self._name, self._photos = folder, format, photos
        self._format: Format = WRITERS[format]
        places = {"png": "masks", "labelmap": "labels", "yolo": "labels"}
        self._masks = folder / places.get(format, "")
        self._images = folder if format == "labelme" else folder / "images"

    def write(self, sample: Sample) -> bool:
        if self._format.target(self._masks, sample.key).exists():
            return False
        ending = PurePath(sample.file_name).suffix
        file_name = f"{sample.key}{ending}"
        record = sample.record
        if self._photos:
            atomic_write_bytes(self._images / file_name, sample.load_bytes())
        # LabelMe looks for the photo beside the JSON, COCO readers below the folder of images.
        named = PurePath(file_name).name if self._name == "labelme" else file_name
        self._format.write(replace(record, file_name=named), self._masks, sample.key)
        return True

    def finish(self) -> None:
        self._format.finish(self._masks)
        if self._name == "yolo":
            atomic_write_text(self._folder / "data.yaml", self._yaml())

    def _yaml(self) -> str:
        classes = self._masks / CLASSES
        names = classes.read_text(encoding="utf-8").splitlines() if classes.is_file() else []
        lines = ["path: .", "train: images", "val: images", "names:"]
        lines += [f"  {number}: {json.dumps(name, ensure_ascii=False)}" for number, name in enumerate(names)]
        return "\n".join(lines) + "\n"
