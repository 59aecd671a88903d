"""Recompute every number of README's table: the embedded model against methods that need no learning.

    python benchmarks/tiny_vs_baselines.py --data FOLDER_OF_PACKS [--limit 5] [--readme README.md] [--stamp WEIGHTS]

Same masks, same run, held-out images only. One core, one thread; equal inputs give equal numbers. By default all
held-out images of the five packs and at most 3 masks of each image, drawn by a fixed seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from _common import take_packs

from segany.core.errors import SeganyError
from segany.core.files import atomic_write_text
from segany.core.identity import run_identity
from segany.data.packs import PACKS
from segany.evaluation.baselines import BaselineConfig
from segany.evaluation.comparison import Comparison, compare, comparison_markdown
from segany.evaluation.report import (
    columns_of,
    fill_marked,
    plot_bars,
    plot_clicks,
    ranking_markdown,
    to_markdown,
)
from segany.evaluation.sampling import SampleConfig
from segany.recipes.evaluate import PointsResult, points
from segany.recipes.weights import stamp_scores

RESULTS = Path(__file__).resolve().parent / "results"
README_SCORES = (
    "oracle_1",
    "clicks_1",
    "clicks_3",
    "box",
    "filled_box",
    "grabcut",
    "felzenszwalb",
    "felzenszwalb_oracle",
)
BARS = ("clicks_1", "felzenszwalb", "box", "filled_box", "grabcut")
MARKER = "scores"


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    take_packs(parser)
    parser.add_argument("--model", default="tiny", help="name or path of the model")
    parser.add_argument("--packs", nargs="+", default=list(PACKS), choices=PACKS)
    parser.add_argument("--limit", type=int, help="at most so many images of each pack, for a quick look")
    parser.add_argument("--masks-per-image", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of images and masks")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for NAME.json, NAME.md and the plots")
    parser.add_argument("--name", default="tiny_points", help="of the files")
    parser.add_argument("--readme", type=Path, help=f"page whose <!-- {MARKER}:start/end --> table is replaced")
    parser.add_argument("--stamp", type=Path, help="weights file whose metadata gets the scores")
    return parser.parse_args(words)


def measure(options: argparse.Namespace) -> PointsResult:
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    start = time.monotonic()

    def progress(done: int, total: int) -> None:
        if done % 20 == 0 or done == total:
            print(f"{done} of {total} images, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

    return points(
        options.data,
        model=options.model,
        packs=options.packs,
        sample=SampleConfig(masks_per_image=options.masks_per_image, images_per_pack=options.limit, seed=options.seed),
        baselines=BaselineConfig(),
        progress=progress,
    )


def page(result: PointsResult, comparisons: Sequence[Comparison]) -> str:
    sample = result.about["sample"]
    return "\n".join(
        [
            f"# `{result.about['model']}` against methods without learning\n",
            f"Held-out images, masks of at least {sample['min_area_share']:.1%} of the image, at most "
            f"{sample['masks_per_image']} of each image (seed {sample['seed']}); mean IoU with 95 % intervals from a "
            "bootstrap over images. Written by `benchmarks/tiny_vs_baselines.py`.\n",
            to_markdown(result.summaries),
            "Paired differences on the same masks, with 95 % intervals:\n",
            comparison_markdown(comparisons, columns_of(result.summaries)),
            "Choosing among the model's three masks after one click:\n",
            ranking_markdown(result.summaries),
        ]
    )


def write(result: PointsResult, options: argparse.Namespace) -> list[Path]:
    comparisons = compare(result.rows, seed=options.seed)
    report = {
        **result.report,
        "comparisons": [comparison.to_dict() for comparison in comparisons],
        "machine": run_identity(),
    }
    names = [options.output / f"{options.name}{ending}" for ending in (".json", ".md", ".png", "_bars.png")]
    atomic_write_text(names[0], json.dumps(report, indent=1, sort_keys=True) + "\n")
    atomic_write_text(names[1], page(result, comparisons))
    plot_clicks(names[2], result.summaries, title=f"{options.model}: IoU after simulated clicks, held-out images")
    plot_bars(names[3], result.summaries, BARS, title=f"{options.model} and methods without learning, held-out images")
    if options.readme is not None:
        table = to_markdown(result.summaries, README_SCORES, intervals=False)
        atomic_write_text(options.readme, fill_marked(options.readme.read_text(encoding="utf-8"), MARKER, table))
        names.append(options.readme)
    if options.stamp is not None:
        names.append(stamp_scores(options.stamp, result.report))
    return names


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    try:
        result = measure(options)
        written = write(result, options)
    except SeganyError as error:
        print(f"tiny_vs_baselines: {error}", file=sys.stderr)
        return 2
    print(page(result, compare(result.rows, seed=options.seed)))
    for path in written:
        print(f"wrote {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
