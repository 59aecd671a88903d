"""LabelMe's JSON: a polygon per connected part; parts of one mask share their ``group_id``.

LabelMe polygons have no holes, so a hole is joined to its outline by a bridge of no width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segany.core.files import atomic_write_text
from segany.masks.polygons import joined_ring, mask_to_polygons
from segany.records import _checks as check
from segany.records.coco import NO_LABEL
from segany.records.record import ImageRecord, MaskRecord

VERSION = "5.5.0"
"""The release of LabelMe whose schema this is."""


def target(out_dir: Path, stem: str) -> Path:
    """The file that `write` makes."""
    return out_dir / f"{stem}.json"


def write(record: ImageRecord, out_dir: Path, stem: str) -> list[Path]:
    """``OUT/STEM.json``; LabelMe finds the picture when it lies beside it under its file name."""
    shapes = [shape for index, mask in enumerate(record.annotations) for shape in _shapes(index, mask)]
    document: dict[str, Any] = {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": record.file_name,
        "imageData": None,
        "imageHeight": record.height,
        "imageWidth": record.width,
    }
    path = target(out_dir, stem)
    atomic_write_text(path, check.to_json(document))
    return [path]


def _shapes(index: int, mask: MaskRecord) -> list[dict[str, Any]]:
    polygons = mask_to_polygons(mask.mask)
    return [
        {
            "label": mask.label or NO_LABEL,
            "points": joined_ring([polygon]).tolist(),
            "group_id": index if len(polygons) > 1 else None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
        }
        for polygon in polygons
    ]
