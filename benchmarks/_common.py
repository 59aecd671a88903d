"""What the scripts of this folder share: photos, weights, matching of masks, writing of results."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segany.core.files import atomic_write_json
from segany.masks.rle import encode, rle_iou
from segany.modeling.sam import Sam
from segany.predict.automatic.config import SweepConfig
from segany.recipes import benchmark
from segany.recipes.timing import machine
from segany.transforms.image import read_image

RESULTS = Path(__file__).resolve().parent / "results"
FOUND_IOU = 0.98
"""A mask of the one side is found again when the other side has one that overlaps it by at least this."""
EXACT: dict[str, Any] = {"exact": True} if "exact" in {item.name for item in fields(SweepConfig)} else {}
"""The knob of the exact path, where the package has one."""
DEMO = ("astronaut", "chelsea", "coffee", "rocket", "coins", "stereo_motorcycle")


def shared_photos() -> list[Path]:
    """Photos of the folder that SEGANY_SHARED names, if there is one."""
    shared = os.environ.get("SEGANY_SHARED")
    return sorted((Path(shared) / "data" / "photos").glob("*.jpg")) if shared else []


def take_packs(parser: argparse.ArgumentParser) -> None:
    """`--data`, the folder of packs; that of SEGANY_SHARED when left out, and demanded where there is none."""
    shared = os.environ.get("SEGANY_SHARED")
    default = Path(shared) / "data" if shared else None
    told = "folder of packs; SEGANY_SHARED/data when left out"
    parser.add_argument("--data", type=Path, default=default, required=default is None, help=told)


def large_photo(path: Path | None = None) -> tuple[str, NDArray[np.uint8]]:
    """Name and pixels of a photo of 1800 × 1200: the given one, the well known truck, or a sheet of demo photos."""
    chosen = path or next((photo for photo in shared_photos() if photo.name == "truck.jpg"), None)
    if chosen is None:
        return "sheet of demonstration photos", benchmark.demo_sheet()
    return chosen.name, read_image(chosen)


def demo_sheet(path: Path | None = None) -> NDArray[np.uint8]:
    return large_photo(path)[1]


def demo_photos() -> dict[str, NDArray[np.uint8]]:
    """The photos of `segany demo`, and those of the shared folder where it is there."""
    import skimage.data

    photos = {}
    for name in DEMO:
        loaded = getattr(skimage.data, name)()
        photos[name] = read_image(loaded[0] if isinstance(loaded, tuple) else loaded)
    return photos | {path.name: read_image(path) for path in shared_photos()}


def random_model(name: str, seed: int = 0) -> Sam:
    return benchmark.random_model(name, seed)


def rle_of(record: Any) -> dict[str, Any]:
    """COCO run lengths of a record of this package, or of the plain reference."""
    if not isinstance(record, Mapping):
        return dict(record.segmentation)
    (height, width), counts = record["segmentation"]["size"], record["segmentation"]["counts"]
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return dict(encode(flat.reshape(width, height).T))


def matching(theirs: Sequence[Any], ours: Sequence[Any]) -> dict[str, Any]:
    """How many records of `theirs` are found again in `ours`, and how many of `ours` are extra."""
    counts: dict[str, Any] = {"expected": len(theirs), "got": len(ours)}
    if not theirs or not ours:
        return {**counts, "found": 0, "extra": len(ours)}
    overlap = rle_iou([rle_of(record) for record in theirs], [rle_of(record) for record in ours])
    found = int((overlap.max(axis=1) >= FOUND_IOU).sum())
    extra = int((overlap.max(axis=0) < FOUND_IOU).sum())
    return {**counts, "found": found, "extra": extra, "mean_iou": float(overlap.max(axis=1).mean())}


def shares(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Found and extra shares over several photos."""
    expected = sum(row["expected"] for row in rows)
    got = sum(row["got"] for row in rows)
    return {
        "expected": expected,
        "got": got,
        "found_share": sum(row["found"] for row in rows) / max(1, expected),
        "extra_share": sum(row["extra"] for row in rows) / max(1, got),
    }


def write(output: Path, name: str, result: Mapping[str, Any]) -> Path:
    """Write `OUTPUT/NAME.json` with the machine it was measured on."""
    path = output / f"{name}.json"
    atomic_write_json(path, {**result, "machine": machine()}, indent=1)
    print(f"wrote {path}")
    return path
