"""A linear layer in 8-bit integers, for processors that multiply those twice as fast as bfloat16.

Weights are rounded once, a scale per output channel. Inputs are rounded as they come, to unsigned bytes around a zero
point: with one scale per call where something follows in the same pass, else with a scale per row, so that a row of
large values does not coarsen its neighbours. Sums are exact 32-bit integers; what comes out has the caller's precision.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

CHUNK = 2**18
"""Numbers rounded at once, so that what lies between stays in a core's cache. Changes no result."""
TOO_SLOW = 10.0
"""Times a float32 product's time from which on the byte product cannot be the processor's own."""


@cache
def missing_int8() -> str | None:
    """What keeps this machine from 8-bit layers, found out by trying one; None where nothing does.

    Without the right instructions pairs of products are added in 16 bits and overflow, or all is done number by number.
    """
    try:
        weight = torch.full((96, 128), 127.0)
        layer = Int8Linear(weight, None, rows=64, dtype=torch.float32)
        whole = torch.full((64, 128), 255, dtype=torch.uint8)
        exact = torch.equal(layer.product(whole, 1.0, 0), torch.full((64, 96), 255.0 * 127 * 128))
    except (AttributeError, RuntimeError, NotImplementedError):
        return f"torch {torch.__version__}, which has no oneDNN 8-bit layers"
    bytes_take = min(_seconds(lambda: layer.product(whole, 1.0, 0)) for _ in range(5))
    floats_take = min(_seconds(lambda: functional.linear(weight[:64], weight)) for _ in range(5))
    if exact and bytes_take < TOO_SLOW * floats_take:
        return None
    return "a processor without 8-bit products that add up in 32 bits"


def _seconds(run: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class Int8Linear:
    """x ↦ x·Wᵀ + b over (rows, in) matrices on a CPU; the shape of `linear.Linear`.

    Args:
        weight: (out, in) float32.
        bias: (out,) or none.
        rows: how many rows will usually come; only speed depends on it.
        dtype: precision of inputs and results, float32 or bfloat16.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, rows: int, dtype: torch.dtype) -> None:
        weight = weight.detach().float()
        self.dtype = dtype
        self.bias = None if bias is None else bias.detach().float()
        self.scale = weight.abs().amax(dim=1).clamp_(min=1e-12) / 127
        whole = (weight / self.scale[:, None]).round_().to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(whole, [rows, weight.shape[1]])
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._shift = None if bias is None else bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return self.product(*rounded(x), bias=self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """Followed by the exact GELU."""
        return self.product(*rounded(x), bias=self.bias, then="gelu", how="none")

    def add(self, x: Tensor, onto: Tensor) -> Tensor:
        """Added to `onto`, (rows, out) of the same precision; neither input changes."""
        whole, scales, zero = rounded_by_row(x)
        out = torch.addcmul(onto, self.product(whole, 1.0, zero), scales)
        return out if self._shift is None else out.add_(self._shift)

    def product(
        self, whole: Tensor, scale: float, zero: int, *, bias: Tensor | None = None, then: str = "none", how: str = ""
    ) -> Tensor:
        """scale · (whole − zero) · Wᵀ + bias in the layer's precision, for (rows, in) bytes."""
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(whole, scale, zero, self._packed, self.scale, self._zeros, bias), 1.0, 0, self.dtype, then, [], how
        )
        return out


def rounded(x: Tensor) -> tuple[Tensor, float, int]:
    """Unsigned bytes, scale and zero point of a matrix, so that x ≈ scale · (bytes − zero).

    Values that are no numbers, or infinite, make the scale no number, and so all results.
    """
    low, high = (float(value) for value in torch.aminmax(x))
    whole = torch.empty(x.shape, dtype=torch.uint8)
    if not math.isfinite(high - low):
        return whole.zero_(), math.nan, 0
    scale = max((max(high, 0.0) - min(low, 0.0)) / 254, 1e-30)
    zero = round(-min(low, 0.0) / scale)
    half = torch.tensor(zero + 0.5)
    for part, into in _chunks(x, whole):
        into.copy_(torch.add(half, part.float(), alpha=1 / scale).to(torch.int16))  # 16 bits first: that is vectorised
    return whole, scale, zero


def rounded_by_row(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Unsigned bytes, (rows, 1) scales in the precision of x, and a zero point that all rows share.

    A row with values that are no numbers, or infinite, has no number as its scale.
    """
    low, high = x.amin(dim=1, keepdim=True).float().clamp_(max=0), x.amax(dim=1, keepdim=True).float().clamp_(min=0)
    wrong = ~(high - low).isfinite()
    low, high = low.masked_fill_(wrong, 0), high.masked_fill_(wrong, 0)
    below, above = float(low.mean()), float(high.mean())
    zero = min(max(round(-255 * below / max(above - below, 1e-30)), 1), 254)
    # a power of two more than needed covers the rounding of the scale itself to the precision of x
    scales = torch.maximum(high / (255 - zero), -low / zero).clamp_(min=1e-30).mul_(1 + 2**-7).to(x.dtype)
    factors = scales.float().reciprocal()
    whole = torch.empty(x.shape, dtype=torch.uint8)
    for (part, into), some in zip(_chunks(x, whole), torch.split(factors, _step(x)), strict=True):
        into.copy_((part.float() * some).add_(zero + 0.5).to(torch.int16))
    return whole, scales.masked_fill_(wrong, math.nan), zero


def _step(x: Tensor) -> int:
    return max(1, CHUNK // x.shape[1])


def _chunks(x: Tensor, other: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(x, _step(x)), torch.split(other, _step(x)), strict=True)


def balance(norm: nn.Module, layer: nn.Linear) -> Tensor:
    """(in,) factors that even out a layer's inputs behind a normalisation: divide its outputs, multiply the weights.

    A channel with a large weight in the normalisation would set the scale for all others. Without any photos its range
    is known to be about |b| + 3·|w|; half of it, in logarithms, goes over to the layer's weights (arXiv:2211.10438).
    """
    weight, bias = (cast(Tensor, value).detach().float().abs() for value in (norm.weight, norm.bias))
    inputs = (bias + 3 * weight).clamp_(min=1e-5)
    columns = layer.weight.detach().float().abs().amax(dim=0).clamp_(min=1e-5)
    factors = (inputs / columns).sqrt_()
    return factors / factors.log().mean().exp()


def int8_linear(layer: nn.Linear, dtype: torch.dtype, *, rows: int, factors: Any = 1.0) -> Int8Linear:
    """A linear layer in 8 bits, its inputs divided beforehand by `factors`."""
    return Int8Linear(layer.weight.detach().float() * factors, layer.bias, rows=rows, dtype=dtype)
