"""The operation counts are those of the plain reference implementation, counted by torch, and the published ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from segany.modeling.build import build_encoder, build_model
from segany.modeling.presets import PRESETS
from segany.recipes.operations import decoder_operations, encoder_operations


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3] / "benchmarks"))
    monkeypatch.delitem(sys.modules, "reference", raising=False)
    import reference

    return reference


@pytest.mark.parametrize(("name", "giga"), [("vit_b", 486), ("vit_l", 1493), ("vit_h", 2981)])
def test_encoders_need_what_is_published(name: str, giga: float) -> None:
    config = PRESETS[name]
    with torch.device("meta"):
        encoder = build_encoder(config)
    assert encoder_operations(config, encoder) == pytest.approx(2e9 * giga, rel=0.002)


def test_one_click_needs_what_is_published() -> None:
    assert decoder_operations(PRESETS["vit_b"], 1) == pytest.approx(2e9 * 1.8, rel=0.05)


def test_counts_equal_those_of_the_plain_implementation(reference: Any) -> None:
    config = PRESETS["toy"]
    model = build_model(config).eval()
    plain = reference.Reference(model.state_dict(), config)
    with FlopCounterMode(display=False) as counter:
        features = plain.encode_pixels(torch.zeros(1, 3, config.canvas, config.canvas))
    assert encoder_operations(config, model.image_encoder) == pytest.approx(counter.get_total_flops(), rel=1e-6)
    for prompts in (1, 5):
        with FlopCounterMode(display=False) as counter:
            plain.decode(features, torch.zeros(prompts, 2))
        embedding = counter.get_total_flops() - 2 * (prompts + config.grid**2) * 2 * (config.width // 2)
        assert decoder_operations(config, prompts) == pytest.approx(embedding, rel=1e-6)


def test_a_convolutional_encoder_is_counted_by_running_it() -> None:
    config = PRESETS["tiny"]
    counted = encoder_operations(config, build_encoder(config).eval())
    assert 1e9 < counted < 1e11
