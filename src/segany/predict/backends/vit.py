"""The released models' image encoder, arranged for prediction.

B images · S grid side · N = S·S tokens · C channels · D channels per head · w window side · G = batch · heads

The same sums as `modeling.vit`, in another order: linear layers run on real tokens only (a window's padding has the
bias as its projection), the position bias is read out of one product with the whole table, and global attention goes
in strips that stay in the cache, so that neither the N × N logits nor their bias ever exist as a whole. The blocks'
linear layers can be had in 8-bit integers.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from segany.modeling.layers import LayerNorm2d
from segany.modeling.vit import Attention, Block, ImageEncoderViT
from segany.predict.backends.int8 import Int8Linear, balance, int8_linear
from segany.predict.backends.linear import Linear, Norm, linear, norm_of

STRIP_ELEMENTS = 2**20
"""Attention logits held at once on a CPU: about what a core's own cache takes. Changes no result."""
MAX_BIAS_ELEMENTS = 2**25
"""Largest position bias held at once on a GPU."""
INT8_TOKENS = 512
"""Tokens that go through an 8-bit MLP at once, and share the scales of its inputs."""


def position_views(q: Tensor, table: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Both halves of the logit bias as views of one product; nothing is gathered.

    A query in row i needs entries (j − i) + side − 1 of the mirrored row table for key rows j: a run of `side`
    neighbours whose start moves back by one from row to row, which strides can say. Columns likewise.

    Args:
        q: (G, side·side, D), unscaled.
        table: (2·(2·side − 1), D): the row table mirrored, then the column table mirrored.
        side: of the grid.

    Returns:
        (G, side, side, side, 1) against key rows and (G, side, side, 1, side) against key columns.
    """
    reach = 2 * side - 1
    terms = torch.matmul(q, table.T)
    each, token = side * side * 2 * reach, 2 * reach
    shape, start = (len(q), side, side), terms.storage_offset() + side - 1
    rows = terms.as_strided((*shape, side, 1), (each, side * token - 1, token, 1, 1), start)
    columns = terms.as_strided((*shape, 1, side), (each, side * token, token - 1, 1, 1), start + reach)
    return rows, columns


def mirrored_table(attention: Attention) -> Tensor:
    """Both position tables as `position_views` wants them."""
    return torch.cat([attention.rel_pos_h.detach().flip(0), attention.rel_pos_w.detach().flip(0)])


def whole_attention(qkv: Tensor, table: Tensor) -> Tensor:
    """Attention over the whole grid: (B, S, S, 3, heads, D) → (B·N, C)."""
    batch, side, _, _, heads, depth = qkv.shape
    q, k, v = qkv.permute(3, 0, 4, 1, 2, 5).contiguous().view(3, batch * heads, side * side, depth).unbind(0)
    rows, columns = position_views(q, table, side)
    attend = _attend_by_strips if qkv.device.type == "cpu" else _attend_fused
    out = attend(q, k, v, rows, columns)
    return out.view(batch, heads, side * side, depth).transpose(1, 2).reshape(batch * side * side, heads * depth)


def _attend_by_strips(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(G, N, D) each → (G, N, D); one head and a few grid rows of queries at a time."""
    _, tokens, depth = q.shape
    side = rows.shape[1]
    step = max(1, STRIP_ELEMENTS * torch.get_num_threads() // (side * tokens))
    k = k * depth**-0.5
    out = torch.empty_like(q)
    for head in range(len(q)):
        for top in range(0, side, step):
            strip = slice(top * side, min(top + step, side) * side)
            logits = (rows[head, top : top + step] + columns[head, top : top + step]).view(-1, tokens)
            logits.addmm_(q[head, strip], k[head].T)
            torch.mm(torch.softmax(logits, dim=-1, out=logits), v[head], out=out[head, strip])
    return out


def _attend_fused(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The same with the device's fused kernels."""
    groups, tokens, _ = q.shape
    side = rows.shape[1]
    step = max(1, MAX_BIAS_ELEMENTS // (groups * side * tokens))
    parts = []
    for top in range(0, side, step):
        bias = (rows[:, top : top + step] + columns[:, top : top + step]).flatten(3).flatten(1, 2)
        part = functional.scaled_dot_product_attention(
            q[None, :, top * side : (top + step) * side], k[None], v[None], attn_mask=bias[None]
        )
        parts.append(part[0])
    return torch.cat(parts, dim=1)


def window_attention(qkv: Tensor, padding: Tensor, table: Tensor, window: int) -> Tensor:
    """Attention inside windows: (B, S, S, 3, heads, D) → (B·N, C).

    Args:
        qkv: projections of the real tokens.
        padding: (3, heads, D), the projection of a padded token, which is zero: the layer's bias.
        table: mirrored position tables of the window.
        window: w.
    """
    batch, side, _, _, heads, depth = qkv.shape
    across = -(-side // window)
    step = 1 if qkv.device.type == "cpu" else across
    out = qkv.new_empty(batch, across * window, across * window, heads, depth)
    for top in range(0, across, step):
        strip = slice(top * window, (top + step) * window)
        real = qkv[:, strip]
        padded = qkv.new_empty(batch, step * window, across * window, 3, heads, depth)
        padded[:, : real.shape[1], :side] = real
        padded[:, real.shape[1] :] = padding
        padded[:, : real.shape[1], side:] = padding
        cut = padded.view(batch, step, window, across, window, 3, heads, depth).permute(5, 0, 1, 3, 6, 2, 4, 7)
        attended = _attend_in_windows(cut, table)
        pasted = attended.view(batch, step, across, heads, window, window, depth).permute(0, 1, 4, 2, 5, 3, 6)
        out[:, strip].view(batch, step, window, across, window, heads, depth).copy_(pasted)
    return out[:, :side, :side].reshape(batch * side * side, heads * depth)


def _attend_in_windows(cut: Tensor, table: Tensor) -> Tensor:
    """(3, …, heads, w, w, D) → (G, w·w, D), G over everything between.

    The position bias joins the product: queries carry their row and column terms as further channels, keys the
    matching unit vectors.
    """
    window, depth = cut.shape[-2:]
    groups, channels = cut[0].numel() // (window * window * depth), depth + 2 * window
    q, k = (cut.new_empty(groups, window, window, channels) for _ in range(2))
    q[..., :depth].view(cut.shape[1:]).copy_(cut[0])
    torch.mul(cut[1], depth**-0.5, out=k[..., :depth].view(cut.shape[1:]))
    unit = torch.eye(window, dtype=cut.dtype, device=cut.device)
    k[..., depth : depth + window] = unit[:, None]
    k[..., depth + window :] = unit
    rows, columns = position_views(q.flatten(1, 2)[..., :depth], table, window)
    q[..., depth : depth + window] = rows[..., 0]
    q[..., depth + window :] = columns[..., 0, :]
    logits = torch.bmm(q.flatten(1, 2), k.flatten(1, 2).transpose(1, 2))
    return torch.bmm(torch.softmax(logits, dim=-1, out=logits), cut[2].reshape(groups, window * window, depth))


class PreparedBlock:
    """A transformer block over (B·N, C) tokens.

    Args:
        block: in float32.
        side: S.
        dtype: precision of everything but 8-bit layers.
        int8: have all linear layers but the attention's last in 8 bits, on a CPU. That one is the smallest, and what
            it would gain is not worth its share of the error.
    """

    def __init__(self, block: Block, side: int, dtype: torch.dtype, *, int8: bool = False) -> None:
        attention, mlp = block.attn, block.mlp
        self.side, self.window, self.heads, self.dtype, self.int8 = side, block.window, attention.heads, dtype, int8
        self.norm1, self.qkv = self._pair(block.norm1, attention.qkv)
        self.norm2, self.lin1 = self._pair(block.norm2, mlp.lin1)
        self.proj, self.lin2 = linear(attention.proj, dtype, rows=side * side), self._linear(mlp.lin2)
        self.attention = attention

    def _linear(self, layer: nn.Linear) -> Linear | Int8Linear:
        rows = self.side * self.side
        return int8_linear(layer, self.dtype, rows=rows) if self.int8 else linear(layer, self.dtype, rows=rows)

    def _pair(self, norm: nn.Module, layer: nn.Linear) -> tuple[Norm, Linear | Int8Linear]:
        """A normalisation and the layer behind it."""
        if not self.int8:
            return norm_of(norm, self.dtype), self._linear(layer)
        factors = balance(norm, layer)
        weight, bias, eps = norm_of(norm, torch.float32)
        balanced = (weight / factors).to(self.dtype), (bias / factors).to(self.dtype), eps
        return balanced, int8_linear(layer, self.dtype, rows=self.side * self.side, factors=factors)

    def __call__(self, x: Tensor, batch: int) -> Tensor:
        """(B·N, C) → (B·N, C)."""
        normed = functional.layer_norm(x, x.shape[1:], *self.norm1)
        x = self.proj.add(self._attend(self.qkv(normed), batch), x)
        return torch.cat([self._mlp(part) for part in torch.split(x, INT8_TOKENS)]) if self.int8 else self._mlp(x)

    def _mlp(self, x: Tensor) -> Tensor:
        normed = functional.layer_norm(x, x.shape[1:], *self.norm2)
        return self.lin2.add(self.lin1.gelu(normed), x)

    def _attend(self, projected: Tensor, batch: int) -> Tensor:
        qkv = projected.view(batch, self.side, self.side, 3, self.heads, -1)
        table = mirrored_table(self.attention).to(self.dtype)
        if not self.window:
            return whole_attention(qkv, table)
        padding = self.attention.qkv.bias.detach().to(self.dtype).view(3, self.heads, -1)
        return window_attention(qkv, padding, table, self.window)


class PreparedViT:
    """An encoder of ViT-B, ViT-L or ViT-H for prediction on its own canvas.

    In float32 it shares the module's parameters; in another precision it holds a copy of them.

    Args:
        encoder: on the device it will run on.
        dtype: precision of the weights and of everything up to the last normalisation.
        int8: have the blocks' linear layers in 8 bits (all but `proj`), on a CPU with `int8.missing_int8() is None`.
    """

    def __init__(self, encoder: ImageEncoderViT, dtype: torch.dtype, *, int8: bool = False) -> None:
        self.dtype, self.patch = dtype, encoder.patch_size
        self.side = encoder.img_size // encoder.patch_size
        rows = self.side * self.side
        self.embed = linear(encoder.patch_embed.proj, dtype, rows=rows)
        self.positions = encoder.pos_embed.detach().to(dtype).flatten(0, 2)
        self.blocks = [PreparedBlock(cast(Block, block), self.side, dtype, int8=int8) for block in encoder.blocks]
        narrow, norm, wide, last = encoder.neck
        self.narrow = linear(cast(nn.Conv2d, narrow), dtype, rows=rows)
        self.norm, self.last = cast(LayerNorm2d, norm), last
        self.wide = cast(nn.Conv2d, wide).weight.detach().to(dtype, memory_format=torch.channels_last)

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, 3, canvas, canvas) normalised pixels → (B, out_channels, S, S) float32."""
        if pixels.device.type != "cpu":
            return self._embed(pixels)
        return torch.cat([self._embed(one) for one in torch.split(pixels, 1)])

    def _embed(self, pixels: Tensor) -> Tensor:
        batch, side, patch = len(pixels), self.side, self.patch
        cells = pixels.to(self.dtype).reshape(batch, 3, side, patch, side, patch).permute(0, 2, 4, 1, 3, 5)
        x = self.embed.add(cells.reshape(batch * side * side, -1), self.positions.repeat(batch, 1))
        for block in self.blocks:
            x = block(x, batch)
        x = self.narrow(x).float()
        x = functional.layer_norm(x, x.shape[1:], self.norm.weight, self.norm.bias, self.norm.eps)
        features = x.to(self.dtype).view(batch, side, side, -1).permute(0, 3, 1, 2)
        out: Tensor = self.last(functional.conv2d(features, self.wide, padding=1).float())
        return out.contiguous()
