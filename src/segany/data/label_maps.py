"""Photos with a picture of whole numbers each: 0 is background, every other number a mask."""

# H, W image height and width

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import DataError
from segany.data.folders import ImageFolder, key_of, none_found, require_folder, walk_files
from segany.data.sample import Sample, read_file
from segany.masks.rle import encode
from segany.records.ids import image_id_for
from segany.records.record import ImageRecord, MaskRecord

Labels = Literal["instance", "class"]
FOLDERS = ("labels", "masks", "label_maps")
"""Where label maps are looked for beside ``images``."""

_ENDINGS = (".png", ".tif", ".tiff", ".bmp")
_SUFFIXES = ("_labels", "_label", "_mask", "_masks", "")


class LabelMaps:
    """Photos and label maps paired by name: ``images/a.jpg`` with ``labels/a.png`` or ``labels/a_labels.png``.

    Args:
        root: holds ``images`` and one of `FOLDERS`.
        images: another folder of photos.
        labels: another folder of label maps, 8 or 16 bit (or 32-bit TIFF).
        meaning: "instance": each number is one mask. "class": each number is a class, and each connected part
            (8 neighbours) of its region a mask labelled with the number.
        void: numbers that are no mask, besides 0; in "class" maps 0 is a class unless it is named here.
        name: the data set's name; the folder's when None.

    Raises:
        DataError: a folder is missing, or no photo has a label map.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        images: str | Path | None = None,
        labels: str | Path | None = None,
        meaning: Labels = "instance",
        void: Sequence[int] = (),
        name: str | None = None,
    ) -> None:
        root = Path(root)
        self.name = name or root.resolve().name
        photos = ImageFolder(Path(images) if images is not None else root / "images")
        maps = _maps(Path(labels) if labels is not None else _labels_folder(root))
        self._meaning, self._void = meaning, frozenset(void)
        self._pairs = [(key, path, maps[key]) for key, path in photos if key in maps]
        alone = [f"{path} has no label map" for key, path in photos if key not in maps]
        used = {path for _, _, path in self._pairs}
        alone += [f"{path} has no image" for path in dict.fromkeys(maps.values()) if path not in used]
        self.missing = tuple(alone)
        if not self._pairs:
            raise none_found("images with a label map each", root, self.missing)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        key, image, label_map = self._pairs[index]
        return Sample(
            source=self.name,
            key=key,
            file_name=image.name,
            load_bytes=partial(read_file, image),
            load_record=partial(_record, image, label_map, self._meaning, self._void),
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def _labels_folder(root: Path) -> Path:
    for name in FOLDERS:
        if (root / name).is_dir():
            return root / name
    return require_folder(root / FOLDERS[0], "label maps")


def _maps(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in walk_files(require_folder(folder, "label maps"), _ENDINGS):
        key = key_of(path, folder)
        suffix = next(suffix for suffix in _SUFFIXES if key.endswith(suffix))
        found.setdefault(key.removesuffix(suffix), path)
        found.setdefault(key, path)
    return found


def _record(image: Path, label_map: Path, meaning: Labels, void: frozenset[int]) -> ImageRecord:
    from segany.transforms.image import read_mask

    labels = np.asarray(read_mask(label_map))
    if labels.ndim != 2 or (labels.dtype.kind not in "iub"):
        raise DataError(f"{label_map} must hold whole numbers, (H, W); got {labels.dtype} {labels.shape}.")
    labels = labels.astype(np.int64)
    if labels.min() < 0:
        raise DataError(f"{label_map} must hold numbers from 0; got {labels.min()}. Save it with unsigned numbers.")
    masks = _instances(labels, void) if meaning == "instance" else _class_regions(labels, void)
    height, width = labels.shape
    return ImageRecord(
        image_id=image_id_for(image.name, image),
        width=width,
        height=height,
        file_name=image.name,
        annotations=tuple(masks),
    )


def _instances(labels: NDArray[Any], void: frozenset[int]) -> Iterator[MaskRecord]:
    for value in np.unique(labels):
        if value != 0 and int(value) not in void:
            yield MaskRecord.from_mask(encode(labels == value))


def _class_regions(labels: NDArray[Any], void: frozenset[int]) -> Iterator[MaskRecord]:
    import cv2

    for value in np.unique(labels):
        if int(value) in void:
            continue
        count, parts = cv2.connectedComponents((labels == value).astype(np.uint8), connectivity=8)
        for part in range(1, count):
            yield MaskRecord.from_mask(encode(parts == part), label=str(value))
