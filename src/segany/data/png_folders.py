"""One folder per image with a PNG per mask and ``metadata.csv``, as the automatic generator writes them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from segany.core.errors import DataError
from segany.data.folders import ImageFolder, none_found, require_folder, walk_files
from segany.data.sample import Sample, read_file
from segany.records.formats.png_folder import COLUMNS
from segany.records.ids import image_id_for
from segany.records.record import ImageRecord, MaskRecord

TABLE = "metadata.csv"


class PngFolders:
    """Every folder with a ``metadata.csv``, paired with the image of the same name.

    Args:
        root: holds the folders, itself or in ``masks``, and the images, itself or in ``images``.
        images: another folder of images.
        name: the data set's name; the folder's when None.

    Raises:
        DataError: no folder, or none with its image.
    """

    def __init__(self, root: str | Path, *, images: str | Path | None = None, name: str | None = None) -> None:
        root = require_folder(Path(root), "mask folders")
        self.name = name or root.resolve().name
        masks = root / "masks" if (root / "masks").is_dir() else root
        near = root / "images" if (root / "images").is_dir() else root
        photos = ImageFolder(Path(images) if images is not None else near)
        self._pairs: list[tuple[str, Path, Path]] = []
        missing: list[str] = []
        for table in walk_files(masks, (TABLE,)):
            key = table.parent.relative_to(masks).as_posix()
            image = photos.find(key)
            if image is None:
                missing.append(f"{table.parent} has no image {key}.* in {photos.folder}")
            else:
                self._pairs.append((key, image, table.parent))
        self.missing = tuple(missing)
        if not self._pairs:
            raise none_found(f"mask folders ({TABLE}, 0.png, ...) with an image each", root, missing)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        key, image, folder = self._pairs[index]
        return Sample(
            source=self.name,
            key=key,
            file_name=image.name,
            load_bytes=partial(read_file, image),
            load_record=partial(_record, image, folder),
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def _record(image: Path, folder: Path) -> ImageRecord:
    masks = tuple(_mask(folder, row) for row in _rows(folder / TABLE))
    height, width = masks[0].size_hw if masks else _size(image)
    return ImageRecord(
        image_id=image_id_for(image.name, image),
        width=width,
        height=height,
        file_name=image.name,
        annotations=masks,
    )


def _size(image: Path) -> tuple[int, int]:
    from segany.transforms.image import read_image

    height, width = read_image(image).shape[:2]
    return height, width


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"expected a table of masks at {table}; it cannot be read: {error}.") from error
    lacking = [column for column in COLUMNS if column not in columns]
    if lacking:
        raise DataError(f"{table} must have the columns {', '.join(COLUMNS)}; missing: {', '.join(lacking)}.")
    return rows


def _mask(folder: Path, row: Mapping[str, str]) -> MaskRecord:
    from segany.transforms.image import read_mask

    path = folder / f"{row['id']}.png"
    if path.parent != folder:
        raise DataError(f"{folder / TABLE}: an id must be a file's name; got {row['id']!r}.")
    pixels = read_mask(path)
    values: dict[str, Any] = {
        name: _number(folder, name, row[name]) for name in ("predicted_iou", "stability_score", "area")
    }
    point = [row["point_input_x"], row["point_input_y"]]
    mask = MaskRecord.from_mask(
        pixels > 0,
        predicted_iou=values["predicted_iou"],
        stability_score=values["stability_score"],
        point_coords=[[_number(folder, "point_input", value) for value in point]] if all(point) else (),
        crop_box=[_number(folder, name, row[name]) for name in COLUMNS[-4:]],
    )
    if mask.area != values["area"]:
        raise DataError(
            f"{path}: the mask must have the {values['area']:g} pixels that {TABLE} says; got {mask.area}. "
            "One of the two was changed: make the folder anew."
        )
    return mask


def _number(folder: Path, name: str, text: str) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        raise DataError(f"{folder / TABLE}: {name} must be a number; got {text!r}.") from None
    return int(value) if value.is_integer() else value
