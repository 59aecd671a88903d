"""Image tokens of one photo as many prompts see them, without ever writing them out per prompt.

P prompts · T tokens · H heads · D channels per head · N image tokens · C channels · R rows, T · H for every update

An update adds to every image token what it attends to among a prompt's T tokens, then normalises. What it attends to
is a sum of T · H vectors, so after any number of updates the image tokens of a prompt are

    x = scale · (base + rowsᵀ @ weights) + offset

with `base` (N, C) the same for all prompts of a photo, `offset` (C,) the same for all photos, and only `scale` (N,),
`rows` (R, N) and `weights` (R, C) a prompt's own. Every product with x splits likewise; R is far below C.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


class Scratch:
    """Memory for intermediate results, by name, taken once and used again: asking the system anew costs more than
    the arithmetic. One call owns one."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """Contiguous memory of this shape, contents undefined; invalidates what was taken under the name before."""
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or len(kept) < size:
            kept = self._kept[name] = like.new_empty(size)
        return kept[:size].view(shape)


@dataclass(frozen=True, eq=False)
class Side:
    """One projection of the image side, for the scores of one attention.

    Attributes:
        base: (H, D, N) projected base of the photo; of the first layer, whole projected image tokens.
        position: (H, D, N) projected positions and constants, the same for all photos; None in the first layer.
        weight: (H · D, C) the projection, float32.
    """

    base: Tensor
    position: Tensor | None
    weight: Tensor


@dataclass(frozen=True, eq=False)
class Update:
    """What a photo prepares for one update of its image tokens.

    Attributes:
        norm: (N,) squared length of the centred base, float32.
        across: per update so far, (H, D, N) the centred base against that update's output projection.
        along: per update so far, (N,) the centred base against that update's constant, float32.
        gain: (C,) weight of the normalisation.
        eps: of the normalisation.
    """

    norm: Tensor
    across: tuple[Tensor, ...]
    along: tuple[Tensor, ...]
    gain: Tensor
    eps: float


@dataclass(frozen=True, eq=False)
class Mix:
    """A prompt's own part of its image tokens; see the module.

    Attributes:
        rows: (P, R, N) in the computing precision; R counts tokens, updates, heads, the last fastest.
        weights: (P, R, C) float32.
        scale: (P, N) float32.
        values: per update, (P, T, H, D) attended values in the computing precision.
        shares: per update, (P, N) float32: what its rows of one head sum to.
    """

    rows: Tensor
    weights: Tensor
    scale: Tensor
    values: tuple[Tensor, ...]
    shares: tuple[Tensor, ...]


def per_head(rows: Tensor, side: Tensor, out: Tensor) -> Tensor:
    """(P, T, H, D) times (H, D, N) → (P, T · H, N), in the precision of `side`.

    Args:
        rows: token side.
        side: image side.
        out: (P · T, H, N) memory for the result, any stride over its first axis.
    """
    prompts, tokens, heads, _ = rows.shape
    torch.bmm(rows.to(side.dtype).flatten(0, 1).transpose(0, 1), side, out=out.transpose(0, 1))
    return out.view(prompts, tokens * heads, -1) if out.is_contiguous() else out


def scores(rows: Tensor, side: Side, mix: Mix | None, scratch: Scratch) -> Tensor:
    """Products of (P, T, H, D) token-side vectors with every image token: (P, T · H, N) in scratch `a`."""
    prompts, tokens, heads, _ = rows.shape
    shape = (prompts * tokens, heads, side.base.shape[-1])
    out = per_head(rows, side.base, scratch.take("a", side.base, *shape))
    if mix is None or side.position is None:
        return out
    own = torch.unflatten(functional.linear(mix.weights, side.weight), -1, rows.shape[2:])
    out.baddbmm_(torch.einsum("pthd,prhd->pthr", rows, own).flatten(1, 2).to(out.dtype), mix.rows)
    position = per_head(rows, side.position, scratch.take("b", side.base, *shape))
    return torch.addcmul(position, out, mix.scale.to(out.dtype).unsqueeze(1), out=out)


def gather(attention: Tensor, base: Tensor, weight: Tensor, mix: Mix | None) -> Tensor:
    """Attention (P, T · H, N) over image tokens → their projected mean (P, T, H, D), float32, but for the offset.

    Args:
        attention: sums to 1 over N; overwritten.
        base: (H, D, N) projected base.
        weight: (H · D, C) the projection, float32.
        mix: the prompts' own part.
    """
    heads, width, _ = base.shape
    prompts = len(attention)
    if mix is not None:
        attention.mul_(mix.scale.to(attention.dtype).unsqueeze(1))
    by_head = torch.unflatten(attention, 1, (-1, heads)).flatten(0, 1).transpose(0, 1)
    out = torch.bmm(by_head, base.transpose(1, 2)).transpose(0, 1).float().reshape(prompts, -1, heads, width)
    if mix is None:
        return out
    own = torch.unflatten(functional.linear(mix.weights, weight), -1, (heads, width))
    pooled = torch.unflatten(torch.bmm(attention, mix.rows.transpose(1, 2)).float(), 1, (-1, heads))
    return out + torch.einsum("pthr,prhd->pthd", pooled, own)


def updated(
    mix: Mix | None, update: Update, attention: Tensor, values: Tensor, weights: Tensor, scratch: Scratch
) -> Mix:
    """Image tokens plus what they attend to, normalised.

    Args:
        mix: before; None when all prompts still share the base.
        update: the photo's part.
        attention: (P, T · H, N), every image token's over the T tokens of each head.
        values: (P, T, H, D) what is attended to.
        weights: (P, T · H, C) the same through the output projection, with an H-th of the update's constant in each.
        scratch: as everywhere.
    """
    prompts, tokens, heads, _ = values.shape
    pixels, done = attention.shape[-1], 0 if mix is None else len(mix.values)
    each = (prompts, tokens, done + 1, heads)
    rows = scratch.take(f"rows {done}", attention, *each, pixels)
    shares: tuple[Tensor, ...]
    kept: tuple[Tensor, ...]
    if mix is None:
        share = torch.ones_like(update.norm).expand(prompts, -1)
        rows.copy_(attention.view(rows.shape))
        shares, kept = (share,), (values,)
    else:
        share = mix.scale.reciprocal()
        rows[:, :, :done].copy_(mix.rows.view(prompts, tokens, done, heads, pixels))
        now = attention.view(prompts, tokens, heads, pixels)
        torch.mul(now, share.to(attention.dtype)[:, None, None], out=rows[:, :, done])
        parts = (mix.weights.view(prompts, tokens, done, heads, -1), weights.view(prompts, tokens, 1, heads, -1))
        weights = torch.cat(parts, dim=2).flatten(1, 3)
        shares, kept = (*mix.shares, share), (*mix.values, values)
    weights = weights - weights.mean(dim=-1, keepdim=True)
    product = scratch.take("c", rows, prompts * tokens, done + 1, heads, pixels)
    for index, value in enumerate(kept):
        per_head(2 * value, update.across[index], product[:, index])
    rows, product = rows.view(prompts, -1, pixels), product.view(prompts, -1, pixels)
    product.baddbmm_(torch.bmm(weights, weights.transpose(1, 2)).to(rows.dtype), rows)
    norm = update.norm + product.mul_(rows).sum(dim=1).float()
    for part, along in zip(shares, update.along, strict=True):
        norm = norm + 2 * part * along
    before = share.reciprocal()
    variance = norm.clamp_min(0) / weights.shape[-1]
    scale = before * torch.rsqrt(before.square() * variance + update.eps)
    return Mix(rows, weights * update.gain, scale, kept, shares)
