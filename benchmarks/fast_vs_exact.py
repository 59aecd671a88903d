"""Does the fast path find what the exact path finds? Same trained weights, demo photos, both paths' records matched.

    python benchmarks/fast_vs_exact.py [--model tiny] [--points-per-side 32] [--limit N] [-o DIR]

Two comparisons: the filters alone (both in float32), and everything that is on by default (precision chosen by the
machine against exact float32). A mask of the exact path counts as found when the fast path has one with IoU ≥ 0.98; a
mask of the fast path is extra when the exact path has none such.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from _common import EXACT, RESULTS, demo_photos, matching, shares, write

from segany.pictures.plots import bar_plot
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.predictor import Predictor


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="name or path of a trained model")
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--dtype", default="auto", help="of the fast path in the second comparison")
    parser.add_argument("--limit", type=int, help="so many photos at most")
    parser.add_argument("--threads", type=int)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    if not EXACT:
        parser.error("this version of the package has no exact path to compare with")
    predictors = {
        dtype: Predictor.from_pretrained(options.model, device="cpu", dtype=dtype, threads=options.threads)
        for dtype in dict.fromkeys(("float32", options.dtype))
    }
    knobs = {"points_per_side": options.points_per_side}
    rows = []
    for name, rgb in list(demo_photos().items())[: options.limit]:
        exact = AutomaticMaskGenerator(predictors["float32"], **knobs, **EXACT).generate(rgb)
        row = {"photo": name}
        for kind, dtype in (("filters alone", "float32"), ("as by default", options.dtype)):
            row[kind] = matching(exact, AutomaticMaskGenerator(predictors[dtype], **knobs).generate(rgb))
        print(row, flush=True)
        rows.append(row)
    totals = {kind: shares([row[kind] for row in rows]) for kind in ("filters alone", "as by default")}
    resolved = str(predictors[options.dtype].dtype).removeprefix("torch.")
    write(
        options.output,
        "fast_vs_exact",
        {"model": str(options.model), "default_dtype": resolved, **knobs, "totals": totals, "photos": rows},
    )
    bar_plot(
        options.output / "fast_vs_exact.png",
        ["found again", "extra"],
        {kind: [share["found_share"], share["extra_share"]] for kind, share in totals.items()},
        title=f"masks of the exact path in the fast one, {len(rows)} photos",
        y_label="share",
    )
    print(totals)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
