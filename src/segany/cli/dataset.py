"""`segany dataset`: describe, check and convert data sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from segany.cli.console import Bar, say, show
from segany.core.errors import OptionError

if TYPE_CHECKING:
    from segany.data.open import SourceOptions

dataset = App(
    name="dataset",
    help="Describe, check and convert data sets: SA-1B folders and tar shards, COCO and LVIS, label maps, PNG "
    "folders, the labelled packs.",
    help_format="plaintext",
)

Format = Literal["sa1b", "shards", "coco", "labelmap", "png", "pack", "labelme", "cvat", "labelstudio"]
To = Literal["sa1b", "shards", "coco", "png", "labelmap", "yolo", "labelme", "cvat", "labelstudio"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a data set is read."""

    format: Annotated[Format | None, Parameter(help="How it is stored; seen from the path when left out.")] = None
    images: Annotated[Path | None, Parameter(help="Folder of the photos, where they lie elsewhere.")] = None
    part: Annotated[Literal["train", "heldout", "all"], Parameter(help="Which part of a pack.")] = "train"
    crowd: Annotated[Literal["skip", "keep"], Parameter(help="What happens to COCO's crowd regions.")] = "skip"
    labels: Annotated[
        Literal["instance", "class"],
        Parameter(help="What a number in a label map means: one mask, or a class whose parts are masks."),
    ] = "instance"
    void: Annotated[
        list[int] | None, Parameter(help="A number in label maps that is no mask; may be repeated.", negative="")
    ] = None
    limit: Annotated[int | None, Parameter(help="At most so many images, evenly spread.")] = None

    def options(self) -> SourceOptions:
        """For the readers."""
        from segany.data.open import SourceOptions

        return SourceOptions(
            images=self.images, part=self.part, crowd=self.crowd, labels=self.labels, void=tuple(self.void or ())
        )


@dataset.command
def stats(
    source: Path,
    /,
    *more: Path,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Folder for JSON, a table and four plots.")
    ] = None,
    seed: Annotated[int, Parameter(help="Of the choice of masks measured for concavity.")] = 0,
    reading: Reading | None = None,
) -> int:
    """Masks per image, their size, concavity and place; several data sets stand side by side.

    Args:
        source: a folder, a COCO JSON or a tar shard.
        more: further ones to compare with.
    """
    from segany.data.stats import StatsConfig
    from segany.recipes import dataset as recipe

    how = reading or Reading()
    with Bar("images") as bar:
        result = recipe.stats(
            [source, *more],
            output,
            format=how.format,
            options=how.options(),
            config=StatsConfig(seed=seed),
            limit=how.limit,
            progress=bar.update,
            on_failure=lambda line: bar.note(f"failed: {line}"),
        )
    show(result.markdown)
    _tell_missing(result.missing)
    _tell_files(result.files)
    return 1 if result.failed else 0


@dataset.command
def validate(
    source: Path,
    /,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Folder for the report as JSON and Markdown.")
    ] = None,
    photos: Annotated[bool, Parameter(help="Decode every photo too.")] = True,
    reading: Reading | None = None,
) -> int:
    """Check schema, masks, areas, boxes, ids, photos and hashes; the exit code is 1 when something is wrong.

    Args:
        source: a folder, a COCO JSON or a tar shard.
    """
    from segany.recipes import dataset as recipe

    how = reading or Reading()
    with Bar("images") as bar:
        result = recipe.validate(
            source,
            output,
            format=how.format,
            options=how.options(),
            photos=photos,
            limit=how.limit,
            progress=bar.update,
        )
    show(result.markdown)
    _tell_files(result.files)
    return 0 if result.report.good else 1


@dataset.command
def convert(
    source: Path,
    /,
    *,
    to: Annotated[To, Parameter(help="shards: SA-1B in tars, readable by webdataset.")],
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder for the new data set.")],
    photos: Annotated[bool, Parameter(help="Copy the photos too; shards always hold them.")] = True,
    worker: Annotated[str, Parameter(help="I/N: this is worker I, from 0, of N that share the folder.")] = "0/1",
    shard_images: Annotated[int, Parameter(help="Images per shard, at most.")] = 10_000,
    shard_megabytes: Annotated[int, Parameter(help="Size of a shard, about at most.")] = 1_024,
    reading: Reading | None = None,
) -> int:
    """Write a data set in another format; an interrupted conversion goes on with the same command.

    Args:
        source: a folder, a COCO JSON or a tar shard.
    """
    from segany.data.convert import TargetOptions
    from segany.recipes import dataset as recipe

    how, (number, workers) = reading or Reading(), _worker(worker)
    target = TargetOptions(
        photos=photos,
        worker=number,
        workers=workers,
        shard_images=shard_images,
        shard_bytes=shard_megabytes << 20,
    )
    with Bar("images") as bar:
        result = recipe.convert(
            source,
            output,
            to,
            format=how.format,
            options=how.options(),
            target=target,
            limit=how.limit,
            progress=bar.update,
            on_failure=lambda line: bar.note(f"failed: {line}"),
        )
    say(
        f"{result.written} images written with {result.masks} masks; {result.there_already} were there already, "
        f"{len(result.failed)} failed"
    )
    if result.crowds:
        say(f"{result.crowds} crowd regions of the data set are left out; --crowd keep keeps them")
    _tell_missing(result.missing)
    show(str(result.output))
    return 1 if result.failed else 0


def _worker(text: str) -> tuple[int, int]:
    number, _, workers = text.partition("/")
    if not (number.isdecimal() and workers.isdecimal() and int(number) < int(workers)):
        raise OptionError(f"--worker takes I/N, worker I from 0 of N; got {text!r}. Write for example --worker 0/4.")
    return int(number), int(workers)


def _tell_missing(lines: list[str]) -> None:
    if lines:
        say(f"{len(lines)} images or annotations have no other half and were left out, first: {lines[0]}")


def _tell_files(files: tuple[Path, ...]) -> None:
    if files:
        say("written: " + ", ".join(str(path) for path in files))
