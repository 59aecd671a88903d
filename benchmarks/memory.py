"""Memory follows the budget, not the photo, the clicks or the crops: peaks of `everything` over a grid of all three.

    python benchmarks/memory.py [--model tiny] [--megapixels 12 100] [--sides 32 128] [--layers 0 2] [--factor 2]
                                [--memory 4GB] [--threads N] [-o DIR]

Each cell runs in a process of its own on the same photo, enlarged. What counts is its peak resident memory without the
bytes of the decoded photo. Crop layer i is clicked SIDE / FACTOR^i times along each edge.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _common import RESULTS, large_photo, write
from PIL import Image

from segany.cli.console import table
from segany.pictures.plots import bar_plot

ROOT = Path(__file__).resolve().parents[1]
MEGA = 10**6


def enlarged(folder: Path, megapixels: float) -> Path:
    """The photo at so many megapixels, as a JPEG file."""
    _, rgb = large_photo()
    factor = (megapixels * MEGA / (rgb.shape[0] * rgb.shape[1])) ** 0.5
    path = folder / f"{megapixels:g}.jpg"
    size = (round(rgb.shape[1] * factor), round(rgb.shape[0] * factor))
    Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR).save(path, quality=90)
    return path


def one(options: argparse.Namespace) -> dict[str, Any]:
    """What this process needs for one cell; called in a process that does nothing else."""
    from segany.predict.automatic.generator import AutomaticMaskGenerator
    from segany.predict.predictor import Predictor
    from segany.transforms.image import read_image

    predictor = Predictor.from_pretrained(options.model, device="cpu", threads=options.threads)
    knobs = {"points_per_side": options.sides[0], "crop_n_layers": options.layers[0]}
    generator = AutomaticMaskGenerator(
        predictor, memory=options.memory, crop_n_points_downscale_factor=options.factor, **knobs
    )
    rgb = read_image(options.photo)
    began = time.perf_counter()
    records = generator.generate(rgb)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 2**10)
    seconds = time.perf_counter() - began
    return {**knobs, "photo_bytes": rgb.nbytes, "peak_bytes": peak, "records": len(records), "seconds": seconds}


def measured(photo: Path, side: int, layers: int, options: argparse.Namespace) -> dict[str, Any]:
    """The same in a fresh process."""
    words = ["--one", str(photo), "--sides", str(side), "--layers", str(layers), "--factor", str(options.factor)]
    words += ["--model", str(options.model)]
    words += [] if options.memory is None else ["--memory", options.memory]
    words += [] if options.threads is None else ["--threads", str(options.threads)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, *words], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**facts, "beside_photo_bytes": facts["peak_bytes"] - facts["photo_bytes"]}


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="name or path of a model")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[12, 100])
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 128], help="clicks along each edge")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 2], help="layers of crops")
    parser.add_argument("--factor", type=int, default=2, help="crop layer i has side / factor^i clicks an edge")
    parser.add_argument("--memory", help="limit, such as 4GB")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--one", dest="photo", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    if options.photo:
        print(json.dumps(one(options)))
        return 0
    cells = []
    with TemporaryDirectory() as folder:
        for megapixels in options.megapixels:
            photo = enlarged(Path(folder), megapixels)
            for side in options.sides:
                for layers in options.layers:
                    cells.append({"megapixels": megapixels, **measured(photo, side, layers, options)})
                    print(cells[-1], flush=True)
    beside = [cell["beside_photo_bytes"] for cell in cells]
    summary = {"highest_bytes": max(beside), "spread_bytes": max(beside) - min(beside)}
    names = [f"{c['megapixels']:g} MP, {c['points_per_side']}², {c['crop_n_layers']} layers" for c in cells]
    keys = ("beside_photo_bytes", "photo_bytes", "peak_bytes")
    numbers = [[f"{cell[key] / MEGA:,.0f}" for key in keys] for cell in cells]
    rows = [
        [name, *row, f"{c['records']}", f"{c['seconds']:.1f}"]
        for name, row, c in zip(names, numbers, cells, strict=True)
    ]
    print(table(["cell", "beside photo, MB", "photo, MB", "peak, MB", "masks", "seconds"], rows))
    print({key: f"{value / MEGA:,.0f} MB" for key, value in summary.items()})
    chosen = {"model": str(options.model), "memory": options.memory, "factor": options.factor}
    write(options.output, "memory", {**chosen, **summary, "cells": cells})
    bar_plot(
        options.output / "memory.png",
        names,
        {"MB": [value / MEGA for value in beside]},
        title="peak memory of automatic masks beside the photo",
        y_label="MB",
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
