"""Every recipe and every preset of it, found rather than listed, learns something at toy size."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from statistics import mean
from types import ModuleType

import pytest
import torch

import segany.recipes
from segany.modeling.checkpoints.load import load_model
from segany.training.journal import METRICS, read_lines


def trainings() -> list[tuple[ModuleType, str]]:
    """Modules of `recipes` with PRESETS and `run`, by preset."""
    found = []
    for item in pkgutil.iter_modules(segany.recipes.__path__):
        module = importlib.import_module(f"segany.recipes.{item.name}")
        if hasattr(module, "PRESETS") and hasattr(module, "run"):
            found += [(module, name) for name in module.PRESETS]
    return found


def test_the_promptable_recipe_is_found() -> None:
    names = {(module.__name__.rpartition(".")[2], name) for module, name in trainings()}
    assert {("train_promptable", name) for name in ("tiny", "toy", "vit_b", "vit_l", "vit_h")} <= names


@pytest.mark.parametrize(("module", "name"), trainings(), ids=lambda value: getattr(value, "__name__", value))
def test_loss_decreases(module: ModuleType, name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    module.rehearse(name, tmp_path)
    losses = [line["loss"] for line in read_lines(tmp_path / METRICS)]
    assert len(losses) >= 10
    assert mean(losses[-5:]) < 0.95 * mean(losses[:5])
    if (tmp_path / "model.safetensors").is_file():
        load_model(tmp_path / "model.safetensors")
