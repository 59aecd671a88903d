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
        rows: (P, R, N) in the computing precision.
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

    def select(self, part: slice) -> Mix:
        """Some of the prompts; enough for reading out, not for further updates."""
        return Mix(self.rows[part], self.weights[part], self.scale[part], (), ())


def per_head(rows: Tensor, side: Tensor, scratch: Scratch, name: str) -> Tensor:
    """(P, T, H, D) times (H, D, N) → (P, T · H, N), in the precision of `side`, written to the named scratch."""
    prompts, tokens, heads, _ = rows.shape
    out = scratch.take(name, side, prompts * tokens, heads, side.shape[-1])
    torch.bmm(rows.to(side.dtype).flatten(0, 1).transpose(0, 1), side, out=out.transpose(0, 1))
    return out.view(prompts, tokens * heads, -1)


def scores(rows: Tensor, side: Side, mix: Mix | None, scratch: Scratch) -> Tensor:
    """Products of (P, T, H, D) token-side vectors with every image token: (P, T · H, N) in scratch `a`."""
    out = per_head(rows, side.base, scratch, "a")
    if mix is None or side.position is None:
        return out
    own = functional.linear(mix.weights, side.weight).unflatten(-1, rows.shape[2:])
    out.baddbmm_(torch.einsum("pthd,prhd->pthr", rows, own).flatten(1, 2).to(out.dtype), mix.rows)
    position = per_head(rows, side.position, scratch, "b")
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
    by_head = attention.unflatten(1, (-1, heads)).flatten(0, 1).transpose(0, 1)
    out = torch.bmm(by_head, base.transpose(1, 2)).transpose(0, 1).float().reshape(prompts, -1, heads, width)
    if mix is None:
        return out
    own = functional.linear(mix.weights, weight).unflatten(-1, (heads, width))
    pooled = torch.bmm(attention, mix.rows.transpose(1, 2)).float().unflatten(1, (-1, heads))
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
    prompts, count, pixels = attention.shape
    done = 0 if mix is None else mix.rows.shape[1]
    rows = scratch.take(f"rows {done}", attention, prompts, done + count, pixels)
    if mix is None:
        share = torch.ones_like(update.norm).expand(prompts, -1)
        rows.copy_(attention)
        shares, kept = (share,), (values,)
    else:
        share = mix.scale.reciprocal()
        rows[:, :done].copy_(mix.rows)
        torch.mul(attention, share.to(attention.dtype).unsqueeze(1), out=rows[:, done:])
        weights = torch.cat([mix.weights, weights], dim=1)
        shares, kept = (*mix.shares, share), (*mix.values, values)
    weights = weights - weights.mean(dim=-1, keepdim=True)
    gram = torch.bmm(weights, weights.transpose(1, 2)).to(rows.dtype)
    product = torch.bmm(gram, rows, out=scratch.take("c", rows, *rows.shape))
    norm = update.norm + product.mul_(rows).sum(dim=1, dtype=torch.float32)
    for index, (value, part) in enumerate(zip(kept, shares, strict=True)):
        product = per_head(value, update.across[index], scratch, "a")
        product.mul_(rows[:, index * count : (index + 1) * count])
        norm = norm + 2 * (product.sum(dim=1, dtype=torch.float32) + part * update.along[index])
    before = share.reciprocal()
    variance = norm.clamp_min(0) / weights.shape[-1]
    scale = before * torch.rsqrt(before.square() * variance + update.eps)
    return Mix(rows, weights * update.gain, scale, kept, shares)
