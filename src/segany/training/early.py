"""Keeping the best weights of a training, and ending it when they stay the best for long.

Both answer from files in the run's folder alone, so that a resumed run goes on as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from segany.core.files import atomic_path
from segany.training.contract import Hook, Moment
from segany.training.journal import LOOKS, read_lines

BEST = "best.safetensors"


@dataclass(frozen=True)
class KeepBest:
    """A look that keeps the weights of the step at which its number was highest.

    Args:
        look: what measures.
        number: its number that counts, higher is better.
    """

    look: Hook
    number: str

    def __call__(self, moment: Moment) -> Mapping[str, float]:
        """What `look` measured."""
        numbers = self.look(moment)
        held = best_so_far(moment.out)
        if moment.is_main and (held is None or numbers[self.number] > held[1]):
            tensors = {name: t.detach().cpu().contiguous().clone() for name, t in moment.model.state_dict().items()}
            about = {"step": str(moment.step), "value": repr(float(numbers[self.number]))}
            with atomic_path(moment.out / BEST) as part:
                save_file(tensors, part, metadata=about)
        return numbers


def best_so_far(out: Path) -> tuple[int, float] | None:
    """Step and number of the weights that are kept; None before the first look."""
    if not (out / BEST).is_file():
        return None
    with safe_open(out / BEST, framework="pt") as file:
        about = file.metadata()
    return int(about["step"]), float(about["value"])


def best_weights(out: Path) -> dict[str, Tensor]:
    """The weights that are kept."""
    return dict(load_file(out / BEST))


@dataclass(frozen=True)
class Patience:
    """Enough is enough when so many looks in a row brought nothing better.

    Args:
        out: the run's folder.
        number: the number that counts, higher is better.
        looks: how many looks may pass without a new best.
        start: the number before the first step, if it is known.
    """

    out: Path
    number: str
    looks: int
    start: float | None = None

    def __call__(self, step: int) -> bool:
        """Whether to end after `step` finished steps."""
        values = [line[self.number] for line in read_lines(self.out / LOOKS) if line["step"] <= step]
        if self.start is not None:
            values = [self.start, *values]
        if not values:
            return False
        known = [float("-inf") if value is None else value for value in values]
        return len(known) - 1 - known.index(max(known)) >= self.looks
