"""Against the independent implementation in transformers, weights going both ways through our name map."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.save import save_official
from segany.modeling.config import ModelConfig
from segany.modeling.presets import VIT_B

from ._oracle import (
    SHAPES,
    TOLERANCE,
    filled_model,
    logits_are_alive,
    our_outputs,
    random_pixels,
    their_outputs,
    through_hf,
    worst,
)

pytest.importorskip("transformers", reason="the oracle is transformers: pip install 'segany[test]'")


@pytest.mark.parametrize("config", SHAPES, ids=lambda config: config.name)
def test_ours_read_by_transformers(config: ModelConfig, tmp_path: Path) -> None:
    model = filled_model(config)
    pixels = random_pixels(config)
    theirs = their_outputs(through_hf(model, tmp_path), config, pixels)
    logits_are_alive(theirs)
    gap, where = worst(our_outputs(model, pixels), theirs)
    assert gap <= TOLERANCE, where


@pytest.mark.parametrize("config", SHAPES, ids=lambda config: config.name)
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_transformers_read_by_us(config: ModelConfig, safe: bool, tmp_path: Path) -> None:
    theirs = through_hf(filled_model(config, seed=3), tmp_path / "first")
    theirs.save_pretrained(tmp_path / "second")
    if not safe:
        (tmp_path / "second" / "model.safetensors").unlink()
        torch.save(theirs.state_dict(), tmp_path / "second" / "pytorch_model.bin")
    loaded = load_model(tmp_path / "second")
    assert loaded.config.to_dict() | {"name": config.name} == config.to_dict()
    pixels = random_pixels(config)
    gap, where = worst(our_outputs(loaded.model, pixels), their_outputs(theirs, config, pixels))
    assert gap <= TOLERANCE, where


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_full_size_vit_b(tmp_path: Path) -> None:
    """Once at 1024 px: ours → transformers → ours again, as folder and as official file."""
    model = filled_model(VIT_B)
    pixels = random_pixels(VIT_B)
    theirs = through_hf(model, tmp_path / "there")
    expected = their_outputs(theirs, VIT_B, pixels)
    logits_are_alive(expected)
    theirs.save_pretrained(tmp_path / "back")
    back = load_model(tmp_path / "back")
    del theirs
    assert back.config == VIT_B
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, back.model.state_dict()[key]), key
    again = load_model(save_official(back.model.state_dict(), tmp_path / "sam.pth"))
    assert again.config == VIT_B
    assert again.fingerprint == back.fingerprint
    gap, where = worst(our_outputs(again.model, pixels), expected)
    assert gap <= TOLERANCE, where
