"""TinyViT-5M as the MobileSAM files lay it out.

The architecture and key names follow the published description; the numbers have not been compared with the
original implementation, which is why callers are told "numerics not yet verified".

B images · H×W grid · C channels · h heads · w window side · D channels per head
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from segany.modeling.config import TinyViTConfig
from segany.modeling.layers import LayerNorm2d, ResidualBlock
from segany.modeling.vit import window_partition, window_unpartition


class ConvNorm(nn.Module):
    """Convolution without bias, then batch norm; keys `c`, `bn`."""

    def __init__(self, inside: int, outside: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(self.c(x))
        return out


class PatchEmbed(nn.Module):
    """Two strided convolutions: (B, 3, S, S) → (B, C, S/4, S/4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(3, width // 2, 3, stride=2), nn.GELU(), ConvNorm(width // 2, width, 3, stride=2)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        out: Tensor = self.seq(pixels)
        return out


class MBConv(nn.Module):
    """Inverted bottleneck; the residual joins before the last activation."""

    def __init__(self, width: int, expand: int) -> None:
        super().__init__()
        hidden = width * expand
        self.conv1 = ConvNorm(width, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.gelu(self.conv2(functional.gelu(self.conv1(x))))
        return functional.gelu(x + self.conv3(inner))


class PatchMerging(nn.Module):
    """Change the width and, with stride 2, halve the grid."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inside, outside)
        self.conv2 = ConvNorm(outside, outside, 3, stride=stride, groups=outside)
        self.conv3 = ConvNorm(outside, outside)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv3(functional.gelu(self.conv2(functional.gelu(self.conv1(x)))))
        return out


class Attention(nn.Module):
    """Window attention with its own norm and one learned bias per head and absolute offset."""

    attention_bias_idxs: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        self.register_buffer("attention_bias_idxs", _offset_index(window), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, w·w, C) → (B, w·w, C)."""
        batch, places, _ = x.shape
        per_head = self.qkv(self.norm(x)).reshape(batch, places, self.heads, 3, -1)
        q, k, v = per_head.permute(3, 0, 2, 1, 4).unbind(0)
        bias = self.attention_biases[:, self.attention_bias_idxs].unsqueeze(0).to(q.dtype)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return out


def _offset_index(window: int) -> Tensor:
    """(w·w, w·w) column of the bias table for two places of a window: |Δrow| · w + |Δcolumn|."""
    places = torch.arange(window)
    rows, columns = places.repeat_interleave(window), places.repeat(window)
    return (rows[:, None] - rows[None]).abs() * window + (columns[:, None] - columns[None]).abs()


class MLP(nn.Module):
    """Norm, linear, GELU, linear; keys `norm`, `fc1`, `fc2`."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(self.norm(x))))
        return out


class TinyViTBlock(ResidualBlock):
    """Window attention, depthwise convolution, MLP; padding comes before the attention's norm, unmasked."""

    def __init__(self, width: int, heads: int, window: int, mlp_ratio: float) -> None:
        super().__init__()
        self.window = window
        self.attn = Attention(width, heads, window)
        self.mlp = MLP(width, int(width * mlp_ratio))
        self.local_conv = ConvNorm(width, width, 3, groups=width)

    def body(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        grid = x.permute(0, 2, 3, 1)
        windows, padded_hw = window_partition(grid, self.window)
        attended = self.attn(windows.flatten(1, 2)).reshape(windows.shape)
        grid = grid + self.thinned(window_unpartition(attended, padded_hw, (grid.shape[1], grid.shape[2])))
        grid = self.local_conv(grid.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: Tensor = (grid + self.thinned(self.mlp(grid))).permute(0, 3, 1, 2)
        return out


class Stage(nn.Module):
    """Blocks, then, for all stages but the last, a merging; keys `blocks`, `downsample`."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.downsample(x)
        return out


class TinyViT(nn.Module):
    """Image encoder of MobileSAM; numerics not yet verified against the original.

    Args:
        config: sizes.
        canvas: side of the square input, in pixels.
        out_channels: channels of the image embedding.

    Source: TinyViT (arXiv 2207.10666), MobileSAM (arXiv 2306.14289).
    """

    def __init__(self, config: TinyViTConfig, canvas: int, out_channels: int) -> None:
        super().__init__()
        self.img_size = canvas
        self.patch_embed = PatchEmbed(config.widths[0])
        self.layers = nn.ModuleList(_stage(config, index) for index in range(len(config.widths)))
        self.norm_head = nn.LayerNorm(config.widths[-1])
        self.head = nn.Linear(config.widths[-1], config.classes)
        self.neck = nn.Sequential(
            nn.Conv2d(config.widths[-1], out_channels, kernel_size=1, bias=False),
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels → (B, out_channels, S/16, S/16)."""
        embedding: Tensor = self.neck(self.trunk(pixels))
        return embedding

    def trunk(self, pixels: Tensor) -> Tensor:
        """Everything before the neck: (B, 3, S, S) → (B, widths[-1], S/16, S/16)."""
        x: Tensor = self.patch_embed(pixels)
        for layer in self.layers:
            x = layer(x)
        return x


def _stage(config: TinyViTConfig, index: int) -> Stage:
    width, depth = config.widths[index], config.depths[index]
    if index == 0:
        blocks: list[nn.Module] = [MBConv(width, config.expand) for _ in range(depth)]
    else:
        blocks = [
            TinyViTBlock(width, config.heads[index], config.windows[index], config.mlp_ratio) for _ in range(depth)
        ]
    last = index == len(config.widths) - 1
    if last:
        return Stage(blocks, nn.Identity())
    # the merging into the last stage keeps the grid, so the embedding stays at stride 16
    stride = 1 if index == len(config.widths) - 2 else 2
    return Stage(blocks, PatchMerging(width, config.widths[index + 1], stride))
