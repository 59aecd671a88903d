"""SA-1B as files: ``sa_N.jpg`` beside ``sa_N.json``, in one folder or in many."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from segany.core.errors import DataError
from segany.data.folders import ImageFolder, inside, key_of, none_found, require_folder, walk_files
from segany.data.sample import Document, Sample, StoredDocument, read_file
from segany.records._checks import mapping, read_json

NOT_IMAGES = ("manifest.json", "segany-run.json", "release.json", "statistics.json", "deidentification.json")
"""JSON files that describe a whole folder."""


class SA1BFolder:
    """Every image that has a JSON file, sorted by name with numbers in their order.

    Args:
        folder: holds the JSON files, also in folders inside it.
        images: holds the images under the same names; `folder` when None.
        name: the data set's name; the folder's when None.

    Raises:
        DataError: no folder, or no image with its JSON in it.
    """

    def __init__(self, folder: str | Path, *, images: str | Path | None = None, name: str | None = None) -> None:
        self.folder = require_folder(Path(folder), "SA-1B files")
        self.name = name or self.folder.resolve().name
        pictures = ImageFolder(Path(images) if images is not None else self.folder)
        pairs: list[tuple[str, Path, Path]] = []
        missing: list[str] = []
        for document in walk_files(self.folder, (".json",)):
            if document.name in NOT_IMAGES:
                continue
            key = key_of(document, self.folder)
            image = pictures.find(key) or _named_inside(document, pictures)
            if image is None:
                missing.append(f"{document} has no image {key}.jpg in {pictures.folder}")
            else:
                pairs.append((key, image, document))
        if not pairs:
            raise none_found("images with a JSON file each (sa_1.jpg, sa_1.json)", self.folder, missing)
        self._pairs = pairs
        self.missing = tuple(missing)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        key, image, document = self._pairs[index]
        return Sample(
            source=self.name,
            key=key,
            file_name=image.name,
            load_bytes=partial(read_file, image),
            load_record=StoredDocument(layout="sa1b", load=partial(load_json, document)),
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def load_json(path: Path) -> Document:
    """A JSON object.

    Raises:
        DataError: missing, not JSON, or not an object.
    """
    return read_json(path)


def _named_inside(document: Path, pictures: ImageFolder) -> Path | None:
    """The image that the JSON itself names, if it lies in the folder of images."""
    try:
        named = mapping("image", load_json(document).get("image")).get("file_name")
    except DataError:
        return None
    path = inside(pictures.folder, named) if isinstance(named, str) else None
    return path if path is not None and path.is_file() else None
