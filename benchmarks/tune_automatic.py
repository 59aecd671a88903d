"""Choose `tiny`'s thresholds for automatic masks, and write them into its weights.

    python benchmarks/tune_automatic.py --data FOLDER_OF_PACKS [--model tiny] [--stamp WEIGHTS]

Photos: those of the BSDS500, CamVid and COCO training parts that training only watched; nothing of the held-out part.
A mask counts as right when some annotated segment of at least 0.5 % of the photo overlaps it by IoU 0.5 or more; a
segment counts as found when some kept mask does so with it. Of all combinations of predicted IoU, stability and
suppression whose F-measure of the two lies within 0.02 of the best, the one that finds most segments is chosen:
annotators mark less than there is, so what looks like too many masks often is not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
from _common import take_packs
from numpy.typing import NDArray

from segany.core.files import atomic_write_json
from segany.data.packs import PackImage, iter_pack
from segany.geometry.grids import point_grid
from segany.masks.nms import mask_nms
from segany.masks.rle import encode, rle_iou
from segany.predict.automatic.candidates import Candidates
from segany.predict.automatic.config import SweepConfig
from segany.predict.automatic.merge import clean_up, merge_within_crop
from segany.predict.automatic.sweep import CropSweep
from segany.predict.predictor import Predictor
from segany.predict.upscale import Upscaler
from segany.recipes.weights import stamp

RESULTS = Path(__file__).resolve().parent / "results"
LOOSE = SweepConfig(pred_iou_thresh=0.3, stability_score_thresh=0.5, box_nms_thresh=1.0, exact=True)
PACKS = ("bsds500", "camvid", "coco")
MIN_SHARE, MATCH, CLOSE = 0.005, 0.5, 0.02
SPECKS = 100
"""Holes and islands below this many pixels go, as in the paper's own generator; not part of the search."""
GRID = {
    "pred_iou_thresh": (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7),
    "stability_score_thresh": (0.6, 0.7, 0.75, 0.8, 0.85, 0.9),
    "mask_nms_thresh": (0.6, 0.7, 0.8),
}


def candidates(predictor: Predictor, rgb: NDArray[np.uint8]) -> Candidates:
    """Everything a 32 × 32 sweep finds under loose thresholds, before any suppression."""
    height, width = rgb.shape[:2]
    embedding = predictor.encode(rgb)
    upscaler, points = Upscaler(embedding.frame), point_grid(32) * [width, height]
    sweep = CropSweep(predictor, LOOSE, embedding, (0, 0, width, height), (height, width), upscaler)
    for start in range(0, len(points), 64):
        sweep.batch(points[start : start + 64])
    return sweep.finish()


def kept_by(found: Candidates, config: SweepConfig) -> list[int]:
    """Places of the candidates that a config keeps."""
    numbered = replace_tokens(found)
    sure = [
        i
        for i in range(len(found))
        if found.iou[i] > config.pred_iou_thresh and found.stability[i] >= config.stability_score_thresh
    ]
    return clean_up(merge_within_crop(numbered.take(sure), config), config).tokens


def replace_tokens(found: Candidates) -> Candidates:
    """The same candidates, their token column holding their place."""
    return Candidates(**{**vars(found), "tokens": list(range(len(found)))})


def score(photos: Sequence[tuple[Candidates, NDArray[np.float64]]], config: SweepConfig) -> dict[str, float]:
    """Precision, recall, F and masks per photo of a config over all photos."""
    precision, recall, count = [], [], []
    for found, overlap in photos:
        kept = kept_by(found, config)
        count.append(len(kept))
        matched = overlap[kept] >= MATCH
        precision.append(float(matched.any(axis=1).mean()) if kept else 0.0)
        recall.append(float(matched.any(axis=0).mean()) if kept else 0.0)
    p, r = float(np.mean(precision)), float(np.mean(recall))
    f = 2 * p * r / (p + r) if p + r else 0.0
    return {"precision": p, "recall": r, "f": f, "masks_per_photo": float(np.mean(count))}


def truths(image: PackImage, size: int) -> list[dict[str, Any]]:
    """Annotated segments without near-copies by other annotators."""
    rles = [encode(mask) for mask in image.masks(int(MIN_SHARE * size))]
    if not rles:
        return []
    keep = mask_nms(rles, np.arange(len(rles), 0, -1, dtype=float), 0.7)
    return [rles[int(i)] for i in keep]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    take_packs(parser)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--photos", type=int, help="at most so many of each pack")
    parser.add_argument("--stamp", type=Path, help="weights file that gets the thresholds")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "tiny_automatic.json")
    options = parser.parse_args()
    predictor = Predictor.from_pretrained(options.model)
    photos = []
    for image in (
        image for pack in PACKS for image in islice(iter_pack(pack, options.data, "watched"), options.photos)
    ):
        rgb = image.read()
        truth = truths(image, rgb.shape[0] * rgb.shape[1])
        if truth:
            found = candidates(predictor, rgb)
            photos.append((found, rle_iou(found.rles, truth) if len(found) else np.zeros((0, len(truth)))))
            print(f"{image.pack}/{image.key}: {len(found)} candidates, {len(truth)} segments", flush=True)
    rows = []
    for values in product(*GRID.values()):
        knobs = {**dict(zip(GRID, values, strict=True)), "box_nms_thresh": 0.7}
        rows.append({**knobs, **score(photos, replace(LOOSE, **knobs))})
    rows.sort(key=lambda row: -row["f"])
    chosen = max((row for row in rows if row["f"] >= rows[0]["f"] - CLOSE), key=lambda row: row["recall"])
    best = {key: chosen[key] for key in (*GRID, "box_nms_thresh")} | {"min_mask_region_area": SPECKS}
    atomic_write_json(options.output, {"photos": len(photos), "chosen": chosen, "rows": rows[:40]}, indent=1)
    for row in rows[:8]:
        print({key: round(value, 3) for key, value in row.items()})
    if options.stamp is not None:
        stamp(options.stamp, automatic=json.dumps(best, sort_keys=True))


if __name__ == "__main__":
    main()
