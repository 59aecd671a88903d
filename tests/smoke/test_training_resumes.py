"""Killed at any moment, a training goes on as if nothing had happened; with more processes it is the same training."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from segany.cli.app import main
from segany.core.errors import OptionError
from segany.recipes.presets import PROMPTABLE
from segany.recipes.train_promptable import run
from segany.training.checkpointing import Checkpoints
from segany.training.journal import METRICS, read_lines

HERE = Path(__file__).parent
STEPS = 24


def environment() -> dict[str, str]:
    source = str(HERE.parents[1] / "src")
    return {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def start(out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(HERE / "_training_child.py"), str(out), str(STEPS), *more]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[bytes]) -> None:
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output.decode()


def curve(out: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_lines(out / METRICS)]


def kill_after(process: subprocess.Popen[bytes], out: Path, step: int, delay: float) -> None:
    """SIGKILL some time after a step was logged."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        lines = (out / METRICS).read_bytes().count(b"\n") if (out / METRICS).is_file() else 0
        if lines >= step:
            break
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the training ended before it could be killed"


def assert_readable(out: Path) -> None:
    """Whatever carries a checkpoint's name is whole."""
    checkpoints = Checkpoints(out / "checkpoints", keep=2)
    for step in checkpoints.steps():
        assert torch.load(checkpoints.path(step), weights_only=True)["step"] == step


def test_three_kills_change_nothing(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(start(whole))
    expected = curve(whole)
    assert [step for step, _ in expected] == list(range(1, STEPS + 1))

    moments = random.Random(20)
    kill_after(start(broken), broken, moments.randint(2, 7), moments.uniform(0, 0.1))
    assert_readable(broken)
    process = start(broken, "8")
    process.communicate(timeout=200)
    assert process.returncode == -signal.SIGKILL, "it should have died while writing a checkpoint"
    assert_readable(broken)
    assert list((broken / "checkpoints").glob(".step-*")), "the half-written file should still lie there"
    kill_after(start(broken), broken, moments.randint(13, 18), moments.uniform(0, 0.1))
    assert_readable(broken)
    finish(start(broken))
    assert_readable(broken)
    assert not list((broken / "checkpoints").glob(".step-*"))
    assert curve(broken) == expected


def test_two_processes_train_like_one(tmp_path: Path) -> None:
    steps = 20
    arguments = ["train", "promptable", "--preset", "toy", "--max-steps", str(steps), "--device", "cpu"]
    alone, together = tmp_path / "alone", tmp_path / "together"
    torch.set_num_threads(1)
    assert main([*arguments, "-o", str(alone)]) == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    done = subprocess.run(
        [*launch, "--standalone", "-m", "segany", *arguments, "-o", str(together)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    one, two = curve(alone), curve(together)
    assert len(one) == len(two) == steps
    for (_, a), (_, b) in zip(one, two, strict=True):
        assert b == pytest.approx(a, rel=1e-4)


def test_a_changed_config_is_refused_and_shown(tmp_path: Path) -> None:
    config = PROMPTABLE["toy"].shrunk()
    run(config, tmp_path, max_steps=1, device="cpu", board=False)
    changed = replace(config, optimizer=replace(config.optimizer, clip=0.5), seed=3)
    with pytest.raises(OptionError, match=r"(?s)optimizer\.clip: 1\.0 → 0\.5.*seed: 0 → 3"):
        run(changed, tmp_path, max_steps=2, device="cpu", board=False)
    run(config, tmp_path, max_steps=2, device="cpu", board=False)
    assert [step for step, _ in curve(tmp_path)] == [1, 2]
    noted = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert len(noted["starts"]) == 2
    assert {"revision", "torch", "python"} <= set(noted["starts"][0])
