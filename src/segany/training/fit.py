"""The training loop. It knows neither task nor model: batches in, losses out, weights better than before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segany.core.errors import Cancelled, OptionError, TrainingError
from segany.training.checkpointing import Checkpoints, random_states, restore_random_states
from segany.training.config import LoopConfig, OptimizerConfig
from segany.training.contract import Batch, BatchSource, Hook, Moment, RateFunction, Status, StepFunction
from segany.training.distributed import Processes, gathered, is_sharded, like, shared, unsynchronised, whole
from segany.training.ema import Average
from segany.training.journal import Journal
from segany.training.optim import hold_still, optimizer_of, set_drop_path, set_rate, set_recompute
from segany.training.stopping import StopRequest

CHECKPOINTS, BROKEN = "checkpoints", "broken"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training, complete but for the model: what to do, on what, how often."""

    step: StepFunction[Any, Any]
    """The task."""
    source: BatchSource[Batch]
    """The batches."""
    steps: int
    """Optimiser steps of the whole training."""
    rate: RateFunction
    """Learning rate over the steps."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser, drop path, clipping, averaging."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """Precision, memory, saving, looking."""
    seed: int = 0
    """Of everything random inside the model (drop path)."""
    hooks: Sequence[Hook] = ()
    """Evaluators and sample pictures."""
    told: Callable[[Status], None] | None = None
    """Called by the main process after every step."""
    enough: Callable[[int], bool] | None = None
    """Asked after looks, with the finished steps, whether to end early; must answer from what the looks left on disk,
    so that a resumed run gets the same answer."""
    board: bool = True
    """Write TensorBoard files when the library is there."""


@dataclass(frozen=True)
class FitResult:
    """What a training leaves.

    Attributes:
        state: weights, averaged when an average is kept; whole, on the CPU.
        steps: finished steps.
        numbers: what the last looks measured.
    """

    state: dict[str, Tensor]
    steps: int
    numbers: dict[str, float]


def fit(model: nn.Module, job: Job, out: Path, *, group: Processes, max_steps: int | None = None) -> FitResult:
    """Train a model, going on from the newest checkpoint in `out` when there is one.

    With the same job, resuming at any step gives the same losses bit for bit on a CPU, and any number of processes
    gives the same losses up to rounding.

    Args:
        model: fresh weights; changed in place.
        job: what to do.
        out: folder for checkpoints, journals and whatever hooks write.
        group: the processes of this training.
        max_steps: stop after so many steps of the whole training, ahead of `job.steps`; the schedule stays.

    Returns:
        weights and last numbers.

    Raises:
        TrainingError: a loss or gradient is not finite; the batch lies in `out`/broken.
        Cancelled: a person or the system asked to stop; the state is saved.
    """
    run = _Run(model, job, out, group)
    return run.train(min(job.steps, max_steps or job.steps))


class _Task(nn.Module):
    """A whole step as one forward, which is what sharing gradients between processes needs."""

    def __init__(self, model: nn.Module, step: StepFunction[Any, Any], autocast: AbstractContextManager[Any]) -> None:
        super().__init__()
        self.model, self.step, self.autocast = model, step, autocast

    def forward(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        with self.autocast:
            result = self.step(self.model, batch)
        return result.loss, result.parts


class _Run:
    def __init__(self, model: nn.Module, job: Job, out: Path, group: Processes) -> None:
        self.job, self.out, self.group = job, out, group
        hold_still(model, job.optimizer.only)
        self.model = training_mode(model.to(device=group.device))
        if job.loop.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        set_drop_path(model, job.optimizer.drop_path)
        set_recompute(model, job.loop.recompute)
        half = job.loop.precision == "bfloat16"
        autocast = torch.autocast(group.device.type, torch.bfloat16) if half else nullcontext()
        self.task = shared(_Task(model, job.step, autocast), group, job.loop.sharding)
        if is_sharded(self.task) and job.optimizer.kind == "muon":
            raise OptionError(
                "Muon moves whole matrices, and sharding fsdp leaves each process a part of them; choose the "
                "optimiser adamw, or sharding ddp."
            )
        self.optimizer = optimizer_of(model, job.optimizer)
        self.average = None if job.optimizer.average is None else Average(model, job.optimizer.average)
        self.checkpoints = Checkpoints(out / CHECKPOINTS, job.loop.keep)
        self.done = 0
        self._restore()

    # --- state

    def _state(self) -> dict[str, Any]:
        """Everything; calling it is a joint act of all processes when the model is sharded."""
        return {
            "step": self.done,
            "seed": self.job.seed,
            "model": whole(self.model.state_dict()),
            "average": None if self.average is None else whole(self.average.weights),
            "optimizer": whole(self.optimizer.state_dict()),
            "random": random_states(),
        }

    def _restore(self) -> None:
        if self.group.is_main:
            self.checkpoints.clean()
        state = self.checkpoints.latest()
        self.group.wait()
        if state is None:
            return
        own = self.model.state_dict()
        self.model.load_state_dict({name: like(own[name], tensor) for name, tensor in state["model"].items()})
        if self.average is not None and state["average"] is not None:
            held = self.average.weights
            self.average.weights = {
                name: like(held[name], tensor).to(held[name].device) for name, tensor in state["average"].items()
            }
        self.optimizer.load_state_dict(_shared_out(state["optimizer"], self.optimizer))
        restore_random_states(state["random"])
        self.done = int(state["step"])

    def save(self) -> None:
        """Checkpoint of the present step."""
        state = self._state()
        if self.group.is_main:
            self.checkpoints.save(self.done, state)
        self.group.wait()

    # --- the loop

    def train(self, until: int) -> FitResult:
        began_at = saved = self.done
        numbers: dict[str, float] | None = None
        pace = _Pace(self.job, until)
        journal = Journal(self.out, self.done, board=self.job.board, active=self.group.is_main)
        with journal, StopRequest() as stop:
            for batches in self._batches(until) if not self._enough() else ():
                began = time.monotonic()
                line, stopped = self._update(batches, asked=stop.asked)
                line["images_per_s"] = line.pop("images") / max(1e-9, time.monotonic() - began + self._waited)
                self.done += 1
                journal.step(self.done, line)
                numbers = None
                if self.done % self.job.loop.look_every == 0 and self.done < until:
                    numbers = self._look()
                    journal.look(self.done, numbers)
                if self.done % self.job.loop.save_every == 0 or stopped:
                    self.save()
                    saved = self.done
                self._tell(line, until, pace)
                if numbers is not None and self._enough():
                    break
                if stopped and self.done < until:
                    raise Cancelled(f"stopped after step {self.done} of {until}; the same command goes on from there.")
            if saved < self.done:
                self.save()
            if numbers is None:
                numbers = self._look()
                if began_at < self.done:
                    journal.look(self.done, numbers)
        return FitResult(self._final_state(), self.done, numbers)

    def _enough(self) -> bool:
        """Whether an earlier look said to stop; the main process reads, all hear the same."""
        if self.job.enough is None:
            return False
        said = self.group.is_main and self.job.enough(self.done)
        return float(self.group.total(torch.tensor([float(said)], device=self.group.device))) > 0

    def _batches(self, until: int) -> Iterator[Sequence[Batch]]:
        """This process's batches, step by step; `_waited` says how long the loop waited for the last ones."""
        loader = _prepared(self.job.source, self.done, until, self.job.loop.workers)
        while True:
            began = time.monotonic()
            batches = next(loader, None)
            self._waited = time.monotonic() - began
            if batches is None:
                return
            yield [batch.to(self.group.device) for batch in batches]

    def _update(self, batches: Sequence[Batch], *, asked: bool) -> tuple[dict[str, float], bool]:
        """One optimiser step: forward and backward over all batches, losses averaged over all processes' units."""
        torch.manual_seed(_step_seed(self.job.seed, self.done, self.group.rank))
        own = [sum(batch.weight for batch in batches), sum(batch.images for batch in batches), float(asked)]
        weight, images, stopped = self.group.total(torch.tensor(own, dtype=torch.float64)).tolist()
        rate = self.job.rate(self.done)
        set_rate(self.optimizer, rate)
        sums: dict[str, Tensor] = {}
        for index, batch in enumerate(batches):
            with unsynchronised(self.task, last=index + 1 == len(batches)):
                loss, parts = self.task(batch)
                (loss * (self.group.world / weight)).backward()
            for name, value in {"loss": loss, **parts}.items():
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
        totals = self.group.total(torch.stack([value.double() for value in sums.values()])) / weight
        line = dict(zip(sums, totals.tolist(), strict=True))
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.job.optimizer.clip or float("inf"))
        line["gradient_norm"] = float(whole(norm))
        self._refuse_broken(line, batches)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model, self.done + 1)
        return line | {"learning_rate": rate, "units": weight, "images": images}, stopped > 0

    def _refuse_broken(self, line: dict[str, float], batches: Sequence[Batch]) -> None:
        if np.isfinite(line["loss"]) and np.isfinite(line["gradient_norm"]):
            return
        folder = self.out / BROKEN
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"step-{self.done:09d}-rank-{self.group.rank}.pt"
        torch.save({"step": self.done, "numbers": line, "batches": [whole(b.tensors()) for b in batches]}, path)
        self.group.wait()
        raise TrainingError(
            f"loss and gradient must be finite; step {self.done + 1} has loss {line['loss']} and gradient norm "
            f"{line['gradient_norm']}. The batch lies in {path}; the last checkpoint is from before. Lower the "
            "learning rate, cut gradients (clip), or look at that batch."
        )

    def _look(self) -> dict[str, float]:
        """What the hooks see of the averaged weights."""
        moment = Moment(self.model, self.done, self.out, self.group.is_main, self.group.device)
        applied = nullcontext() if self.average is None else self.average.applied(self.model)
        found: dict[str, float] = {}
        with applied, gathered(self.task), torch.no_grad():
            self.model.eval()
            for hook in self.job.hooks:
                found |= hook(moment)
            training_mode(self.model)
        return found

    def _final_state(self) -> dict[str, Tensor]:
        applied = nullcontext() if self.average is None else self.average.applied(self.model)
        with applied:
            state: dict[str, Tensor] = {k: v.clone() for k, v in whole(dict(self.model.state_dict())).items()}
        return state

    def _tell(self, line: dict[str, float], until: int, pace: _Pace) -> None:
        left = pace.seconds_left(self.done)
        if self.job.told is not None and self.group.is_main:
            self.job.told(Status(self.done, until, line["loss"], line["images_per_s"], left))


def training_mode(model: nn.Module) -> nn.Module:
    """Training mode, but for modules all of whose weights are frozen: their statistics and branches hold still."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
    return model


class _Pace:
    """Seconds left: those of this run so far, looks and saves included, scaled by what the coming steps cost."""

    def __init__(self, job: Job, until: int) -> None:
        self.cost, self.until = job.source.cost, until
        self._first: tuple[int, float] | None = None
        self._left = 0.0
        self._spent = 0.0

    def seconds_left(self, done: int) -> float | None:
        now = time.monotonic()
        if self._first is None:
            self._first = (done, now)
            self._left = sum(self.cost(step) for step in range(done, self.until))
            return None
        cost = self.cost(done - 1)
        self._spent, self._left = self._spent + cost, self._left - cost
        return (now - self._first[1]) / self._spent * max(0.0, self._left)


class _Steps(torch.utils.data.Dataset[Sequence[Batch]]):
    """Steps from `first` on, as a dataset, so that worker processes can prepare them ahead."""

    def __init__(self, source: BatchSource[Batch], first: int, until: int) -> None:
        self.source, self.first, self.count = source, first, until - first

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sequence[Batch]:
        return self.source(self.first + index)


def _prepared(source: BatchSource[Batch], first: int, until: int, workers: int) -> Iterator[Sequence[Batch]]:
    if first >= until:
        return iter(())
    if workers == 0:
        return (source(step) for step in range(first, until))
    return iter(
        torch.utils.data.DataLoader(_Steps(source, first, until), batch_size=None, num_workers=workers, shuffle=False)
    )


def _step_seed(seed: int, step: int, rank: int) -> int:
    """A step's random numbers inside the model depend on nothing that ran before it."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def _shared_out(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """A whole optimiser state, its moments shared out as the parameters are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments = {
        index: {k: like(parameters[index], v) if k != "step" else v for k, v in values.items()}
        for index, values in state["state"].items()
    }
    return {"state": moments, "param_groups": state["param_groups"]}
