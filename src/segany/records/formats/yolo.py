"""YOLO-seg: a text file per image, a line per mask: class, then its outline as shares of width and height.

YOLO knows one outline per object, so parts and holes are joined by bridges of no width. ``classes.txt`` lists
class names in the order of their numbers; it grows at the end, so numbers stay what they were. Only one run
at a time may write to a folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segany.core.files import atomic_write_text
from segany.masks.polygons import joined_ring, mask_to_polygons
from segany.records.coco import NO_LABEL
from segany.records.record import ImageRecord, MaskRecord

CLASSES = "classes.txt"


def target(out_dir: Path, stem: str) -> Path:
    """The text file that `write` makes."""
    return out_dir / f"{stem}.txt"


def write(record: ImageRecord, out_dir: Path, stem: str) -> list[Path]:
    """``OUT/STEM.txt`` and ``OUT/classes.txt``; an empty mask has no line."""
    classes = out_dir / CLASSES
    names = classes.read_text(encoding="utf-8").splitlines() if classes.exists() else []
    known = len(names)
    for mask in record.annotations:
        if _name(mask) not in names:
            names.append(_name(mask))
    if len(names) > known or not classes.exists():
        atomic_write_text(classes, "".join(f"{name}\n" for name in names))
    lines = [_line(names.index(_name(mask)), mask) for mask in record.annotations if mask.area]
    path = target(out_dir, stem)
    atomic_write_text(path, "".join(f"{line}\n" for line in lines))
    return [path, classes]


def _name(mask: MaskRecord) -> str:
    return " ".join(mask.label.split()) if mask.label and mask.label.split() else NO_LABEL


def _line(number: int, mask: MaskRecord) -> str:
    height, width = mask.size_hw
    shares = joined_ring(mask_to_polygons(mask.mask)) / np.array([width, height])
    return " ".join([str(number), *(f"{share:.8g}" for share in shares.reshape(-1))])
