"""Run a mask source over many images on this machine, resumable, several images at once where asked to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segany.batch.plan import Item
from segany.batch.threads import finished
from segany.core.errors import Cancelled, OptionError, SeganyError
from segany.core.files import atomic_write_json
from segany.core.progress import CancelCheck, Progress
from segany.records.formats import Format
from segany.records.ids import image_id_for
from segany.records.record import ImageRecord, MaskRecord
from segany.transforms.image import read_image

LEDGER = "segany-run.json"
"""File in the output folder that says with which settings it was made."""

Rgb = NDArray[np.uint8]
BeforeWrite = Callable[[Item, Rgb, ImageRecord], None]


class MaskSource(Protocol):
    """Whatever turns an image into records."""

    @property
    def fingerprint(self) -> str:
        """sha256 over everything that decides the masks."""
        ...

    def __call__(
        self, rgb: Any, *, progress: Progress | None = None, cancelled: CancelCheck | None = None
    ) -> list[MaskRecord]:
        """The masks of one image."""
        ...


@dataclass
class RunReport:
    """What became of each image."""

    done: list[Item] = field(default_factory=list)
    skipped: list[Item] = field(default_factory=list)
    failed: list[tuple[Item, str]] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    masks: int = 0


def run_local(
    items: Sequence[Item],
    source: MaskSource,
    out_dir: Path,
    writer: Format,
    *,
    before_write: BeforeWrite | None = None,
    on_failure: Callable[[Item, str], None] | None = None,
    progress: Progress | None = None,
    image_progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
    workers: int = 1,
) -> RunReport:
    """Make and write the masks of every image that has none yet.

    A broken image is noted and the rest goes on; a failure to write stops the run. Files appear whole or
    not at all, so that after an interruption the same call goes on where it stopped.

    Args:
        items: the images.
        source: makes the masks; called from several threads at once when there are several workers.
        out_dir: where to; `open_folder` first.
        writer: how.
        before_write: called with the item, its pixels and its record before the masks are written, by the worker.
        on_failure: called with an item and what was wrong with it.
        progress: called with (images finished, images in all).
        image_progress: handed to the source.
        cancelled: asked between images and by the source.
        workers: images worked on at once, each from reading to writing in a thread of its own; no other is read ahead.

    Raises:
        OptionError: fewer workers than one.
    """
    if workers < 1:
        raise OptionError(f"workers must be 1 or more; got {workers}. Use 1 for one image after the other.")
    report = RunReport(skipped=[item for item in items if writer.target(out_dir, item.stem).exists()])
    there = {item.stem for item in report.skipped}
    todo = [item for item in items if item.stem not in there]
    if progress is not None:
        progress(len(there), len(items))
    work = partial(_work, source=source, out_dir=out_dir, writer=writer, before_write=before_write)
    outcomes: dict[str, Outcome] = {}
    with closing(finished(todo, partial(work, progress=image_progress), workers, cancelled)) as ready:
        for outcome in ready:
            outcomes[outcome.item.stem] = outcome
            if outcome.reason is not None and on_failure is not None:
                on_failure(outcome.item, outcome.reason)
            if progress is not None:
                progress(len(there) + len(outcomes), len(items))
    for item in todo:
        outcome = outcomes[item.stem]
        if outcome.reason is not None:
            report.failed.append((item, outcome.reason))
            continue
        report.done.append(item)
        report.written += outcome.written
        report.masks += outcome.masks
    report.written += writer.finish(out_dir)
    return report


@dataclass(frozen=True)
class Outcome:
    """What became of one image: a reason when it failed."""

    item: Item
    reason: str | None = None
    written: tuple[Path, ...] = ()
    masks: int = 0


def _work(
    item: Item,
    cancelled: CancelCheck | None,
    *,
    source: MaskSource,
    out_dir: Path,
    writer: Format,
    before_write: BeforeWrite | None,
    progress: Progress | None,
) -> Outcome:
    try:
        rgb, record = _segment(item, source, progress, cancelled)
    except Cancelled:
        raise
    except (SeganyError, OSError, MemoryError) as error:
        return Outcome(item, str(error) or type(error).__name__)
    if before_write is not None:
        before_write(item, rgb, record)
    return Outcome(item, None, tuple(writer.write(record, out_dir, item.stem)), len(record.annotations))


def open_folder(out_dir: Path, identity: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Make the output folder, or check that what is in it was made with the same settings.

    Args:
        out_dir: the folder.
        identity: JSON values; two runs with equal ones may share the folder.
        overwrite: forget what was there.

    Raises:
        OptionError: the folder holds another run's results, or is a file.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise OptionError(f"the output must be a folder; got the file {out_dir}. Choose another name.")
    ledger = out_dir / LEDGER
    if ledger.is_file() and not overwrite:
        try:
            before = json.loads(ledger.read_text(encoding="utf-8"))
        except ValueError:
            before = None
        if before != identity:
            raise OptionError(
                f"{out_dir} must be new or hold results of the same model and settings; it holds those of "
                "others. Choose another folder, or give --overwrite to make them anew."
            )
    out_dir.mkdir(parents=True, exist_ok=True)
    atomic_write_json(ledger, dict(identity), indent=1)


def _segment(
    item: Item, source: MaskSource, progress: Progress | None, cancelled: CancelCheck | None
) -> tuple[Rgb, ImageRecord]:
    rgb = read_image(item.path)
    records = source(rgb, progress=progress, cancelled=cancelled)
    height, width = rgb.shape[:2]
    record = ImageRecord(
        image_id=image_id_for(item.path.name, item.path),
        width=width,
        height=height,
        file_name=item.path.name,
        annotations=tuple(records),
    )
    return rgb, record
