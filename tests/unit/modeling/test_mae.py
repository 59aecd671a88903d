"""Masked autoencoders: what is hidden stays hidden, and what is learnt is the promptable model's own encoder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from segany.modeling.config import ConvConfig, ModelConfig, TinyViTConfig, ViTConfig
from segany.modeling.mae import (
    MaskedAutoencoder,
    patch_statistics,
    patches_of,
    pixels_of,
    random_visible,
    resized_positions,
    visible_tokens,
)
from segany.modeling.presets import TOY
from segany.modeling.vit import ImageEncoderViT

VIT = replace(TOY, encoder=ViTConfig(width=32, depth=2, heads=2, global_blocks=(1,), window=4))
CONV = replace(TOY, encoder=ConvConfig(widths=(8, 8, 16, 16), depths=(1, 1, 1, 1)))
TINY_VIT = replace(
    TOY,
    canvas=64,
    encoder=TinyViTConfig(widths=(8, 16, 16, 32), depths=(1, 1, 1, 1), heads=(1, 2, 2, 2), windows=(2, 2, 4, 2)),
)


def lively(module: torch.nn.Module) -> None:
    """Position tables start at zero; here they shall matter."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "pos" in name:
                parameter.normal_(std=0.5)


@pytest.mark.parametrize("config", [VIT, CONV, TINY_VIT], ids=["vit", "conv", "tiny_vit"])
def test_hidden_pixels_change_nothing(config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = MaskedAutoencoder(config, width=16, depth=1, heads=2).eval()
    lively(model)
    side = config.canvas
    pixels = torch.randn(2, 3, side, side)
    visible = random_visible(torch.rand(2, side // 32, side // 32), 0.75, 2, "cpu")
    hidden = ~visible.repeat_interleave(16, 1).repeat_interleave(16, 2).unsqueeze(1)
    other = torch.where(hidden, torch.randn_like(pixels), pixels)
    assert not torch.equal(pixels, other)
    painted = model(pixels, visible)
    assert painted.shape == (2, side // 16, side // 16, 3 * 16 * 16)
    torch.testing.assert_close(model(other, visible), painted)
    shown = torch.where(hidden, pixels, pixels + 1)
    assert not torch.allclose(model(shown, visible), painted)


def test_with_everything_visible_tokens_are_the_trunk() -> None:
    torch.manual_seed(0)
    encoder = ImageEncoderViT(VIT.encoder, VIT.canvas, VIT.width)  # type: ignore[arg-type]
    lively(encoder)
    pixels = torch.randn(2, 3, VIT.canvas, VIT.canvas)
    everything = torch.ones(2, VIT.grid, VIT.grid, dtype=torch.bool)
    expected = encoder.trunk(pixels).flatten(2).transpose(1, 2)
    torch.testing.assert_close(visible_tokens(encoder, pixels, everything), expected)


def test_windowed_blocks_see_their_own_window_alone() -> None:
    torch.manual_seed(0)
    config = ViTConfig(width=32, depth=2, heads=2, global_blocks=(), window=4)
    encoder = ImageEncoderViT(config, TOY.canvas, TOY.width)
    lively(encoder)
    visible = torch.zeros(1, 8, 8, dtype=torch.bool)
    visible[0, [0, 1, 6], [1, 2, 6]] = True
    pixels = torch.randn(1, 3, TOY.canvas, TOY.canvas)
    other = pixels.clone()
    other[..., 6 * 16 :, 6 * 16 :] += 1
    a, b = visible_tokens(encoder, pixels, visible), visible_tokens(encoder, other, visible)
    torch.testing.assert_close(a[:, :2], b[:, :2])
    assert not torch.allclose(a[:, 2], b[:, 2])


def test_patches_and_pixels_are_each_others_opposite() -> None:
    pixels = torch.randn(2, 3, 32, 48)
    patches = patches_of(pixels, 16)
    assert patches.shape == (2, 2, 3, 768)
    assert torch.equal(pixels_of(patches, 16), pixels)
    mean, deviation = patch_statistics(patches)
    normal = (patches - mean) / deviation
    torch.testing.assert_close(normal.mean(dim=-1), torch.zeros(2, 2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.std(dim=-1), torch.ones(2, 2, 3), atol=1e-3, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.floats(0.1, 0.9), st.sampled_from([1, 2]), st.integers(0, 100))
def test_the_same_number_of_units_is_hidden_everywhere(side: int, share: float, unit: int, seed: int) -> None:
    keys = torch.rand(3, side, side, generator=torch.Generator().manual_seed(seed))
    visible = random_visible(keys, share, unit, "cpu")
    assert visible.shape == (3, side * unit, side * unit)
    counts = visible.flatten(1).sum(dim=1)
    assert (counts == max(1, side**2 - round(share * side**2)) * unit**2).all()
    units = visible.unflatten(1, (side, unit)).unflatten(3, (side, unit))
    assert torch.equal(units.all(dim=4).all(dim=2), units.any(dim=4).any(dim=2))


def test_positions_go_to_another_canvas() -> None:
    small = ImageEncoderViT(VIT.encoder, 64, VIT.width)  # type: ignore[arg-type]
    large = ImageEncoderViT(VIT.encoder, 128, VIT.width)  # type: ignore[arg-type]
    lively(small)
    given: dict[str, Tensor] = small.state_dict()
    moved = resized_positions(given, large.state_dict())
    large.load_state_dict(moved)
    windowed = "blocks.0.attn.rel_pos_h"
    assert torch.equal(moved[windowed], given[windowed])
    whole = moved["blocks.1.attn.rel_pos_h"]
    assert len(whole) == 15
    torch.testing.assert_close(whole[7], given["blocks.1.attn.rel_pos_h"][3])
    constant = {**given, "pos_embed": torch.full_like(given["pos_embed"], 0.25)}
    torch.testing.assert_close(
        resized_positions(constant, large.state_dict())["pos_embed"], torch.full((1, 8, 8, 32), 0.25)
    )
