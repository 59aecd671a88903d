"""What bfloat16 and 8-bit integers cost in accuracy: embeddings of ViT-B, masks of `tiny`.

    python benchmarks/precision.py [--model vit_b] [--clicks 8] [--limit N] [-o DIR]

Embeddings: random weights of the released size, the relative error ‖b − f‖ / ‖f‖ of bfloat16 against float32, photo by
photo, and of int8 where this machine has it. Random weights have no outlier channels, so trained ones may lose more in
int8. Masks: `tiny`, a grid of clicks on every photo, each precision from photo to mask; IoU of the mask that float32
thinks best with the same output of bfloat16. `tiny` has no ViT, hence no int8.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from _common import RESULTS, demo_photos, random_model, write
from numpy.typing import NDArray

from segany.core.errors import OptionError
from segany.geometry.grids import point_grid
from segany.pictures.plots import step_plot
from segany.predict.predictor import Predictor

Photos = dict[str, NDArray[np.uint8]]


def embedding_errors(options: argparse.Namespace, photos: Photos) -> dict[str, Any]:
    model = random_model(options.model)
    exact = Predictor(deepcopy(model), device="cpu", dtype="float32", threads=options.threads)
    others = {options.dtype: Predictor(deepcopy(model), device="cpu", dtype=options.dtype, threads=options.threads)}
    try:
        others["int8"] = Predictor(model, device="cpu", dtype="int8", threads=options.threads)
    except OptionError as error:
        print(f"without int8: {error}", flush=True)
    errors: dict[str, dict[str, float]] = {dtype: {} for dtype in others}
    for name, rgb in photos.items():
        f = exact.encode(rgb).features
        for dtype, other in others.items():
            errors[dtype][name] = float((other.encode(rgb).features - f).norm() / f.norm())
            print(f"{options.model} {name}: relative error {errors[dtype][name]:.4f} in {dtype}", flush=True)
    rows = {dtype: {"dtype": dtype, "photos": row, "largest": max(row.values())} for dtype, row in errors.items()}
    return {"model": options.model, **rows.pop(options.dtype), **rows}


def mask_overlaps(options: argparse.Namespace, photos: Photos) -> tuple[dict[str, Any], list[float]]:
    exact, half = (
        Predictor.from_pretrained("tiny", device="cpu", dtype=dtype, threads=options.threads)
        for dtype in ("float32", options.dtype)
    )
    overlaps: list[float] = []
    rows = {}
    for name, rgb in photos.items():
        points = (point_grid(options.clicks) * [rgb.shape[1], rgb.shape[0]])[:, None]
        labels = np.ones(points.shape[:2], int)
        f = exact.decode(exact.encode(rgb), points=points, labels=labels)
        b = half.decode(half.encode(rgb), points=points, labels=labels)
        places = np.arange(len(points)), np.asarray(f.best)
        one, two = f.masks[places], b.masks[places]
        union = (one | two).sum(axis=(1, 2))
        iou = np.where(union > 0, (one & two).sum(axis=(1, 2)) / np.maximum(union, 1), 1.0)
        overlaps += iou.tolist()
        rows[name] = float(iou.mean())
        print(f"tiny {name}: mean IoU {rows[name]:.4f}, lowest {iou.min():.4f}", flush=True)
    line = np.array(overlaps)
    about = {
        "model": "tiny",
        "dtype": options.dtype,
        "clicks": len(overlaps),
        "mean": float(line.mean()),
        "median": float(np.median(line)),
        "fifth_percentile": float(np.quantile(line, 0.05)),
        "share_at_least_0.99": float((line >= 0.99).mean()),
        "photos": rows,
    }
    return about, overlaps


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_b", help="random weights of this model, for the embeddings")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--clicks", type=int, default=8, help="along each edge")
    parser.add_argument("--limit", type=int, help="so many photos at most")
    parser.add_argument("--threads", type=int)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    photos = dict(list(demo_photos().items())[: options.limit])
    masks, overlaps = mask_overlaps(options, photos)
    embeddings = embedding_errors(options, photos)
    write(options.output, "precision", {"embedding": embeddings, "masks": masks})
    edges = np.linspace(0.9, 1.0, 41)
    counts, _ = np.histogram(np.clip(overlaps, 0.9, 1.0), edges)
    step_plot(
        options.output / "precision.png",
        edges.tolist(),
        {f"tiny, mean {masks['mean']:.4f}": counts.tolist()},
        title=f"masks in {options.dtype} and in float32, {len(overlaps)} clicks (below 0.9 counts in the first bin)",
        x_label="IoU",
        y_label="clicks",
    )
    print({key: masks[key] for key in ("mean", "median", "fifth_percentile")}, embeddings["largest"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
