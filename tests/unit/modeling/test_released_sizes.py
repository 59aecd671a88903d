"""Keys and parameters of the released models, counted without allocating them."""

from __future__ import annotations

import pytest
import torch

from segany.modeling.build import build_model
from segany.modeling.presets import PRESETS
from segany.modeling.sam import Sam

RELEASED = {
    # name: keys of the model and of its encoder, parameters of the model and of its encoder
    "vit_b": (314, 9 + 14 * 12, 93_735_472, 89_670_912),
    "vit_l": (482, 9 + 14 * 24, 312_342_832, 308_278_272),
    "vit_h": (594, 9 + 14 * 32, 641_090_608, 637_026_048),
    "vit_t": (439, 302, 10_130_092, 10_130_092 - 6_220 - 4_058_340),
}


def on_meta(name: str) -> Sam:
    with torch.device("meta"):
        return build_model(PRESETS[name])


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", RELEASED)
def test_counts(name: str) -> None:
    model = on_meta(name)
    encoder = model.image_encoder
    counts = len(model.state_dict()), len(encoder.state_dict()), parameters(model), parameters(encoder)
    assert counts == RELEASED[name]
    assert (len(model.prompt_encoder.state_dict()), parameters(model.prompt_encoder)) == (17, 6_220)
    assert (len(model.mask_decoder.state_dict()), parameters(model.mask_decoder)) == (120, 4_058_340)


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_position_tables(name: str) -> None:
    model = on_meta(name)
    config = PRESETS[name].encoder
    tables = [len(block.attn.rel_pos_h) for block in model.image_encoder.blocks]
    assert [index for index, length in enumerate(tables) if length == 127] == list(config.global_blocks)
    assert set(tables) == {27, 127}


def test_tiny_vit_keys() -> None:
    keys = set(on_meta("vit_t").image_encoder.state_dict())
    for key in (
        "patch_embed.seq.0.c.weight",
        "patch_embed.seq.2.bn.num_batches_tracked",
        "layers.0.blocks.1.conv3.bn.running_var",
        "layers.2.downsample.conv2.c.weight",
        "layers.1.blocks.0.attn.attention_biases",
        "layers.3.blocks.1.local_conv.bn.weight",
        "layers.2.blocks.5.mlp.fc2.bias",
        "norm_head.weight",
        "head.bias",
        "neck.3.bias",
    ):
        assert key in keys
    assert not [key for key in keys if "attention_bias_idxs" in key or key.startswith("layers.3.downsample")]


@pytest.mark.parametrize("name", PRESETS)
def test_pixel_statistics_are_not_stored(name: str) -> None:
    assert not [key for key in on_meta(name).state_dict() if key.startswith("pixel_")]
