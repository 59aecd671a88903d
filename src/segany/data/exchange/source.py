"""Files of other annotation tools as samples."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from segany.core.errors import DataError
from segany.data.exchange.cvat import read_cvat
from segany.data.exchange.labelme import read_labelme
from segany.data.exchange.labelstudio import read_label_studio
from segany.data.folders import inside, key_of, none_found, require_folder, walk_files
from segany.data.sa1b import NOT_IMAGES
from segany.data.sample import Sample, read_file
from segany.records.ids import image_id_for
from segany.records.record import ImageRecord

CVAT_FILE, LABEL_STUDIO_FILE = "annotations.xml", "labelstudio.json"
_UPLOADED = re.compile(r"[0-9a-f]{8}-")
"""Label Studio puts this before the names of uploaded files."""


class RecordSource:
    """Images of records that were read already, with their photos.

    Args:
        name: the data set's name.
        records: in any order.
        roots: folders that photos are looked for in, under their whole name, then under its last part.

    Attributes:
        missing: images whose photo is not there.

    Raises:
        DataError: none of the photos is there, or one is listed twice.
    """

    def __init__(self, name: str, records: Sequence[ImageRecord], roots: Sequence[Path]) -> None:
        self.name = name
        self._found: list[tuple[str, Path, ImageRecord]] = []
        missing, seen = [], set[str]()
        for record in sorted(records, key=lambda one: one.file_name):
            path = _find(record.file_name, roots)
            if path is None:
                missing.append(f"no {record.file_name} in {' or '.join(map(str, roots))}")
                continue
            key = PurePosixPath(record.file_name).with_suffix("").as_posix().lstrip("/")
            if key in seen:
                raise DataError(f"{name}: an image may be listed once; {record.file_name} comes twice. Merge the two.")
            seen.add(key)
            self._found.append((key, path, record))
        if not self._found:
            raise none_found(f"the photos that {name} lists", roots[0], missing)
        self.missing = tuple(missing)

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, index: int) -> Sample:
        key, path, record = self._found[index]
        return Sample(
            source=self.name,
            key=key,
            file_name=path.name,
            load_bytes=partial(read_file, path),
            load_record=partial(_numbered, record, path),
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def open_cvat(path: Path, images: Path | None) -> RecordSource:
    """A CVAT XML, or the folder of an unpacked export; photos lie beside it or in ``images``.

    Raises:
        DataError: no such file, or none of its photos is there.
    """
    file = path / CVAT_FILE if path.is_dir() else path
    return RecordSource(_name(path), read_cvat(file), _roots(file, images))


def open_label_studio(path: Path, images: Path | None) -> RecordSource:
    """A Label Studio export; photos lie beside it or in ``images``.

    Raises:
        DataError: no such file, or none of its photos is there.
    """
    file = path / LABEL_STUDIO_FILE if path.is_dir() else path
    return RecordSource(_name(path), read_label_studio(file), _roots(file, images))


def open_labelme(path: Path, images: Path | None) -> RecordSource:
    """A folder of LabelMe JSONs, or one of them; photos lie beside them.

    Raises:
        DataError: nothing there, or none of the photos is.
    """
    folder = path if path.is_dir() else path.parent
    records = []
    files = walk_files(folder, (".json",)) if path.is_dir() else [path]
    for file in (file for file in files if file.name not in NOT_IMAGES):
        record = read_labelme(file)
        suffix = PurePosixPath(record.file_name).suffix
        below = file.parent.relative_to(folder) / record.file_name
        records.append(replace(record, file_name=below.as_posix() if suffix else f"{key_of(file, folder)}.jpg"))
    return RecordSource(_name(path), records, [require_folder(images, "images")] if images else [folder])


def _numbered(record: ImageRecord, path: Path) -> ImageRecord:
    return replace(record, image_id=image_id_for(path.name, path), file_name=path.name)


def _name(path: Path) -> str:
    return path.resolve().name if path.is_dir() else path.stem


def _roots(file: Path, images: Path | None) -> list[Path]:
    if images is not None:
        return [require_folder(images, "images")]
    return [folder for folder in (file.parent / "images", file.parent) if folder.is_dir()]


def _find(name: str, roots: Sequence[Path]) -> Path | None:
    last = PurePosixPath(name).name
    plain = _UPLOADED.sub("", last, count=1) if _UPLOADED.match(last) else last
    for candidate in (name, last, plain):
        for root in roots:
            path = inside(root, candidate)
            if path is not None and path.is_file():
                return path
    return None
