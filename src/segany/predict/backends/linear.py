"""A linear layer held ready for prediction, with what follows it done in the same pass where the library can."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Norm = tuple[Tensor, Tensor, float]
"""Weight, bias and epsilon of a layer normalisation."""


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this torch has oneDNN's packed linear layers for a precision on the CPU, found out by trying one."""
    try:
        eye = torch.eye(32, dtype=dtype)
        packed = torch.ops.mkldnn._reorder_linear_weight(eye, 32)
        out = torch.ops.mkldnn._linear_pointwise(eye, packed, None, "relu", [], "")
        onto = torch.ops.mkldnn._linear_pointwise.binary(eye, eye, packed, None, "add")
        return torch.equal(out, eye) and torch.equal(onto, eye + eye)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


class Linear:
    """x ↦ x·Wᵀ + b over (rows, in) matrices.

    Args:
        weight: (out, in).
        bias: (out,) or none.
        rows: how many rows will usually come; only speed depends on it.
        pack: copy the weight into oneDNN's own layout, if it can.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, rows: int, pack: bool) -> None:
        self.bias = None if bias is None else bias.detach()
        self.weight = weight.detach()
        self._packed: Any = None
        if pack and weight.device.type == "cpu" and can_pack(weight.dtype):
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous(), rows)
            self.weight = torch.empty(0)

    def __call__(self, x: Tensor) -> Tensor:
        return self._fused(x, "none") if self._packed is not None else functional.linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """Followed by the exact GELU."""
        if self._packed is not None:
            return self._fused(x, "gelu", "none")
        return functional.gelu(functional.linear(x, self.weight, self.bias))

    def relu(self, x: Tensor) -> Tensor:
        """Followed by a ReLU."""
        if self._packed is not None:
            return self._fused(x, "relu")
        return functional.linear(x, self.weight, self.bias).relu_()

    def add(self, x: Tensor, onto: Tensor) -> Tensor:
        """Added to `onto`, (rows, out) of the same precision; neither input changes."""
        if self._packed is not None:
            fused: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, onto, self._packed, self.bias, "add")
            return fused
        return functional.linear(x, self.weight, self.bias).add_(onto)

    def _fused(self, x: Tensor, then: str, how: str = "") -> Tensor:
        fused: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, then, [], how)
        return fused


def linear(layer: nn.Linear | nn.Conv2d, dtype: torch.dtype, *, rows: int) -> Linear:
    """A linear layer, or a convolution whose patches do not overlap, in a precision; float32 ones stay the module's."""
    bias = None if layer.bias is None else layer.bias.detach().to(dtype)
    return Linear(layer.weight.detach().flatten(1).to(dtype), bias, rows=rows, pack=True)


def norm_of(layer: nn.Module, dtype: torch.dtype) -> Norm:
    """Weight, bias and epsilon of a layer normalisation, in a precision."""
    weight, bias, eps = cast(Tensor, layer.weight), cast(Tensor, layer.bias), cast(float, layer.eps)
    return weight.detach().to(dtype), bias.detach().to(dtype), eps
