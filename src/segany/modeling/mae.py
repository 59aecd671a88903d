"""Masked autoencoders: an image encoder that learns from photos alone, by completing what it is not shown.

Every kind of encoder is masked in its own way, and every weight that is learnt has its place in the promptable model:

- A plain ViT computes visible patches alone. Absolute positions are the encoder's own, taken at the visible patches.
  Attention keeps the window layout: in a windowed block a patch attends to the visible patches of its own window, in
  a global block to all, with the encoder's own relative positions, looked up by the true offsets. At the usual canvas
  of one window's side (14 patches, 224 pixels) both kinds of block see the same. Padding tokens of cut-off windows,
  which take part in prediction, do not exist here. `resized_positions` brings the position tables to the canvas of
  the promptable model, as ViTDet does. The neck is not trained.
- Encoders with convolutions (the embedded model's, TinyViT) compute the whole grid, with masked cells set to zero in
  the pixels and again after every stage, as a sparse convolution would leave them. All of the encoder is trained.

B images · H×W grid of cells · N visible cells · C channels · p side of a cell in pixels

Source: Masked autoencoders (arXiv 2111.06377); ViTDet (arXiv 2203.16527); for convolutions ConvNeXt V2
(arXiv 2301.00808).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from segany.modeling.build import build_encoder
from segany.modeling.config import ModelConfig, ViTConfig
from segany.modeling.conv import ConvBlock, ConvEncoder
from segany.modeling.tiny_vit import TinyViT
from segany.modeling.vit import Attention, Block, ImageEncoderViT

CONV_KERNEL = 7
"""Side of the decoder's depthwise kernels."""
EPS = 1e-6
"""Added to a patch's variance when its pixels are normalised."""


class MaskedAutoencoder(nn.Module):
    """Encoder, and a light decoder that paints the hidden cells from the visible ones.

    Args:
        config: of the promptable model, with the canvas to pre-train at.
        width: channels of the decoder.
        depth: its blocks.
        heads: its attention heads; convolutional encoders get a convolutional decoder without any.
    """

    def __init__(self, config: ModelConfig, *, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.config = config
        self.cell = config.encoder.stride
        self.image_encoder = build_encoder(config)
        transformer = isinstance(config.encoder, ViTConfig)
        inside = config.encoder.width if isinstance(config.encoder, ViTConfig) else config.width
        self.norm = nn.LayerNorm(inside, eps=1e-6)
        self.enter = nn.Linear(inside, width)
        self.hidden = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(
            _decoder_layer(width, heads) if transformer else ConvBlock(width, CONV_KERNEL, 4) for _ in range(depth)
        )
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3 * self.cell**2))
        nn.init.normal_(self.hidden, std=0.02)
        if isinstance(self.image_encoder, ImageEncoderViT):
            nn.init.trunc_normal_(self.image_encoder.pos_embed, std=0.02)

    def forward(self, pixels: Tensor, visible: Tensor) -> Tensor:
        """Paint every cell.

        Args:
            pixels: (B, 3, S, S) normalised.
            visible: (B, H, W) bool, as many True in every image.

        Returns:
            (B, H, W, 3·p·p) normalised pixels of every cell; those of visible cells mean nothing.
        """
        if isinstance(self.image_encoder, ImageEncoderViT):
            return self._paint_tokens(self.image_encoder, pixels, visible)
        if isinstance(self.image_encoder, ConvEncoder):
            embedding = _masked_conv(self.image_encoder, pixels, visible)
        else:
            embedding = _masked_tiny_vit(cast(TinyViT, self.image_encoder), pixels, visible)
        cells = self.enter(self.norm(embedding.permute(0, 2, 3, 1)))
        cells = torch.where(visible.unsqueeze(-1), cells, self.hidden.to(cells.dtype)).permute(0, 3, 1, 2)
        for layer in self.layers:
            cells = layer(cells)
        painted: Tensor = self.leave(cells.permute(0, 2, 3, 1))
        return painted

    def _paint_tokens(self, encoder: ImageEncoderViT, pixels: Tensor, visible: Tensor) -> Tensor:
        tokens = self.enter(self.norm(visible_tokens(encoder, pixels, visible)))
        batch, height, width = visible.shape
        grid = self.hidden.to(tokens.dtype).expand(batch, height * width, -1)
        index = visible_index(visible).unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        grid = grid.scatter(1, index, tokens)
        grid = grid + sine_positions(height, width, tokens.shape[-1], tokens.device)
        for layer in self.layers:
            grid = layer(grid)
        painted: Tensor = self.leave(grid).reshape(batch, height, width, -1)
        return painted


def _decoder_layer(width: int, heads: int) -> nn.Module:
    return nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )


def visible_index(visible: Tensor) -> Tensor:
    """(B, H, W) bool with N True each → (B, N) positions of the visible cells, row by row."""
    flat = visible.flatten(1)
    count = int(flat[0].sum())
    return flat.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :count]


def visible_tokens(encoder: ImageEncoderViT, pixels: Tensor, visible: Tensor) -> Tensor:
    """The trunk of a ViT over visible patches alone: (B, N, C).

    With every patch visible this is the trunk's own output, as long as windows tile the grid.
    """
    patches: Tensor = encoder.patch_embed(pixels)
    height, width = patches.shape[1:3]
    patches = (patches + encoder._positions((height, width))).flatten(1, 2)
    index = visible_index(visible)
    tokens: Tensor = patches.gather(1, index.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
    rows, columns = index // width, index % width
    for block in encoder.blocks:
        tokens = _visible_block(cast(Block, block), tokens, rows, columns)
    return tokens


def _visible_block(block: Block, tokens: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    if block.recompute and torch.is_grad_enabled():
        again: Tensor = checkpoint(_visible_body, block, tokens, rows, columns, use_reentrant=False)
        return again
    return _visible_body(block, tokens, rows, columns)


def _visible_body(block: Block, tokens: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    allowed: Tensor | None = None
    if block.window:
        down, right = rows // block.window, columns // block.window
        allowed = (down.unsqueeze(1) == down.unsqueeze(2)) & (right.unsqueeze(1) == right.unsqueeze(2))
    attended = _visible_attention(block.attn, block.norm1(tokens), rows, columns, allowed)
    tokens = tokens + block.thinned(attended)
    out: Tensor = tokens + block.thinned(block.mlp(block.norm2(tokens)))
    return out


def _visible_attention(attn: Attention, x: Tensor, rows: Tensor, columns: Tensor, allowed: Tensor | None) -> Tensor:
    """(B, N, C) → (B, N, C); `allowed` (B, N, N) says who sees whom, None lets all see all."""
    batch, count, _ = x.shape
    q, k, v = attn.qkv(x).reshape(batch, count, 3, attn.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    bias = _offsets(q, attn.rel_pos_h, rows) + _offsets(q, attn.rel_pos_w, columns)
    if allowed is not None:
        bias = bias.masked_fill(~allowed.unsqueeze(1), -torch.inf)
    attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
    out: Tensor = attn.proj(attended.transpose(1, 2).flatten(2))
    return out


def _offsets(q: Tensor, table: Tensor, places: Tensor) -> Tensor:
    """(B, heads, N, N) bias of queries against keys from one axis' relative positions.

    Offsets beyond the table (another window's, masked anyway) take its ends.
    """
    centre = len(table) // 2
    offset = (places.unsqueeze(2) - places.unsqueeze(1) + centre).clamp(0, len(table) - 1)
    every = q @ table.to(q.dtype).T
    return every.gather(-1, offset.unsqueeze(1).expand(-1, q.shape[1], -1, -1))


def _masked_conv(encoder: ConvEncoder, pixels: Tensor, visible: Tensor) -> Tensor:
    """(B, C, g, g) embedding with masked cells zeroed in the pixels and after every stage."""
    x = encoder.stem(_zeroed(pixels, visible))
    features = []
    for index, stage in enumerate(encoder.stages):
        x = _zeroed(x if index == 0 else encoder.downsample[index - 1](x), visible)
        if index == len(encoder.stages) - 1:
            x = _zeroed(encoder.look_around(x), visible)
        for block in cast(nn.Sequential, stage):
            x = _zeroed(block(x), visible)
        features.append(x)
    embedding: Tensor = encoder.neck(encoder.fuse(features))
    return embedding


def _masked_tiny_vit(encoder: TinyViT, pixels: Tensor, visible: Tensor) -> Tensor:
    """(B, C, g, g) embedding with masked cells zeroed in the pixels and after every stage."""
    x = _zeroed(encoder.patch_embed(_zeroed(pixels, visible)), visible)
    for layer in encoder.layers:
        x = _zeroed(layer(x), visible)
    embedding: Tensor = encoder.neck(x)
    return embedding


def _zeroed(x: Tensor, visible: Tensor) -> Tensor:
    """A (B, C, h, w) map with zeros in the hidden cells, whatever its stride."""
    if x.shape[-1] >= visible.shape[-1]:
        factor = x.shape[-1] // visible.shape[-1]
        keep = visible.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    else:
        factor = visible.shape[-1] // x.shape[-1]
        keep = visible[:, ::factor, ::factor]
    return x * keep.unsqueeze(1).to(x.dtype)


def random_visible(keys: Tensor, share_hidden: float, unit: int, device: torch.device | str) -> Tensor:
    """Which cells are visible: the same number in every image, hidden in square units.

    Args:
        keys: (B, H / unit, W / unit) random numbers.
        share_hidden: of the units.
        unit: side of a unit, in cells.
        device: where the answer is wanted.

    Returns:
        (B, H, W) bool.
    """
    flat = keys.flatten(1)
    count = max(1, flat.shape[1] - round(share_hidden * flat.shape[1]))
    seen = torch.zeros_like(flat, dtype=torch.bool)
    seen.scatter_(1, flat.argsort(dim=1)[:, :count], True)
    return seen.reshape(keys.shape).repeat_interleave(unit, 1).repeat_interleave(unit, 2).to(device)


def patches_of(pixels: Tensor, cell: int) -> Tensor:
    """(B, 3, S, S) → (B, H, W, 3·p·p), channels first inside a patch."""
    batch, channels, height, width = pixels.shape
    grid = pixels.reshape(batch, channels, height // cell, cell, width // cell, cell)
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(3)


def pixels_of(patches: Tensor, cell: int) -> Tensor:
    """The opposite of `patches_of`."""
    batch, height, width, _ = patches.shape
    grid = patches.reshape(batch, height, width, -1, cell, cell).permute(0, 3, 1, 4, 2, 5)
    return grid.flatten(4, 5).flatten(2, 3)


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every patch's own pixels, (B, H, W, 1) each."""
    mean = patches.mean(dim=-1, keepdim=True)
    return mean, (patches.var(dim=-1, keepdim=True) + EPS).sqrt()


def sine_positions(height: int, width: int, channels: int, device: torch.device | str) -> Tensor:
    """(H·W, C) fixed positions, half of the channels per axis.

    Source: Masked autoencoders (arXiv 2111.06377), sine-cosine positions.
    """
    quarter = channels // 4
    frequency = torch.exp(-math.log(10_000) / quarter * torch.arange(quarter, device=device))
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    angles = [place.flatten()[:, None] * frequency for place in (y, x)]
    waves = torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1)
    return functional.pad(waves, (0, channels - waves.shape[1]))


def resized_positions(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An encoder's weights with its position tables brought to another canvas; everything else as it is.

    Args:
        state: weights, by any names.
        wanted: tensors of the same names in the shapes they shall have.

    Source: ViTDet (arXiv 2203.16527): absolute positions bicubic, relative ones linear.
    """
    resized: dict[str, Tensor] = {}
    for name, tensor in state.items():
        shape = wanted[name].shape if name in wanted else tensor.shape
        kind = name.rpartition(".")[2]
        if tensor.shape != shape and kind == "pos_embed":
            grid = functional.interpolate(tensor.permute(0, 3, 1, 2), tuple(shape[1:3]), mode="bicubic")
            tensor = grid.permute(0, 2, 3, 1)
        elif tensor.shape != shape and kind in ("rel_pos_h", "rel_pos_w"):
            tensor = functional.interpolate(tensor.T.unsqueeze(0), size=shape[0], mode="linear").squeeze(0).T
        resized[name] = tensor.contiguous()
    return resized
