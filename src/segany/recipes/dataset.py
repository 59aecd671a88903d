"""Describe, check and convert data sets: numbers, plots and tables in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from segany import __version__
from segany.core.errors import DataError, ImageError, OptionError
from segany.core.files import atomic_write_json, atomic_write_text
from segany.core.progress import CancelCheck, Progress, check_cancelled
from segany.data.convert import TargetFormat, TargetOptions, check_target, open_target
from segany.data.open import SourceFormat, SourceOptions, open_source
from segany.data.sample import Sample, SampleSource, SampleStream
from segany.data.stats import COUNT_BINS, DatasetStats, StatsCollector, StatsConfig
from segany.data.tables import stats_markdown, validation_markdown
from segany.data.validate import Validation, Validator, check_manifest

LEDGER = "segany-run.json"
"""File in an output folder that says what it was made from."""
STATS_JSON, STATS_MD = "stats.json", "stats.md"
VALIDATION_JSON, VALIDATION_MD = "validation.json", "validation.md"

Failed = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class StatsResult:
    """What `stats` found."""

    stats: list[DatasetStats]
    markdown: str
    failed: list[str]
    """Images that could not be read, a line each."""
    missing: list[str]
    """Images or annotations whose other half is not there, a line each."""
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """What `validate` found."""

    report: Validation
    markdown: str
    files: tuple[Path, ...] = ()


@dataclass(kw_only=True)
class ConversionResult:
    """What became of each image."""

    output: Path
    written: int = 0
    there_already: int = 0
    masks: int = 0
    failed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    crowds: int = 0
    """COCO crowd regions left out."""


def stats(
    sources: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    format: SourceFormat | None = None,
    options: SourceOptions | None = None,
    config: StatsConfig | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    on_failure: Failed | None = None,
    cancelled: CancelCheck | None = None,
) -> StatsResult:
    """Masks per image, their size, concavity and place, for one data set or several side by side.

    Args:
        sources: paths, see `segany.data.open.open_source`.
        output: folder for stats.json, stats.md and four plots; without it nothing is written.
        format: how the data sets are stored; seen from the paths when None.
        options: how to read them.
        config: how finely to count.
        limit: at most so many images of each, evenly spread where the format allows it, else the first.
        progress: told (images done, images in all).
        on_failure: told a line for every image that cannot be read; the rest goes on.
        cancelled: asked before every image.

    Raises:
        DataError: no data set, or not a single readable image.
        OptionError: nothing named, or `output` is a file.
        Cancelled: `cancelled` said so; nothing was written.
    """
    if not sources:
        raise OptionError("stats needs at least one data set; got none.")
    _check_output(output)
    _check_limit(limit)
    opened = [open_source(source, format=format, options=options) for source in sources]
    total, done = sum(_length(stream, limit) for stream in opened), 0
    failed: list[str] = []
    results: list[DatasetStats] = []
    for name, stream in zip(_distinct_names(opened), opened, strict=True):
        collector = StatsCollector(name, config or StatsConfig())
        for sample in _spread(stream, limit):
            check_cancelled(cancelled)
            try:
                collector.add(sample)
            except DataError as error:
                _fail(failed, str(error), on_failure)
            done += 1
            if progress is not None:
                progress(done, max(total, done))
        results.append(collector.result())
        if not results[-1].images:
            why = f"First: {failed[0]}" if failed else "It is empty."
            raise DataError(f"expected at least one readable image in {name}; got none. {why}")
    missing = [line for stream in opened for line in stream.missing]
    markdown = stats_markdown(results, failed, missing)
    files = _write_stats(Path(output), results, markdown, failed, missing) if output is not None else ()
    return StatsResult(stats=results, markdown=markdown, failed=failed, missing=missing, files=files)


def validate(
    source: str | Path,
    output: str | Path | None = None,
    *,
    format: SourceFormat | None = None,
    options: SourceOptions | None = None,
    photos: bool = True,
    limit: int | None = None,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> ValidationResult:
    """Check every mask, photo, number and hash of a data set.

    Args:
        source: a path, see `segany.data.open.open_source`.
        output: folder for validation.json and validation.md; without it nothing is written.
        format: how the data set is stored; seen from the path when None.
        options: how to read it.
        photos: False leaves the photos undecoded.
        limit: at most so many images, evenly spread where the format allows it, else the first.
        progress: told (images done, images in all).
        cancelled: asked before every image.

    Raises:
        DataError: the data set cannot be opened at all.
        OptionError: `output` is a file.
        Cancelled: `cancelled` said so; nothing was written.
    """
    _check_output(output)
    _check_limit(limit)
    stream = open_source(source, format=format, options=options)
    validator = Validator(stream.name, images=photos)
    total = _length(stream, limit)
    try:
        for done, sample in enumerate(_spread(stream, limit), start=1):
            check_cancelled(cancelled)
            validator.add(sample)
            if progress is not None:
                progress(done, max(total, done))
    except DataError as error:
        validator.report.note("unreadable", str(error))
    validator.missing(stream.missing)
    folder = Path(source).expanduser()
    for line in check_manifest(folder) if folder.is_dir() else ():
        validator.report.note("manifest", line)
    markdown = validation_markdown(validator.report)
    files: tuple[Path, ...] = ()
    if output is not None:
        files = (Path(output) / VALIDATION_JSON, Path(output) / VALIDATION_MD)
        atomic_write_json(files[0], {"segany": __version__, **validator.report.to_json()}, indent=1)
        atomic_write_text(files[1], markdown)
    return ValidationResult(report=validator.report, markdown=markdown, files=files)


def convert(
    source: str | Path,
    output: str | Path,
    to: TargetFormat,
    *,
    format: SourceFormat | None = None,
    options: SourceOptions | None = None,
    target: TargetOptions | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    on_failure: Failed | None = None,
    cancelled: CancelCheck | None = None,
) -> ConversionResult:
    """Write a data set in another format. The same call again writes what is not there yet.

    Args:
        source: a path, see `segany.data.open.open_source`.
        output: folder; must be new, empty, or hold this same conversion.
        to: see `segany.data.convert.open_target`.
        format: how the source is stored; seen from the path when None.
        options: how to read it.
        target: how to write.
        limit: at most so many images, evenly spread where the format allows it, else the first.
        progress: told (images done, images in all).
        on_failure: told a line for every image that cannot be converted; the rest goes on.
        cancelled: asked before every image.

    Raises:
        DataError: the source cannot be opened.
        OptionError: impossible options, or an output folder with something else in it.
        Cancelled: `cancelled` said so; finished images are kept, of shards the finished ones.
    """
    chosen, folder = target or TargetOptions(), Path(output)
    check_target(to, chosen)
    _check_limit(limit)
    stream = open_source(source, format=format, options=options)
    _open_output(folder, Path(source).expanduser(), _identity(stream, source, to, options, chosen, limit))
    result = ConversionResult(output=folder, missing=list(stream.missing), crowds=getattr(stream, "crowds", 0))
    total = -(-(_length(stream, limit) - chosen.worker) // chosen.workers)
    with open_target(to, folder, chosen) as sink:
        mine = islice(_spread(stream, limit), chosen.worker, None, chosen.workers)
        for done, sample in enumerate(mine, start=1):
            check_cancelled(cancelled)
            try:
                if sink.write(sample):
                    result.written += 1
                    result.masks += len(sample.record.annotations)
                else:
                    result.there_already += 1
            except (DataError, ImageError) as error:
                _fail(result.failed, str(error), on_failure)
            if progress is not None:
                progress(done, max(total, done))
    result.missing = list(stream.missing)
    return result


def _write_stats(
    folder: Path,
    results: Sequence[DatasetStats],
    markdown: str,
    failed: Sequence[str],
    missing: Sequence[str],
) -> tuple[Path, ...]:
    from segany.pictures.plots import bar_plot, heat_plot, step_plot

    folder.mkdir(parents=True, exist_ok=True)
    config = results[0].config
    plots = (
        bar_plot(
            folder / "masks_per_image.png",
            [name for name, _ in COUNT_BINS],
            {one.name: list(one.count_shares().values()) for one in results},
            title="Masks per image",
            x_label="masks",
            y_label="share of images",
        ),
        step_plot(
            folder / "relative_size.png",
            np.linspace(0, 1, config.size_bins + 1).tolist(),
            {one.name: one.size_shares().tolist() for one in results},
            title="Relative mask size",
            x_label="√(mask area / image area)",
            y_label="share of masks",
        ),
        step_plot(
            folder / "concavity.png",
            np.linspace(0, 1, config.concavity_bins + 1).tolist(),
            {one.name: one.concavity_shares().tolist() for one in results},
            title="Concavity, sizes weighing alike",
            x_label="1 - area / hull area",
            y_label="share of masks",
        ),
        heat_plot(
            folder / "centers.png",
            {one.name: one.centers for one in results},
            title="Mask centres, image size taken as 1",
        ),
    )
    content = {
        "segany": __version__,
        "config": asdict(config),
        "data_sets": [one.to_json() for one in results],
        "failed": list(failed),
        "missing": list(missing),
    }
    atomic_write_text(folder / STATS_MD, markdown)
    atomic_write_json(folder / STATS_JSON, content, indent=1)
    return (folder / STATS_JSON, folder / STATS_MD, *plots)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise OptionError(f"a limit must be 1 image or more; got {limit}. Leave it out to take all.")


def _spread(stream: SampleStream, limit: int | None) -> Iterator[Sample]:
    if limit is None or not isinstance(stream, SampleSource):
        return islice(stream, limit)
    count = min(limit, len(stream))
    return (stream[index * len(stream) // count] for index in range(count))


def _length(stream: SampleStream, limit: int | None) -> int:
    known = len(stream) if isinstance(stream, SampleSource) else 0
    return known if limit is None else min(limit, known)


def _distinct_names(streams: Sequence[SampleStream]) -> list[str]:
    names: list[str] = []
    for stream in streams:
        name, number = stream.name, 2
        while name in names:
            name, number = f"{stream.name} {number}", number + 1
        names.append(name)
    return names


def _identity(
    stream: SampleStream,
    source: str | Path,
    to: TargetFormat,
    options: SourceOptions | None,
    target: TargetOptions,
    limit: int | None,
) -> dict[str, Any]:
    """What two runs into one folder must share: all but the worker's number."""
    reading = asdict(options or SourceOptions())
    writing = {key: value for key, value in asdict(target).items() if key != "worker"}
    return json.loads(  # type: ignore[no-any-return]
        json.dumps(
            {
                "task": "dataset convert",
                "name": stream.name,
                "source": str(Path(source).expanduser().resolve()),
                "to": to,
                "reading": reading,
                "writing": writing,
                "limit": limit,
            },
            default=str,
        )
    )


def _check_output(output: str | Path | None) -> None:
    if output is not None and Path(output).exists() and not Path(output).is_dir():
        raise OptionError(f"the output must be a folder; got the file {output}. Choose another name.")


def _open_output(folder: Path, source: Path, identity: dict[str, Any]) -> None:
    """Make the folder, or see that the same conversion was begun in it."""
    _check_output(folder)
    if folder.exists() and folder.resolve() == source.resolve():
        raise OptionError(f"a data set cannot be converted into its own folder; got {folder}. Choose another.")
    ledger = folder / LEDGER
    if ledger.is_file():
        try:
            before = json.loads(ledger.read_text(encoding="utf-8"))
        except ValueError:
            before = None
        if before == identity:
            return
        raise OptionError(
            f"{folder} must be new or hold this same conversion; it holds another one, or one with other options. "
            "Choose another folder, or remove it."
        )
    if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise OptionError(f"{folder} must be new or empty; it holds other files. Choose another folder.")
    atomic_write_json(ledger, identity, indent=1)


def _fail(failed: list[str], line: str, on_failure: Failed | None) -> None:
    failed.append(line)
    if on_failure is not None:
        on_failure(line)
