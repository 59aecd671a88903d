"""Label Studio's JSON: a list of tasks, every mask exact as a brush region.

To import the file, set the project up with `CONFIG`, and let the tasks' ``image`` be found: a name alone works with
photos uploaded under it, a local storage needs ``/data/local-files/?d=`` in front. What Label Studio does not know
(stability, clicks, ...) is not written. A run over a folder writes one file per image under ``labelstudio_parts/``
(`write`), and `finish` merges them into ``labelstudio.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segany.core.files import atomic_write_text
from segany.masks.foreign_rle import pack_brush
from segany.records import _checks as check
from segany.records.coco import NO_LABEL
from segany.records.record import ImageRecord, MaskRecord

PARTS, MERGED = "labelstudio_parts", "labelstudio.json"
FROM_NAME, TO_NAME = "tag", "image"
CONFIG = """<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="tag" toName="image"><Label value="object"/></BrushLabels>
</View>
"""
"""A labelling interface that shows these masks; add a Label per class."""


def to_label_studio(records: Iterable[ImageRecord]) -> list[dict[str, Any]]:
    """The tasks of many images, in the order of their file names; empty masks are left out."""
    return [_task(record) for record in sorted(records, key=lambda record: (record.file_name, record.image_id))]


def write_label_studio(records: Iterable[ImageRecord], path: Path) -> Path:
    """Write one file; it is whole or not there.

    Raises:
        DataError: attributes that are not plain JSON.
    """
    atomic_write_text(path, check.to_json(to_label_studio(records)))
    return path


def target(out_dir: Path, stem: str) -> Path:
    """The part that `write` makes."""
    return out_dir / PARTS / f"{stem}.json"


def write(record: ImageRecord, out_dir: Path, stem: str) -> list[Path]:
    """One image's part, ``OUT/labelstudio_parts/STEM.json``, a Label Studio file by itself."""
    path = target(out_dir, stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    return [write_label_studio([record], path)]


def finish(out_dir: Path) -> list[Path]:
    """Merge all parts into ``OUT/labelstudio.json``."""
    parts = sorted(path for path in (out_dir / PARTS).rglob("*.json") if not path.name.startswith("."))
    tasks = [task for part in parts for task in json.loads(part.read_text(encoding="utf-8"))]
    tasks.sort(key=lambda task: str(task["data"]["image"]))
    atomic_write_text(out_dir / MERGED, check.to_json(tasks))
    return [out_dir / MERGED]


def _task(record: ImageRecord) -> dict[str, Any]:
    regions = [_region(index, record, mask) for index, mask in enumerate(record.annotations) if mask.area]
    return {"data": {TO_NAME: record.file_name}, "annotations": [{"result": regions, "was_cancelled": False}]}


def _region(index: int, record: ImageRecord, mask: MaskRecord) -> dict[str, Any]:
    region: dict[str, Any] = {
        "id": f"m{record.image_id}x{index}",
        "type": "brushlabels",
        "from_name": FROM_NAME,
        "to_name": TO_NAME,
        "origin": "prediction" if mask.source in ("model", "automatic") else "manual",
        "original_width": record.width,
        "original_height": record.height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": pack_brush(mask.mask), "brushlabels": [mask.label or NO_LABEL]},
    }
    if mask.attributes:
        region["meta"] = dict(mask.attributes)
    return region
