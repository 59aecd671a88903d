"""A small untrained model on disk, a photo, and a way to run the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@dataclass(frozen=True)
class Ran:
    """What one run of the program said."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a toy model with random weights."""
    import torch

    from segany.modeling.build import build_model
    from segany.modeling.checkpoints.save import save_model
    from segany.modeling.presets import TOY

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "toy.safetensors"
    return save_model(build_model(TOY).state_dict(), TOY, path)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run `segany` in this process."""
    from segany.cli.app import main

    def run_main(*words: object) -> Ran:
        capfd.readouterr()
        code = main([str(word) for word in words])
        said = capfd.readouterr()
        return Ran(code, said.out, said.err)

    return run_main


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A small picture of two rectangles."""
    rgb = np.full((60, 90, 3), 40, np.uint8)
    rgb[10:40, 15:50] = (220, 90, 40)
    rgb[30:55, 60:80] = (60, 200, 90)
    path = tmp_path / "photo.png"
    Image.fromarray(rgb).save(path)
    return path


@pytest.fixture(autouse=True)
def inside_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files without a folder land in the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGANY_CACHE", str(tmp_path / "cache"))
