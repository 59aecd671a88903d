"""The ViT encoder's own promises; its numbers are compared in tests/parity."""

from __future__ import annotations

import pytest
import torch

from segany.core.errors import ImageError
from segany.modeling import vit
from segany.modeling.config import ViTConfig

CONFIG = ViTConfig(width=24, depth=2, heads=3, global_blocks=(1,), window=3, patch=8)


def encoder(**options: bool) -> vit.ImageEncoderViT:
    torch.manual_seed(0)
    made = vit.ImageEncoderViT(CONFIG, 64, 16, **options)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3)
    return made


def test_windows_come_back_as_they_were() -> None:
    grid = torch.arange(2 * 7 * 5 * 3).reshape(2, 7, 5, 3)
    windows, padded_hw = vit.window_partition(grid, 4)
    assert windows.shape == (2 * 2 * 2, 4, 4, 3)
    assert padded_hw == (8, 8)
    assert torch.equal(windows[0], grid[0, :4, :4])
    assert torch.equal(windows[1, :, :1], grid[0, :4, 4:])
    assert not windows[1, :, 1:].any()
    assert torch.equal(vit.window_unpartition(windows, padded_hw, (7, 5)), grid)


def test_relative_position_is_query_minus_key() -> None:
    attention = vit.Attention(width=4, heads=1, size=3)
    with torch.no_grad():
        attention.rel_pos_h.copy_(torch.arange(5.0)[:, None].expand(5, 4))
        attention.rel_pos_w.zero_()
    q = torch.full((1, 1, 3, 3, 4), 0.25)
    rows, columns = attention.position_terms(q)
    # row 2 looking at row 0 is 2 below it: table entry 2 + 3 - 1
    assert rows[0, 0, 2, 1].tolist() == [4.0, 3.0, 2.0]
    assert rows[0, 0, 0, 1].tolist() == [2.0, 1.0, 0.0]
    assert not columns.any()


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.randn(2, 3, 64, 64)
    whole = encoder()(pixels)
    monkeypatch.setattr(vit, "MAX_BIAS_ELEMENTS", 1)
    assert torch.allclose(encoder()(pixels), whole, atol=1e-5)


def test_every_parameter_learns() -> None:
    made = encoder()
    made(torch.randn(1, 3, 64, 64)).square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_other_canvas_is_refused() -> None:
    with pytest.raises(ImageError, match=r"64 x 64 pixels; got 96 x 64.*interpolate_positions"):
        encoder()(torch.zeros(1, 3, 96, 64))


def test_other_canvas_when_built_for_it() -> None:
    made = encoder(interpolate_positions=True)
    assert made(torch.randn(1, 3, 96, 40)).shape == (1, 16, 12, 5)
    with pytest.raises(ImageError, match="multiples of the patch size 8; got 60 x 64"):
        made(torch.zeros(1, 3, 60, 64))


def test_interpolation_leaves_the_own_canvas_alone() -> None:
    pixels = torch.randn(1, 3, 64, 64)
    assert torch.equal(encoder(interpolate_positions=True)(pixels), encoder()(pixels))


def test_buffers_stay_out_of_checkpoints() -> None:
    assert not [key for key in encoder().state_dict() if "relative_index" in key]
