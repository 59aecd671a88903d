"""Cost grows linearly with clicks and with images, and a folder keeps every core busy.

    python benchmarks/linear.py [--model tiny] [--sides 8 16 24 32 48 64] [--images 100] [--repeats 3] [-o DIR]

Clicks: automatic masks of one photo with 8² to 64² clicks; a straight line is fitted. Images: `segany everything` on
folders of 25, 50, 75 and 100 different photos of 640 × 480, in a process of its own; beside the seconds on the wall
stand the processor's seconds (user and system) over the number of cores: equal when no core ever waits.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from _common import RESULTS, demo_photos, large_photo, write
from numpy.typing import NDArray
from PIL import Image

from segany.pictures.plots import line_plot
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.predictor import Predictor
from segany.recipes.timing import interleaved

SIZE_HW = (480, 640)


def line_through(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """Least-squares line and the share of the variance it explains."""
    slope, start = np.polyfit(x, y, 1)
    rest = np.asarray(y) - (slope * np.asarray(x) + start)
    spread = float(np.var(y))
    return {
        "seconds_each": float(slope),
        "seconds_before": float(start),
        "r2": 1 - float(np.var(rest)) / max(spread, 1e-12),
    }


def by_clicks(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of automatic masks for every number of clicks."""
    predictor = Predictor.from_pretrained(options.model, device="cpu", threads=options.threads)
    name, rgb = large_photo(options.photo)
    generators = {str(side): AutomaticMaskGenerator(predictor, points_per_side=side) for side in options.sides}
    works = {side: (lambda made=made: made.generate(rgb)) for side, made in generators.items()}
    timings = interleaved(works, options.repeats, note=print)
    clicks = [side * side for side in options.sides]
    seconds = [timings[str(side)].median for side in options.sides]
    return {
        "photo": name,
        "clicks": clicks,
        "seconds": seconds,
        "rounds": {side: list(timing.seconds) for side, timing in timings.items()},
        **line_through(clicks, seconds),
    }


def different_photos(count: int) -> list[NDArray[np.uint8]]:
    """Cuttings of the demo photos, each another one."""
    draw = np.random.default_rng(0)
    photos = list(demo_photos().values())
    made = []
    for number in range(count):
        rgb = photos[number % len(photos)]
        height, width = rgb.shape[:2]
        share = draw.uniform(0.6, 0.95)
        h, w = int(height * share), int(width * share)
        y, x = int(draw.integers(0, height - h + 1)), int(draw.integers(0, width - w + 1))
        part = Image.fromarray(rgb[y : y + h, x : x + w]).resize((SIZE_HW[1], SIZE_HW[0]), Image.Resampling.BICUBIC)
        made.append(np.asarray(part if draw.random() < 0.5 else part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    return made


def by_images(options: argparse.Namespace) -> dict[str, Any]:
    """Wall and processor seconds of `segany everything FOLDER`."""
    counts = sorted({max(1, options.images * part // 4) for part in (1, 2, 3, 4)})
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rows = []
    with TemporaryDirectory() as scratch:
        photos = different_photos(counts[-1])
        for count in counts:
            folder = Path(scratch) / f"photos{count}"
            folder.mkdir()
            for number, rgb in enumerate(photos[:count]):
                Image.fromarray(rgb).save(folder / f"{number:03d}.jpg", quality=92)
            row = one_folder(options, folder, Path(scratch) / f"out{count}")
            row["ratio"] = row["wall_s"] / (row["cpu_s"] / cores)
            print(f"{count} photos: {row}", flush=True)
            rows.append({"images": count, **row})
    fit = line_through([row["images"] for row in rows], [row["wall_s"] for row in rows]) if len(rows) > 1 else {}
    return {"cores": cores, "points_per_side": options.points_per_side, "rows": rows, **fit}


def one_folder(options: argparse.Namespace, folder: Path, output: Path) -> dict[str, float]:
    words = [sys.executable, "-m", "segany", "everything", str(folder), "-o", str(output), "--no-overlay"]
    words += ["--model", str(options.model), "--points-per-side", str(options.points_per_side)]
    words += ["--threads", str(options.threads)] if options.threads else []
    before, start = os.times(), time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return {"wall_s": wall, "cpu_s": cpu}


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="name or path")
    parser.add_argument("--sides", type=int, nargs="+", default=[8, 16, 24, 32, 48, 64], help="clicks along each edge")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--points-per-side", type=int, default=16, help="for the folder")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--photo", type=Path, help="for the clicks")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    clicks, images = by_clicks(options), by_images(options)
    write(options.output, "linear", {"model": str(options.model), "clicks": clicks, "images": images})
    fit = [clicks["seconds_before"] + clicks["seconds_each"] * x for x in clicks["clicks"]]
    line_plot(
        options.output / "linear_clicks.png",
        clicks["clicks"],
        {"measured": clicks["seconds"], f"line, r² = {clicks['r2']:.4f}": fit},
        title=f"everything in {clicks['photo']}, {Path(str(options.model)).stem}",
        x_label="clicks",
        y_label="seconds",
        y_range=(0, 1.08 * max(clicks["seconds"])),
    )
    rows = images["rows"]
    line_plot(
        options.output / "linear.png",
        [row["images"] for row in rows],
        {
            "wall": [row["wall_s"] for row in rows],
            f"processor seconds / cores ({images['cores']})": [row["cpu_s"] / images["cores"] for row in rows],
        },
        title=f"segany everything FOLDER, {images['points_per_side']}² clicks, {Path(str(options.model)).stem}",
        x_label="photos",
        y_label="seconds",
        y_range=(0, 1.08 * max(max(row["wall_s"], row["cpu_s"] / images["cores"]) for row in rows)),
    )
    print(f"clicks: r2 {clicks['r2']:.4f}; last folder: wall over processor/cores {rows[-1]['ratio']:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
