"""The loop, with a task that has nothing to do with images."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segany.core.errors import Cancelled, CheckpointError, TrainingError
from segany.training.checkpointing import Checkpoints, random_states, restore_random_states
from segany.training.config import LoopConfig, OptimizerConfig
from segany.training.contract import Moment, Status, StepResult
from segany.training.distributed import Processes
from segany.training.fit import Job, fit
from segany.training.journal import LOOKS, METRICS, read_lines

HERE = Processes(torch.device("cpu"))


@dataclass(frozen=True)
class Numbers:
    """Points of a line."""

    x: Tensor
    y: Tensor

    @property
    def weight(self) -> float:
        return float(len(self.x))

    @property
    def images(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> Numbers:
        return self

    def tensors(self) -> dict[str, Any]:
        return {"x": self.x, "y": self.y}


@dataclass(frozen=True)
class Lines:
    """y = 3x − 1; `parts` sizes per step, a NaN in step `broken`."""

    parts: tuple[int, ...] = (8,)
    broken: int = -1

    def __call__(self, step: int) -> list[Numbers]:
        x = torch.randn(sum(self.parts), 1, generator=torch.Generator().manual_seed(step))
        y = 3 * x - 1
        if step == self.broken:
            y[0] = float("nan")
        return [Numbers(*pair) for pair in zip(x.split(list(self.parts)), y.split(list(self.parts)), strict=True)]

    def cost(self, step: int) -> float:
        return 1.0


def squared_error(model: nn.Module, batch: Numbers) -> StepResult:
    error = (model(batch.x) - batch.y) ** 2
    return StepResult(error.sum(), {"twice": 2 * error.detach().sum()})


def line() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(1, 1)


def job(**changes: Any) -> Job:
    base = Job(
        step=squared_error,
        source=Lines(),
        steps=40,
        rate=lambda step: 0.2,
        optimizer=OptimizerConfig(weight_decay=0.0, average=0.5),
        loop=LoopConfig(save_every=10, look_every=15),
        board=False,
    )
    return replace(base, **changes)


def test_it_learns_and_says_so(tmp_path: Path) -> None:
    told: list[Status] = []
    seen: list[tuple[int, bool]] = []

    def look(moment: Moment) -> Mapping[str, float]:
        seen.append((moment.step, moment.model.training))
        return {"slope": float(next(moment.model.parameters()).detach())}

    result = fit(line(), job(hooks=[look], told=told.append), tmp_path, group=HERE)
    lines = read_lines(tmp_path / METRICS)
    assert [entry["step"] for entry in lines] == list(range(1, 41))
    assert lines[-1]["loss"] < 0.1 * lines[0]["loss"]
    assert lines[0]["twice"] == pytest.approx(2 * lines[0]["loss"])
    assert {"learning_rate", "images_per_s", "gradient_norm"} <= lines[0].keys()
    assert seen == [(15, False), (30, False), (40, False)]
    assert [entry["step"] for entry in read_lines(tmp_path / LOOKS)] == [15, 30, 40]
    assert result.steps == 40 and result.numbers["slope"] == pytest.approx(float(result.state["weight"]))
    assert Checkpoints(tmp_path / "checkpoints", 2).steps() == [30, 40]
    assert told[0].seconds_left is None and told[-1].seconds_left == 0.0
    assert all(status.seconds_left is not None and status.seconds_left >= 0 for status in told[1:])


def losses(out: Path) -> list[float]:
    return [entry["loss"] for entry in read_lines(out / METRICS)]


def test_stopping_early_and_going_on_is_the_same_training(tmp_path: Path) -> None:
    noisy = job(hooks=[lambda moment: {"dice": float(torch.rand(()))}])
    whole = fit(line(), noisy, tmp_path / "whole", group=HERE) if (tmp_path / "whole").mkdir() is None else None
    (tmp_path / "parts").mkdir()
    for until in (7, 23, None):
        parts = fit(line(), noisy, tmp_path / "parts", group=HERE, max_steps=until)
    assert whole is not None
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert torch.equal(parts.state["weight"], whole.state["weight"])


def test_accumulated_batches_count_by_their_units(tmp_path: Path) -> None:
    curves = []
    for parts in ((8,), (5, 3), (1, 1, 6)):
        out = tmp_path / "-".join(map(str, parts))
        out.mkdir()
        fit(line(), job(source=Lines(parts)), out, group=HERE, max_steps=10)
        curves.append(losses(out))
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)
    assert curves[2] == pytest.approx(curves[0], rel=1e-5)


def test_nan_stops_and_keeps_the_batch(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step 13 .*broken") as caught:
        fit(line(), job(source=Lines(broken=12)), tmp_path, group=HERE)
    assert "learning rate" in str(caught.value)
    (kept,) = (tmp_path / "broken").iterdir()
    saved = torch.load(kept, weights_only=True)
    assert saved["step"] == 12
    assert bool(saved["batches"][0]["y"].isnan().any())
    state = Checkpoints(tmp_path / "checkpoints", 2).latest()
    assert state is not None and state["step"] == 10
    assert all(bool(tensor.isfinite().all()) for tensor in state["model"].values())


def test_a_request_to_stop_saves_first(tmp_path: Path) -> None:
    def told(status: Status) -> None:
        if status.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Cancelled, match="step 6 of 40"):
        fit(line(), job(told=told), tmp_path, group=HERE)
    assert signal.getsignal(signal.SIGINT) is before
    assert Checkpoints(tmp_path / "checkpoints", 2).steps() == [6]


def test_lines_behind_the_checkpoint_go(tmp_path: Path) -> None:
    fit(line(), job(), tmp_path, group=HERE, max_steps=10)
    with open(tmp_path / METRICS, "a") as file:
        file.write(json.dumps({"step": 11, "loss": -1}) + "\n" + '{"step": 12, "lo')
    fit(line(), job(), tmp_path, group=HERE, max_steps=12)
    lines = read_lines(tmp_path / METRICS)
    assert [entry["step"] for entry in lines] == list(range(1, 13))
    assert lines[10]["loss"] > 0


def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    for name, workers in (("none", 0), ("two", 2)):
        (tmp_path / name).mkdir()
        fit(line(), job(loop=LoopConfig(workers=workers)), tmp_path / name, group=HERE, max_steps=8)
    assert losses(tmp_path / "two") == losses(tmp_path / "none")


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    assert checkpoints.latest() is None
    checkpoints.save(3, {"step": 3})
    checkpoints.save(4, {"step": 4})
    assert checkpoints.steps() == [4]
    checkpoints.path(4).write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="step-000000004"):
        checkpoints.latest()


def test_random_states_come_back() -> None:
    import random

    import numpy as np

    before = random_states()
    first = (random.random(), float(np.random.rand()), float(torch.rand(())))  # noqa: NPY002
    restore_random_states(before)
    assert first == (random.random(), float(np.random.rand()), float(torch.rand(())))  # noqa: NPY002
