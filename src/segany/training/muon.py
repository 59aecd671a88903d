"""Muon for a model's matrices, AdamW for everything else, as one optimiser."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration; source: Muon (K. Jordan, 2024)."""
ITERATIONS = 5
MOMENTUM = 0.95
RMS = 0.2
"""Root mean square of an update at rate 1, that of AdamW; source: Muon is scalable (arXiv 2502.16982)."""
SMALLEST_SIDE = 32
"""Narrower matrices (tokens, embeddings, heads of a few channels) stay with AdamW."""


def is_matrix(parameter: nn.Parameter) -> bool:
    """Whether Muon takes this parameter: a matrix that maps many channels to many."""
    return parameter.ndim == 2 and min(parameter.shape) >= SMALLEST_SIDE


def orthogonalised(updates: Tensor) -> Tensor:
    """(k, a, b) matrices → the same with all singular values near 1, by Newton–Schulz in bfloat16.

    Source: Muon (K. Jordan, 2024): a quintic that lands between about 0.7 and 1.2, which is near enough.
    """
    tall = updates.shape[-2] > updates.shape[-1]
    x = updates.bfloat16()
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    linear, cubic, quintic = QUINTIC
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic), x, beta=linear)
    return x.mT if tall else x


class MuonAdamW(torch.optim.AdamW):
    """AdamW whose groups marked `matrices` are moved by Muon; the same rates serve both.

    Args:
        groups: parameter groups, each with a key `matrices`.
        betas: AdamW's.
        fused: AdamW's.

    Source: Muon (K. Jordan, 2024), with the update's size of arXiv 2502.16982.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, betas: tuple[float, float], fused: bool) -> None:
        super().__init__(list(groups), lr=0.0, betas=betas, fused=fused)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move all parameters that have a gradient."""
        every = self.param_groups
        self.param_groups = [group for group in every if not group["matrices"]]
        try:
            loss: float | None = super().step(closure)
        finally:
            self.param_groups = every
        for group in every:
            if group["matrices"]:
                self._move(group)
        return loss

    def _move(self, group: dict[str, Any]) -> None:
        """One Muon step of a group, matrices of one shape at once."""
        alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is not None:
                alike[parameter.shape].append(parameter)
        rate = group["lr"]
        for shape, parameters in alike.items():
            updates = orthogonalised(torch.stack([self._ahead(parameter) for parameter in parameters]))
            size = rate * RMS * math.sqrt(max(shape))
            for parameter, update in zip(parameters, updates, strict=True):
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(update.to(parameter.dtype), alpha=-size)

    def _ahead(self, parameter: nn.Parameter) -> Tensor:
        """Nesterov's look ahead along a parameter's momentum, which takes in its gradient first."""
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["step"] = torch.zeros(())  # AdamW expects one in every state it loads
            state["momentum"] = torch.zeros_like(gradient)
        state["step"] += 1
        momentum: Tensor = state["momentum"]
        momentum.lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(momentum, MOMENTUM)
