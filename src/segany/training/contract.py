"""What `fit` and a task say to each other; `fit` knows nothing else of the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

M_contra = TypeVar("M_contra", bound=nn.Module, contravariant=True)
B = TypeVar("B", bound="Batch")
B_co = TypeVar("B_co", bound="Batch", covariant=True)
B_contra = TypeVar("B_contra", bound="Batch", contravariant=True)


class Batch(Protocol):
    """What one forward pass takes."""

    @property
    def weight(self) -> float:
        """Units that losses are averaged over (masks, patches …)."""

    @property
    def images(self) -> int:
        """Images in it, for the rate shown to people."""

    def to(self, device: torch.device) -> Self:
        """The same on a device."""

    def tensors(self) -> dict[str, Any]:
        """Everything in it, for keeping a batch that broke the training."""


class BatchSource(Protocol[B_co]):
    """All batches of a training, as a function of the step alone: nothing to save, nothing to restore.

    Picklable when the loop prepares batches in worker processes.
    """

    def __call__(self, step: int) -> Sequence[B_co]:
        """This process's batches of a step (from 0), to be accumulated into one update.

        Which images a step holds must not depend on the number of processes.
        """

    def cost(self, step: int) -> float:
        """How long a step takes compared with others, any unit; for the time left."""


@dataclass(frozen=True)
class StepResult:
    """What a task makes of a batch.

    Attributes:
        loss: sum over the batch's units, with gradient.
        parts: further sums over the units, without gradient; the same keys on every batch of a step.
    """

    loss: Tensor
    parts: Mapping[str, Tensor]


class StepFunction(Protocol[M_contra, B_contra]):
    """The task: a model and a batch → losses."""

    def __call__(self, model: M_contra, batch: B_contra, /) -> StepResult:
        """Compute, do not update."""


@dataclass(frozen=True)
class Moment:
    """What hooks see of a training: its averaged weights, in evaluation mode, without gradients.

    Attributes:
        model: the model; hooks leave it as it is.
        step: finished steps.
        out: the run's folder.
        is_main: whether this process writes files; every process calls every hook.
        device: where the model is.
    """

    model: nn.Module
    step: int
    out: Path
    is_main: bool
    device: torch.device


class Hook(Protocol):
    """Looks at the model now and then: evaluators, sample pictures."""

    def __call__(self, moment: Moment, /) -> Mapping[str, float]:
        """Numbers to log; may be empty."""


class RateFunction(Protocol):
    """Step (from 0) → learning rate."""

    def __call__(self, step: int, /) -> float:
        """The rate of the update that ends this step."""


@dataclass(frozen=True)
class Status:
    """How far a training is; told after every step."""

    step: int
    """Finished steps."""
    steps: int
    """All steps."""
    loss: float
    """Of the last step."""
    images_per_s: float
    """Of the last step."""
    seconds_left: float | None
    """At the pace of this run, costlier steps to come counted as such; None before the second step."""
