"""Write the measured parts of docs/performance.md from the results in benchmarks/results.

    python benchmarks/write_performance.py [--results DIR] [--page docs/performance.md] [--check]

Every number of the page stands between two marker comments and comes from a JSON file that a script of this folder
wrote; a part whose file is missing says so. `--check` writes nothing and fails when the page differs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from _common import RESULTS

from segany.core.files import atomic_write_text
from segany.evaluation.report import fill_marked
from segany.recipes.benchmark_report import rows, spoken

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
Result = Mapping[str, Any]
Section = Callable[[Result, Callable[[str, str], str]], str]
"""(the JSON, (file name, what it shows) → a picture's line) → Markdown."""


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    aligned = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, aligned, *lines))


def where(result: Result) -> str:
    """The machine in one line."""
    about = result["machine"]
    load = about.get("load_average_before") or about["load_average"] or ["?"]
    features = ", ".join(about["processor"]["features"]) or "none of the wide instruction sets"
    return (
        f"{about['processor']['name']} ({features}), {about['threads']} of {about['cores']} threads, torch "
        f"{about['libraries']['torch']}, load average {load[0]} at the start, {about['when'][:10]}."
    )


def model_section(result: Result, picture: Callable[[str, str], str]) -> str:
    about = result["model"]
    weights = "random weights" if about["random_weights"] else "its own weights"
    lines = [f"`{about['name']}`, {weights}, {about['dtype']}; {result['repeats']} rounds in turn. {where(result)}", ""]
    lines.append(markdown(*rows(result)))
    if result["rates"]:
        speeds = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {dtype}" for dtype, rate in result["rates"].items())
        lines += ["", f"The machine's matrix products, measured in the same run: {speeds}."]
    if found := result.get("agreement"):
        texts = [f"{name.replace('_', ' ')} {value:.4f}" for name, value in found.items()]
        lines += ["", f"Against `transformers`: {', '.join(texts)}."]
    return "\n".join([*lines, "", picture(f"{about['name']}.png", "Seconds of every part")])


def automatic_section(result: Result, picture: Callable[[str, str], str]) -> str:
    stages = list(dict.fromkeys(stage for side in result["sides"].values() for stage in side["stages"]))
    lines = []
    for name, side in result["sides"].items():
        match = side["matching_reference"]
        cells = [f"{side['stages'].get(stage, 0.0):.2f}" for stage in stages]
        agreed = f"{match['found']} of {match['expected']}, {match['extra']} extra"
        lines.append([name, f"{side['seconds']:.2f}", *cells, str(side["records"]), agreed])
    table = markdown(["seconds", "total", *stages, "records", "reference's masks found"], lines)
    how = result["recorded"]
    tiny = result["tiny"]
    return "\n\n".join(
        [
            f"{result['photo']['name']}, {result['points_per_side']}² clicks, {result['model']} sizes, "
            f"{result['dtype']}; {result['repeats']} rounds in turn; recorded logits times {how['factor']:g}, "
            f"{how['passing']:.0%} of the candidates above the IoU threshold. {where(result)}",
            table,
            f"**{result['ratio']:.1f} times** as fast as the reference. With `tiny` for real: "
            f"{spoken(tiny['seconds']['median'])}, {tiny['records']} masks.",
            picture("automatic.png", "Stages of automatic masks, the reference and this package"),
        ]
    )


def profile_section(result: Result, picture: Callable[[str, str], str]) -> str:
    kinds = list(next(iter(result["stages"].values())))
    lines = [[name, *(f"{seconds[kind]:.2f}" for kind in kinds)] for name, seconds in result["stages"].items()]
    return "\n\n".join([where(result), markdown(["seconds", *kinds], lines), picture("profile.png", "Operations")])


def fast_section(result: Result, picture: Callable[[str, str], str]) -> str:
    lines = [
        [kind, f"{t['expected']}", f"{t['got']}", f"{t['found_share']:.2%}", f"{t['extra_share']:.2%}"]
        for kind, t in result["totals"].items()
    ]
    about = f"`{Path(result['model']).stem}`, {len(result['photos'])} photos, {result['points_per_side']}² clicks."
    table = markdown(["comparison", "exact", "fast", "found again", "extra"], lines)
    return "\n\n".join([f"{about} By default here: {result['default_dtype']}.", table])


def precision_section(result: Result, picture: Callable[[str, str], str]) -> str:
    masks, embedding = result["masks"], result["embedding"]
    eight = f", in int8 {embedding['int8']['largest']:.2%}" if "int8" in embedding else ""
    return (
        f"Embedding of `{embedding['model']}` in {embedding['dtype']}: relative error at most "
        f"{embedding['largest']:.2%} over {len(embedding['photos'])} photos{eight}. Masks of `tiny`, {masks['clicks']} "
        f"clicks: IoU with float32 {masks['mean']:.4f} on average, median {masks['median']:.4f}, fifth percentile "
        f"{masks['fifth_percentile']:.4f}."
    )


def linear_section(result: Result, picture: Callable[[str, str], str]) -> str:
    clicks, images = result["clicks"], result["images"]
    last = images["rows"][-1]
    return "\n\n".join(
        [
            f"Clicks: {clicks['seconds_each'] * 1000:.2f} ms each after {clicks['seconds_before']:.2f} s, r² "
            f"{clicks['r2']:.4f}. Photos: {last['images']} take {last['wall_s']:.1f} s on the wall and "
            f"{last['cpu_s']:.1f} processor seconds on {images['cores']} cores, {last['ratio']:.2f} times what they "
            f"would take if no core ever waited. {where(result)}",
            picture("linear_clicks.png", "Seconds over clicks"),
            picture("linear.png", "Seconds over photos"),
        ]
    )


def memory_section(result: Result, picture: Callable[[str, str], str]) -> str:
    """Any list of flat rows that the file holds, as tables; then its plain numbers."""
    parts = []
    for value in result.values():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            header = [key for key in value[0] if not isinstance(value[0][key], (list, dict))]
            parts.append(markdown(header, [[_plain(row.get(key, "")) for key in header] for row in value]))
    numbers = [
        f"{key.replace('_', ' ')} {_plain(value)}" for key, value in result.items() if type(value) in (int, float)
    ]
    parts += [", ".join(numbers) + "."] if numbers else []
    return "\n\n".join([*parts, picture("memory.png", "Peak memory")])


def training_step_section(result: Result, picture: Callable[[str, str], str]) -> str:
    (own, before), (arranged, after) = result["seconds"].items()
    return (
        f"`{result['model']}`, {result['images']} views of {result['canvas']} px, {result['masks']} masks each, "
        f"{result['rounds']} decodes of each mask, forward and backward, {result['threads']} thread: {own} "
        f"{spoken(before['median'])}, {arranged} {spoken(after['median'])}: **{result['ratio']:.2f} times**. "
        f"{where(result)}"
    )


def engine_load_section(result: Result, picture: Callable[[str, str], str]) -> str:
    """Calls of many annotators on each database: the two groups, then every route."""
    parts = []
    columns = ("count", "p50", "p95", "p99", "max")
    for kind, run in result["runs"].items():
        asked, spent, memory = run["settings"], run["processor_seconds"], run["server_rss_mib"]
        groups = [[name, *(_plain(one[key]) for key in columns)] for name, one in run["groups"].items()]
        routes = [[f"`{name}`", *(_plain(one[key]) for key in columns)] for name, one in run["routes"].items()]
        name = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}[kind]
        done = ", ".join(f"{count} {what}" for what, count in run["done"].items())
        parts += [
            f"**{name}**: {asked['people']} annotators for {run['seconds']:.0f} s, {run['calls_per_s']} calls per "
            f"second, **{run['errors']} errors**; done: {done}. The service used {spent['service']:.0f} processor "
            f"seconds and at most {memory['peak']} MiB, {memory['start']} at the start. {where(run)}",
            markdown(["ms", *columns], groups + routes),
        ]
    return "\n\n".join([*parts, picture("engine_load.png", "Calls of many annotators, on each database")])


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


SECTIONS: dict[str, tuple[str, str, Section]] = {
    "vit_b": (
        "vit_b.json",
        "segany benchmark --random-weights vit_b --against transformers -o benchmarks/results",
        model_section,
    ),
    "tiny": ("tiny.json", "segany benchmark -o benchmarks/results", model_section),
    "profile": ("profile.json", "python benchmarks/profile_model.py", profile_section),
    "automatic": ("automatic.json", "python benchmarks/automatic.py", automatic_section),
    "fast_vs_exact": ("fast_vs_exact.json", "python benchmarks/fast_vs_exact.py", fast_section),
    "precision": ("precision.json", "python benchmarks/precision.py", precision_section),
    "linear": ("linear.json", "python benchmarks/linear.py", linear_section),
    "memory": ("memory.json", "python benchmarks/memory.py", memory_section),
    "training_step": ("training_step.json", "python benchmarks/training_step.py", training_step_section),
    "engine_load": (
        "engine_load.json",
        "python benchmarks/engine_load.py --people 50 --seconds 120 --database postgresql",
        engine_load_section,
    ),
}
"""Marker on the page → result file, the command that writes it, how it is shown."""


def filled(page: str, results: Path, folder: Path) -> str:
    """The page with every marked part written anew."""

    def picture(name: str, shows: str) -> str:
        place = results / name
        return f"![{shows}]({os.path.relpath(place, folder).replace(os.sep, '/')})" if place.is_file() else ""

    for marker, (name, command, section) in SECTIONS.items():
        path = results / name
        if path.is_file():
            text = section(json.loads(path.read_text(encoding="utf-8")), picture)
        else:
            text = "*Not measured yet.*"
        page = fill_marked(page, marker, f"`{command}`\n\n{text}")
    return page


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--check", action="store_true", help="fail when the page is not what the results say")
    options = parser.parse_args(words)
    before = options.page.read_text(encoding="utf-8")
    after = filled(before, options.results, options.page.parent)
    if options.check:
        if after != before:
            print(
                f"{options.page} is not what the results say: python benchmarks/write_performance.py", file=sys.stderr
            )
        return int(after != before)
    atomic_write_text(options.page, after)
    print(f"wrote {options.page}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
