"""`segany benchmark`: how fast and how large a model is on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from segany.cli.console import say, show, table
from segany.cli.options import ModelOptions


def benchmark(
    *,
    random_weights: Annotated[
        str | None, Parameter(help="Instead of --model: a model of this name with random weights, vit_b for example.")
    ] = None,
    photo: Annotated[Path | None, Parameter(help="The photo; a sheet of 1800 x 1200 when left out.")] = None,
    what: Annotated[
        str, Parameter(help="Parts, separated by commas: encode, decode, everything, memory, cold-start.")
    ] = "encode,decode,everything,memory,cold-start",
    against: Annotated[
        str | None, Parameter(help="Compare with: transformers (same weights, same photo, in turn).")
    ] = None,
    repeats: Annotated[int, Parameter(help="Rounds; medians are shown.")] = 5,
    points_per_side: Annotated[int, Parameter(help="Clicks along each edge, for everything and memory.")] = 32,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder for JSON, table and picture.")] = Path(
        "benchmark"
    ),
    model: ModelOptions | None = None,
) -> int:
    """Time encoding, decoding, automatic masks and a cold start, and measure memory.

    Beside each time stands how many times longer it is than the machine needs for as many floating-point operations in
    plain matrix products, measured in the same run. Close other programs first.
    """
    from segany.core.files import atomic_write_json, atomic_write_text
    from segany.pictures.durations import duration_plot
    from segany.recipes.benchmark import BenchmarkConfig, measure
    from segany.recipes.benchmark_report import bars, rows

    options = asdict(model or ModelOptions())
    config = BenchmarkConfig(
        model=options.pop("model"),
        random_weights=random_weights,
        photo=photo,
        what=_parts(what),
        against=_parts(against or ""),
        repeats=repeats,
        points_per_side=points_per_side,
        options=options,
    )
    report = measure(config, note=say)
    name = report["model"]["name"]
    text = table(*rows(report))
    atomic_write_json(output / f"{name}.json", report, indent=1)
    atomic_write_text(output / f"{name}.txt", text + "\n")
    threads, dtype = report["machine"]["threads"], report["model"]["dtype"]
    title = f"{name}, {dtype}, {threads} thread{'s' if threads > 1 else ''}, {report['machine']['processor']['name']}"
    picture = duration_plot(output / f"{name}.png", bars(report), title=title)
    show(text)
    say(f"written: {output / name}.json, {output / name}.txt, {picture}")
    return 0


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
