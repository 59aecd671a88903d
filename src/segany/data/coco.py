"""COCO and LVIS: one JSON for all images. Masks are rasterised image by image, when asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from segany.core.errors import DataError
from segany.data.folders import inside, none_found, require_folder
from segany.data.sample import Document, Sample, StoredDocument, read_file
from segany.records._checks import integer, listing, mapping, need, read_json

Crowd = Literal["skip", "keep"]


class CocoDataset:
    """The images of a COCO or LVIS file that lie on disk, in the order of their file names.

    Args:
        annotations: the JSON file.
        images: the folder its file names are relative to; looked for beside the file when None.
        crowd: "skip" leaves crowd regions (``iscrowd`` 1) out, "keep" keeps them, marked in ``extra``.
        name: the data set's name; the file's when None.

    Attributes:
        missing: images the file lists that are not there.
        crowds: crowd regions left out.

    Raises:
        DataError: not a COCO file, an annotation of an unlisted image, or none of the images is there.
    """

    def __init__(
        self,
        annotations: str | Path,
        *,
        images: str | Path | None = None,
        crowd: Crowd = "skip",
        name: str | None = None,
    ) -> None:
        path = Path(annotations)
        self.name = name or path.stem
        content = read_json(path)
        try:
            listed = _listed(content)
            rows, self.crowds = _rows(content, listed, crowd)
            self._categories = listing("categories", content.get("categories", []))
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        roots = [require_folder(Path(images), "images")] if images is not None else _likely_folders(path)
        self._images: list[tuple[dict[str, Any], Path]] = []
        missing: list[str] = []
        for image in sorted(listed.values(), key=lambda image: (_file_name(image), image["id"])):
            found = _find(image, roots)
            if found is None:
                missing.append(f"image {image['id']}: no {_file_name(image)} in {' or '.join(map(str, roots))}")
            else:
                self._images.append((image, found))
        if not self._images:
            raise none_found(f"the images that {path.name} lists", path.parent, missing)
        self._keys = _keys([image for image, _ in self._images])
        self._rows = rows
        self.missing = tuple(missing)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        image, path = self._images[index]
        document = {
            "images": [{**image, "file_name": path.name}],
            "annotations": self._rows.get(image["id"], []),
            "categories": self._categories,
        }
        return Sample(
            source=self.name,
            key=self._keys[index],
            file_name=path.name,
            load_bytes=partial(read_file, path),
            load_record=StoredDocument(layout="coco", load=partial(_given, document)),
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def _given(document: Document) -> Document:
    return document


def _listed(content: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    need("a COCO file", content, ("images", "annotations"))
    images: dict[int, dict[str, Any]] = {}
    for index, value in enumerate(listing("images", content["images"])):
        image = mapping(f"image {index}", value)
        need(f"image {index}", image, ("id", "width", "height"))
        number = integer(f"image {index}: id", image["id"])
        if number in images:
            raise DataError(f"images of a COCO dataset must have different ids; {number} comes twice.")
        if not _file_name(image):
            raise DataError(f"image {index} must have a file_name or a coco_url inside the images; it has neither.")
        images[number] = image
    return images


def _rows(
    content: Mapping[str, Any], listed: Mapping[int, Any], crowd: Crowd
) -> tuple[dict[int, list[dict[str, Any]]], int]:
    """Annotations by image id, and how many crowd regions were left out."""
    rows: dict[int, list[dict[str, Any]]] = {}
    skipped = 0
    for index, value in enumerate(listing("annotations", content["annotations"])):
        annotation = mapping(f"annotation {index}", value)
        need(f"annotation {index}", annotation, ("image_id", "segmentation"))
        number = annotation["image_id"]
        if not isinstance(number, int) or number not in listed:
            raise DataError(
                f"annotation {index}: image_id must be one of the images; got {number!r}, which is not listed."
            )
        if annotation.get("iscrowd") and crowd == "skip":
            skipped += 1
        else:
            rows.setdefault(number, []).append(annotation)
    return rows, skipped


def _file_name(image: Mapping[str, Any]) -> str:
    """``file_name``; LVIS v1 has only an address, whose last folder and name COCO's own layout uses."""
    name = image.get("file_name")
    if not isinstance(name, str) or not name:
        name = "/".join(str(image.get("coco_url", "")).split("/")[-2:])
    return name if inside(Path(), name) is not None else ""


def _keys(images: Sequence[Mapping[str, Any]]) -> list[str]:
    """File names without ending; images that differ in nothing else get their id behind."""
    keys = [PurePosixPath(_file_name(image)).with_suffix("").as_posix() for image in images]
    count = Counter(keys)
    return [key if count[key] == 1 else f"{key}_{image['id']}" for key, image in zip(keys, images, strict=True)]


def _likely_folders(annotations: Path) -> list[Path]:
    """Where images usually lie, seen from ``annotations/instances_train2017.json`` or ``annotations.json``."""
    here, split = annotations.parent, annotations.stem.rpartition("_")[2]
    places = [here.parent, here] if here.name == "annotations" else [here]
    guesses = [place / name for place in places for name in (split, f"images/{split}", "images", ".")]
    return [guess for guess in guesses if guess.is_dir()]


def _find(image: Mapping[str, Any], roots: Iterable[Path]) -> Path | None:
    name = _file_name(image)
    candidates = (path for root in roots for path in (root / name, root / PurePosixPath(name).name))
    return next((path for path in candidates if path.is_file()), None)
