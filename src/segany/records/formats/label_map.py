"""One picture per image: 0 is background, i + 1 the i-th mask; smaller masks lie on larger ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segany.core.files import atomic_write_bytes
from segany.masks.label_map import masks_to_label_map
from segany.records.formats._png import png_bytes, tiff_bytes
from segany.records.record import ImageRecord


def target(out_dir: Path, stem: str) -> Path:
    """The picture that `write` makes, up to 65535 masks."""
    return out_dir / f"{stem}_labels.png"


def write(record: ImageRecord, out_dir: Path, stem: str) -> list[Path]:
    """``OUT/STEM_labels.png`` of 16 bits, or ``.tiff`` of 32 bits for more than 65535 masks."""
    label_map = masks_to_label_map([mask.segmentation for mask in record.annotations], record.size_hw)
    path = target(out_dir, stem)
    if label_map.dtype == np.uint32:
        path = path.with_suffix(".tiff")
        atomic_write_bytes(path, tiff_bytes(label_map))
    else:
        atomic_write_bytes(path, png_bytes(label_map))
    return [path]
