"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

START = 10
"""Half-way point of the warm-up: after n steps the decay is at most n / (n + START)."""


class Average:
    """Follows a model's floating-point weights and statistics.

    Args:
        model: what to follow; its present weights are the first average.
        decay: share of the old average that stays at each update; smaller at first, so that the random start fades.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: tensor.detach().clone() for name, tensor in _floating(model)}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model; `step` counts finished steps, from 1."""
        decay = min(self.decay, step / (step + START))
        for name, tensor in _floating(model):
            self.weights[name].lerp_(tensor, 1 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Inside, the model holds the average."""
        own = {name: tensor.detach().clone() for name, tensor in _floating(model)}
        self._copy(self.weights, model)
        try:
            yield
        finally:
            self._copy(own, model)

    @staticmethod
    @torch.no_grad()
    def _copy(weights: Mapping[str, Tensor], model: nn.Module) -> None:
        for name, tensor in _floating(model):
            tensor.copy_(weights[name])


def _floating(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return ((name, tensor) for name, tensor in model.state_dict().items() if tensor.is_floating_point())
