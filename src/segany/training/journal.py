"""What a run writes down: a line per step, a line per look, and TensorBoard's own files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from segany.core.files import atomic_write_text

METRICS, LOOKS, BOARD = "metrics.jsonl", "evaluations.jsonl", "tensorboard"


class Journal:
    """Appends to OUT/metrics.jsonl and OUT/evaluations.jsonl.

    Args:
        out: the run's folder.
        resume_at: finished steps; lines after them (from a run that was killed behind its last checkpoint) go.
        board: write TensorBoard files too, when the library is there.
        active: False writes nothing at all (processes other than the main one).
    """

    def __init__(self, out: Path, resume_at: int, *, board: bool = True, active: bool = True) -> None:
        self.out, self.active = out, active
        self._board: Any = None
        if not active:
            return
        for name in (METRICS, LOOKS):
            _cut(out / name, resume_at)
        self._metrics = open(out / METRICS, "a", encoding="utf-8")  # noqa: SIM115 (held for the whole run)
        if board:
            self._board = _summary_writer(out / BOARD, resume_at)

    def step(self, step: int, numbers: Mapping[str, float]) -> None:
        """A line of metrics.jsonl."""
        if self.active:
            self._metrics.write(_line(step, numbers))
            self._metrics.flush()
            self._show(step, numbers, "train")

    def look(self, step: int, numbers: Mapping[str, float]) -> None:
        """A line of evaluations.jsonl."""
        if self.active and numbers:
            with open(self.out / LOOKS, "a", encoding="utf-8") as file:
                file.write(_line(step, numbers))
            self._show(step, numbers, "look")

    def _show(self, step: int, numbers: Mapping[str, float], group: str) -> None:
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(f"{group}/{name}", value, step)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.active:
            self._metrics.close()
        if self._board is not None:
            self._board.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every whole line of a journal; a last line cut short by a kill is left out."""
    lines: list[dict[str, Any]] = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def _line(step: int, numbers: Mapping[str, float]) -> str:
    plain = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return json.dumps({"step": step, **plain}) + "\n"


def _cut(path: Path, resume_at: int) -> None:
    if path.is_file():
        kept = [json.dumps(line) + "\n" for line in read_lines(path) if line["step"] <= resume_at]
        atomic_write_text(path, "".join(kept))


def _summary_writer(folder: Path, resume_at: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=resume_at + 1 if resume_at else None)
