"""The released models' image encoder: a plain Vision Transformer with windowed and global attention.

B images · H×W grid of tokens, N = H·W · S grid side a layer was built for · C channels · D channels per head
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from segany.core.errors import ImageError
from segany.modeling.config import ViTConfig
from segany.modeling.layers import LayerNorm2d, ResidualBlock

MAX_BIAS_ELEMENTS = 2**25
"""Largest position bias held at once; queries are taken in strips of grid rows so that it fits."""


class PatchEmbed(nn.Module):
    """Non-overlapping patches, projected: (B, 3, h, w) pixels → (B, H, W, C)."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch, stride=patch)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens: Tensor = self.proj(pixels)
        return tokens.permute(0, 2, 3, 1)


class MLPBlock(nn.Module):
    """Linear, exact GELU, linear; keys `lin1`, `lin2`."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lin2(functional.gelu(self.lin1(x)))
        return out


class Attention(nn.Module):
    """Self-attention over a grid with decomposed relative positions.

    Args:
        width: C.
        heads: attention heads.
        size: S, the grid side (a window's, or the whole grid's) that the position tables are made for.

    Source: spec of the released encoders; decomposed positions are MViTv2's (arXiv 2112.01526).
    """

    relative_index: Tensor

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, width // heads))
        self.register_buffer("relative_index", _relative_index(size), persistent=False)

    def _relative(self, table: Tensor, size: int) -> Tensor:
        """(size, size, D) position vectors of query row or column i against key j."""
        if size == len(self.relative_index):
            return table[self.relative_index]
        resized = functional.interpolate(table.T.unsqueeze(0), size=2 * size - 1, mode="linear").squeeze(0).T
        return resized[_relative_index(size, table.device)]

    def position_terms(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Both halves of the logit bias; q enters unscaled, as the released weights expect.

        Args:
            q: (B, heads, H, W, D).

        Returns:
            (B, heads, H, W, H) against key rows and (B, heads, H, W, W) against key columns.
        """
        height, width = q.shape[2:4]
        rows = torch.einsum("bnhwd,hkd->bnhwk", q, self._relative(self.rel_pos_h, height))
        columns = torch.einsum("bnhwd,wkd->bnhwk", q, self._relative(self.rel_pos_w, width))
        return rows, columns

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) → (B, H, W, C)."""
        batch, height, width, _ = x.shape
        per_head = self.qkv(x).reshape(batch, height, width, 3, self.heads, -1)
        q, k, v = per_head.permute(3, 0, 4, 1, 2, 5).unbind(0)
        rows, columns = self.position_terms(q)
        k, v = k.flatten(2, 3), v.flatten(2, 3)
        strip = max(1, MAX_BIAS_ELEMENTS // (batch * self.heads * width * height * width))
        strips = [slice(top, top + strip) for top in range(0, height, strip)]
        parts = [_attend(q[:, :, at], k, v, rows[:, :, at], columns[:, :, at]) for at in strips]
        attended = torch.cat(parts, dim=2)
        out: Tensor = self.proj(attended.permute(0, 2, 3, 1, 4).flatten(3))
        return out


def _attend(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """q (B, heads, h, W, D) of some grid rows over k, v (B, heads, N, D) of all → (B, heads, h, W, D)."""
    bias = (rows.unsqueeze(-1) + columns.unsqueeze(-2)).flatten(4).flatten(2, 3)
    attended = functional.scaled_dot_product_attention(q.flatten(2, 3), k, v, attn_mask=bias)
    return attended.reshape(q.shape)


def _relative_index(size: int, device: torch.device | None = None) -> Tensor:
    """(size, size) row of a position table for query i and key j: i − j + size − 1."""
    places = torch.arange(size, device=device)
    return places[:, None] - places[None, :] + (size - 1)


def window_partition(x: Tensor, window: int) -> tuple[Tensor, tuple[int, int]]:
    """Cut a grid into windows, zero-padded at the bottom and right.

    Args:
        x: (B, H, W, C).
        window: side of a window, in tokens.

    Returns:
        (B · windows, window, window, C) and the padded (H, W).
    """
    height, width = x.shape[1:3]
    x = functional.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    batch, padded_height, padded_width, channels = x.shape
    x = x.reshape(batch, padded_height // window, window, padded_width // window, window, channels)
    return x.transpose(2, 3).flatten(0, 2), (padded_height, padded_width)


def window_unpartition(windows: Tensor, padded_hw: tuple[int, int], size_hw: tuple[int, int]) -> Tensor:
    """Put windows back together and cut the padding off: (B, H, W, C)."""
    _, window, _, channels = windows.shape
    grid = windows.reshape(-1, padded_hw[0] // window, padded_hw[1] // window, window, window, channels)
    grid = grid.transpose(2, 3).reshape(-1, *padded_hw, channels)
    return grid[:, : size_hw[0], : size_hw[1]]


class Block(ResidualBlock):
    """Pre-norm transformer block; `window` 0 attends over the whole grid.

    Padding happens after `norm1` and takes part in attention unmasked: the released weights were trained so.
    """

    def __init__(self, config: ViTConfig, grid: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.attn = Attention(config.width, config.heads, window or grid)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.mlp = MLPBlock(config.width, int(config.width * config.mlp_ratio))

    def body(self, x: Tensor) -> Tensor:
        """(B, H, W, C) → (B, H, W, C)."""
        normed = self.norm1(x)
        if self.window:
            windows, padded_hw = window_partition(normed, self.window)
            attended = window_unpartition(self.attn(windows), padded_hw, (x.shape[1], x.shape[2]))
        else:
            attended = self.attn(normed)
        x = x + self.thinned(attended)
        out: Tensor = x + self.thinned(self.mlp(self.norm2(x)))
        return out


class ImageEncoderViT(nn.Module):
    """Image encoder of ViT-B, ViT-L and ViT-H, under the official module names.

    Args:
        config: sizes.
        canvas: side of the square input the position tables are made for, in pixels.
        out_channels: channels of the image embedding.
        interpolate_positions: accept other input sizes by interpolating positions; the reference does not.

    Source: Segment Anything (arXiv 2304.02643), image encoder; ViTDet (arXiv 2203.16527).
    """

    def __init__(
        self, config: ViTConfig, canvas: int, out_channels: int, *, interpolate_positions: bool = False
    ) -> None:
        super().__init__()
        self.img_size = canvas
        self.patch_size = config.patch
        self.interpolate_positions = interpolate_positions
        grid = canvas // config.patch
        self.patch_embed = PatchEmbed(config.patch, config.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, config.width))
        self.blocks = nn.ModuleList(
            Block(config, grid, 0 if index in config.global_blocks else config.window) for index in range(config.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(config.width, out_channels, kernel_size=1, bias=False),
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )

    def _positions(self, size_hw: tuple[int, int]) -> Tensor:
        if self.pos_embed.shape[1:3] == size_hw:
            return self.pos_embed
        channels_first = self.pos_embed.permute(0, 3, 1, 2)
        resized = functional.interpolate(channels_first, size_hw, mode="bicubic", align_corners=False)
        return resized.permute(0, 2, 3, 1)

    def _check(self, pixels: Tensor) -> None:
        height, width = pixels.shape[-2:]
        if not self.interpolate_positions and (height, width) != (self.img_size, self.img_size):
            raise ImageError(
                f"the encoder expects a canvas of {self.img_size} x {self.img_size} pixels; got {height} x "
                f"{width}. Resize and pad the photo to the model's canvas, or build the encoder with "
                "interpolate_positions=True."
            )
        if height % self.patch_size or width % self.patch_size:
            raise ImageError(
                f"input sides must be multiples of the patch size {self.patch_size}; got {height} x {width}. "
                "Pad the photo at the bottom and right."
            )

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed normalised, padded images.

        Args:
            pixels: (B, 3, S, S).

        Returns:
            (B, out_channels, S / patch, S / patch).

        Raises:
            ImageError: the input is not the canvas the encoder was built for.
        """
        embedding: Tensor = self.neck(self.trunk(pixels))
        return embedding

    def trunk(self, pixels: Tensor) -> Tensor:
        """Everything before the neck: (B, 3, S, S) → (B, width, S / patch, S / patch)."""
        self._check(pixels)
        x = self.patch_embed(pixels)
        x = x + self._positions((x.shape[1], x.shape[2]))
        for block in self.blocks:
            x = block(x)
        features: Tensor = x.permute(0, 3, 1, 2)
        return features
