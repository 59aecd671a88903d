"""Fixtures every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

os.environ.setdefault("HF_HUB_OFFLINE", "1")
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=1500, deadline=None)
settings.register_profile("usual", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") == "true" else "usual"))
"""On CI the same examples every time; elsewhere new ones, and `HYPOTHESIS_PROFILE=search` looks long."""


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of golden files and data packs, named by SEGANY_SHARED; without it the test skips (CI: fails)."""
    folder = os.environ.get("SEGANY_SHARED")
    if folder and Path(folder).is_dir():
        return Path(folder).resolve()
    reason = f"needs the folder of golden files and data packs: set SEGANY_SHARED (now {folder!r})"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def toy_predictor() -> Predictor:
    """A seconds-fast model whose seeded weights make lively masks; they mean nothing."""
    import torch

    from segany.modeling.build import build_model
    from segany.modeling.presets import PRESETS
    from segany.predict.predictor import Predictor

    model = build_model(PRESETS["toy"])
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            noise = torch.randn(tensor.shape, generator=draw)
            if "embed" in name or "token" in name or "matrix" in name:
                tensor.copy_(noise)
            elif tensor.ndim > 1:
                tensor.copy_(1.5 * noise / tensor[0].numel() ** 0.5)
            else:
                tensor.copy_(0.2 * noise + (1.0 if name.endswith("weight") else 0.0))
            if "hypernetworks" in name and name.endswith("2.weight"):
                tensor.mul_(4.0)
    return Predictor(model, device="cpu")


@pytest.fixture(scope="session")
def scene() -> Callable[[int, int], NDArray[np.uint8]]:
    """(height, width) -> a uint8 RGB picture of coloured tiles."""

    def paint(height: int, width: int) -> NDArray[np.uint8]:
        y, x = np.mgrid[:height, :width]
        tiles = ((x * 8 // width + y * 4 // height) % 2) * 180 + 30
        return np.stack([tiles, x * 255 // width, y * 255 // height], axis=-1).astype(np.uint8)

    return paint
