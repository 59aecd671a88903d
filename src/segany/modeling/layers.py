"""Small parts that several modules share."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a (B, C, H, W) map.

    Args:
        channels: C.
        eps: added to the variance.

    Source: Segment Anything released models (neck, mask prompt, upscaling).
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        channels_last = functional.layer_norm(
            x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps
        )
        return channels_last.permute(0, 3, 1, 2)


class MLP(nn.Module):
    """Linear layers with ReLU between them; keys `layers.{i}`.

    Args:
        in_width: channels in.
        hidden_width: channels between.
        out_width: channels out.
        depth: number of linear layers, at least 1.
    """

    def __init__(self, in_width: int, hidden_width: int, out_width: int, depth: int) -> None:
        super().__init__()
        widths = [in_width] + [hidden_width] * (depth - 1) + [out_width]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        *inner, last = self.layers
        for layer in inner:
            x = functional.relu(layer(x))
        out: Tensor = last(x)
        return out
