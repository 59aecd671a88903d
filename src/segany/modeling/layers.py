"""Small parts that several modules share."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


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


class ResidualBlock(nn.Module):
    """A block of an encoder's trunk: subclasses write `body`, training sets the two knobs, prediction neither."""

    drop_path: float = 0.0
    """Chance that a residual branch is left out for an image, in training mode."""
    recompute: bool = False
    """Forget activations and compute them again in the backward pass: less memory, a third more time."""

    def body(self, x: Tensor) -> Tensor:
        """What the block computes."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            again: Tensor = checkpoint(self.body, x, use_reentrant=False)
            return again
        return self.body(x)

    def thinned(self, branch: Tensor) -> Tensor:
        """(B, …) residual branch → the same, zero for some images and larger for the others, in training mode.

        Source: Stochastic depth (arXiv 1603.09382).
        """
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = 1.0 - self.drop_path
        chosen = torch.rand(len(branch), *[1] * (branch.ndim - 1), device=branch.device) < keep
        return branch * (chosen / keep).to(branch.dtype)
