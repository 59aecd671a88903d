"""TinyViT: layout and the details the layout hides, against a slow spelled-out computation."""

from __future__ import annotations

import torch

from segany.modeling.config import TinyViTConfig
from segany.modeling.tiny_vit import Attention, TinyViT, TinyViTBlock

SMALL = TinyViTConfig(widths=(8, 12, 16, 20), depths=(1, 1, 2, 1), heads=(2, 2, 2, 2), windows=(3, 3, 5, 3), classes=7)


def test_grid_is_a_sixteenth() -> None:
    made = TinyViT(SMALL, 64, 6).eval()
    assert made(torch.randn(2, 3, 64, 64)).shape == (2, 6, 4, 4)


def test_trains() -> None:
    made = TinyViT(SMALL, 64, 6).train()
    made(torch.randn(2, 3, 64, 64)).square().sum().backward()
    still = {name for name, parameter in made.named_parameters() if parameter.grad is None}
    assert still == {"norm_head.weight", "norm_head.bias", "head.weight", "head.bias"}


def test_bias_depends_on_absolute_offsets() -> None:
    attention = Attention(width=4, heads=1, window=3)
    index = attention.attention_bias_idxs
    # place 1 is (row 0, column 1), place 6 is (row 2, column 0): 2 rows and 1 column apart
    assert index[1, 6] == index[6, 1] == 2 * 3 + 1
    assert index.shape == (9, 9)
    assert index.max() == 8


def test_attention_is_laid_out_per_head() -> None:
    torch.manual_seed(0)
    attention = Attention(width=6, heads=2, window=2)
    torch.nn.init.normal_(attention.attention_biases)
    x = torch.randn(1, 4, 6)
    with torch.no_grad():
        flat = attention.qkv(attention.norm(x))[0]
        out = []
        for head in range(2):
            q, k, v = flat[:, head * 9 : head * 9 + 9].split(3, dim=1)
            logits = q @ k.T / 3**0.5 + attention.attention_biases[head][attention.attention_bias_idxs]
            out.append(logits.softmax(-1) @ v)
        expected = attention.proj(torch.cat(out, dim=1))
        assert torch.allclose(attention(x)[0], expected, atol=1e-6)


def test_padding_takes_part_through_the_norm() -> None:
    """Padded places become the norm's bias, not zero, and are attended to."""
    torch.manual_seed(0)
    block = TinyViTBlock(width=4, heads=1, window=3, mlp_ratio=2.0).eval()
    x = torch.randn(1, 4, 4, 4)
    with torch.no_grad():
        before = block(x)
        block.attn.norm.bias.add_(torch.randn(4))
        block.attn.qkv.weight[8:].zero_()
        block.attn.qkv.bias[8:].zero_()
        block.attn.proj.bias.zero_()
        silent = block(x)
    # with values zeroed the attention adds nothing, so only the convolution and the MLP are left
    with torch.no_grad():
        grid = block.local_conv(x).permute(0, 2, 3, 1)
        expected = (grid + block.mlp(grid)).permute(0, 3, 1, 2)
    assert torch.allclose(silent, expected, atol=1e-6)
    assert not torch.allclose(before, silent, atol=1e-3)
