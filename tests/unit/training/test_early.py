"""Keeping the best weights and ending early, answered from files alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from segany.training.contract import Moment
from segany.training.early import KeepBest, Patience, best_so_far, best_weights
from segany.training.journal import LOOKS

CPU = torch.device("cpu")


def test_the_best_weights_stay(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    scores = iter([0.3, 0.7, 0.7, 0.5])
    keep = KeepBest(lambda moment: {"score": next(scores)}, "score")
    assert best_so_far(tmp_path) is None
    for step in range(4):
        nn.init.constant_(model.weight, step)
        keep(Moment(model, step, tmp_path, True, CPU))
    assert best_so_far(tmp_path) == (1, 0.7)
    assert float(best_weights(tmp_path)["weight"]) == 1


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    KeepBest(lambda moment: {"score": 1.0}, "score")(Moment(nn.Linear(1, 1), 1, tmp_path, False, CPU))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "enough"),
    [([], False), ([0.5], False), ([0.5, 0.4], False), ([0.5, 0.4, 0.5], True), ([0.1, 0.2, 0.3], False)],
)
def test_patience(tmp_path: Path, values: list[float], enough: bool) -> None:
    lines = [json.dumps({"step": 10 * (i + 1), "score": value}) + "\n" for i, value in enumerate(values)]
    (tmp_path / LOOKS).write_text("".join(lines), encoding="utf-8")
    assert Patience(tmp_path, "score", 2)(10 * len(values)) is enough


def test_patience_does_not_look_ahead(tmp_path: Path) -> None:
    """Lines behind the step of a resumed run do not count."""
    values = [0.5, 0.4, 0.3]
    lines = [json.dumps({"step": i, "score": value}) + "\n" for i, value in enumerate(values)]
    (tmp_path / LOOKS).write_text("".join(lines), encoding="utf-8")
    assert Patience(tmp_path, "score", 2)(2)
    assert not Patience(tmp_path, "score", 2)(1)


def test_the_start_counts_as_a_look(tmp_path: Path) -> None:
    (tmp_path / LOOKS).write_text(json.dumps({"step": 5, "score": 0.4}) + "\n", encoding="utf-8")
    assert Patience(tmp_path, "score", 1, 0.5)(5)
    assert not Patience(tmp_path, "score", 1, 0.3)(5)
