"""A folder per image: ``0.png``, ``1.png``, ... and ``metadata.csv`` with the reference's columns."""

from __future__ import annotations

import csv
import shutil
import tempfile
from pathlib import Path

import numpy as np

from segany.records.formats._png import png_bytes
from segany.records.record import ImageRecord, MaskRecord

COLUMNS = (
    "id",
    "area",
    "bbox_x0",
    "bbox_y0",
    "bbox_w",
    "bbox_h",
    "point_input_x",
    "point_input_y",
    "predicted_iou",
    "stability_score",
    "crop_box_x0",
    "crop_box_y0",
    "crop_box_w",
    "crop_box_h",
)


def target(out_dir: Path, stem: str) -> Path:
    """The folder that `write` makes."""
    return out_dir / stem


def write(record: ImageRecord, out_dir: Path, stem: str) -> list[Path]:
    """``OUT/STEM/``, filled aside and put in place at once; one already there is replaced.

    Masks are 8-bit, 0 and 255. A mask without a click has empty click columns.
    """
    folder = target(out_dir, stem)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fresh = aside / "new"
        fresh.mkdir()
        _fill(fresh, record)
        if folder.exists():
            folder.rename(aside / "old")
        fresh.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return [folder / "metadata.csv", *(folder / f"{index}.png" for index in range(len(record.annotations)))]


def _fill(folder: Path, record: ImageRecord) -> None:
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for index, mask in enumerate(record.annotations):
            (folder / f"{index}.png").write_bytes(png_bytes(mask.mask.astype(np.uint8) * 255))
            table.writerow(_row(index, mask))


def _row(index: int, mask: MaskRecord) -> list[object]:
    point = mask.point_coords[0] if mask.point_coords else ("", "")
    return [index, mask.area, *mask.bbox, *point, mask.predicted_iou, mask.stability_score, *mask.crop_box]
