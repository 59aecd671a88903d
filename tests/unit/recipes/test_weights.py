from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from segany.core.errors import CheckpointError
from segany.modeling.build import build_model
from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.save import save_model, save_official
from segany.modeling.presets import TOY
from segany.recipes.weights import publish, stamp_scores

REPORT = {"packs": [{"pack": "coco", "scores": {"box": 0.5}}], "about": {"sample": {"seed": 0}}}


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    run = tmp_path / "run"
    save_model(build_model(TOY).state_dict(), TOY, run / "model.safetensors", metadata={"steps": 7})
    return run


def test_published_weights_are_half_size_and_say_what_made_them(trained: Path, tmp_path: Path) -> None:
    shipped = publish(trained, tmp_path / "toy.safetensors", {"data": {"coco": "terms"}, "seed": 3})
    assert shipped.stat().st_size < 0.6 * (trained / "model.safetensors").stat().st_size
    loaded = load_model(shipped)
    assert loaded.config == TOY
    assert loaded.metadata["steps"] == "7"
    assert json.loads(loaded.metadata["data"]) == {"coco": "terms"}
    assert json.loads(loaded.metadata["made_by"])["segany"]
    reference = load_model(trained).model.state_dict()
    for key, tensor in loaded.model.state_dict().items():
        assert torch.allclose(tensor, reference[key], atol=1e-3, rtol=1e-3)


def test_scores_change_the_metadata_and_nothing_else(trained: Path, tmp_path: Path) -> None:
    shipped = publish(trained, tmp_path / "toy.safetensors", {})
    before, size = load_model(shipped), shipped.stat().st_size
    stamp_scores(shipped, REPORT)
    after = load_model(shipped)
    assert after.fingerprint == before.fingerprint
    assert json.loads(after.metadata["scores"])["packs"] == REPORT["packs"]
    assert after.metadata["steps"] == "7"
    assert shipped.stat().st_size < size + 1000
    (tmp_path / "plain").touch()
    assert shipped.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_scores_need_one_of_our_files(tmp_path: Path) -> None:
    save_official(build_model(TOY).state_dict(), tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match=r"with a config in their metadata.*segany models convert"):
        stamp_scores(tmp_path / "bare.pth", REPORT)
