"""One JSON per image like SA-1B's, with ``polygons`` in place of ``segmentation``.

``"polygons": [{"outer": [[x, y], ...], "holes": [[[x, y], ...], ...]}, ...]`` runs along pixel edges: the
first pixel covers [0, 1] x [0, 1], and filling outlines without their holes gives the mask exactly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segany.core.files import atomic_write_text
from segany.masks.polygons import mask_to_polygons
from segany.records import _checks as check
from segany.records.record import ImageRecord, MaskRecord
from segany.records.sa1b import to_sa1b


def target(out_dir: Path, stem: str) -> Path:
    """The file that `write` makes."""
    return out_dir / f"{stem}.polygons.json"


def write(record: ImageRecord, out_dir: Path, stem: str) -> list[Path]:
    """``OUT/STEM.polygons.json``."""
    document = to_sa1b(record)
    document["annotations"] = [
        _with_polygons(mask, annotation)
        for mask, annotation in zip(record.annotations, document["annotations"], strict=True)
    ]
    path = target(out_dir, stem)
    atomic_write_text(path, check.to_json(document))
    return [path]


def _with_polygons(mask: MaskRecord, annotation: dict[str, Any]) -> dict[str, Any]:
    polygons = [
        {"outer": polygon.outer.tolist(), "holes": [hole.tolist() for hole in polygon.holes]}
        for polygon in mask_to_polygons(mask.mask)
    ]
    rest = {key: value for key, value in annotation.items() if key not in ("id", "segmentation")}
    return {"id": annotation["id"], "polygons": polygons, **rest}
