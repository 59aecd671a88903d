"""What a person sees: results on stdout, everything else on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY_S = 5.0
"""Seconds between plain progress lines."""


def say(text: str) -> None:
    """A note to the person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def show(text: str) -> None:
    """A line of the result, on stdout."""
    print(text, flush=True)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of text, as wide as they need to be, without frames."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [lines[0], rule, *lines[1:]]
    )


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Bar:
    """Progress of long work: a bar on a terminal, a plain line now and then elsewhere.

    Its estimate is the mean of the steps since the first update, and is left out before there is one.
    """

    def __init__(self, title: str, total: int | None = None) -> None:
        self.title, self.total = title, total
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._start = self._last_line = 0.0
        self._first: int | None = None

    def __enter__(self) -> Bar:
        self._start = self._last_line = time.monotonic()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, total: int | None = None) -> None:
        """`done` of `total` steps are finished; usable as a `Progress` callback."""
        self.total = total if total is not None else self.total
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=self.total)
            return
        now = time.monotonic()
        if self._first is None:
            self._first, self._start = done, now
        if now - self._last_line < LINE_EVERY_S or not self.total:
            return
        self._last_line = now
        if done >= self.total:
            return
        steps = done - self._first
        left = f", about {clock((now - self._start) / steps * (self.total - done))} left" if steps > 0 else ""
        say(f"{self.title}: {done} of {self.total}{left}")

    def note(self, text: str) -> None:
        """A line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            say(text)
