"""A light head on a frozen embedding that tells objects from everything else; it knows no classes.

P proposals · F features of a proposal
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ObjectScorer(nn.Module):
    """Judges proposals: features in, the logit of "people would mark this" out.

    Two judges of equal weight: one is told shape and the model's own opinions alone, the other everything. From few
    annotated photos the second learns too much by heart, the first too little; their mean is better than either.

    Args:
        features: F.
        shape: how many of them, the last ones, describe the shape.
        width: hidden width.
        dropout: share of hidden values left out while training.
        blind: share of the features that the second judge does not see while training.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, shape: int, width: int = 64, *, dropout: float = 0.2, blind: float = 0.5) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.shape = shape
        self.plain = _judge(shape, width, dropout)
        self.whole = nn.Sequential(nn.Dropout(blind), _judge(features, width, dropout))

    def standardise(self, features: Tensor) -> None:
        """Take mean and deviation of (P, F) training features for good."""
        self.mean.copy_(features.mean(dim=0))
        self.deviation.copy_(features.std(dim=0, unbiased=False).clamp(min=1e-3))

    def both(self, features: Tensor) -> Tensor:
        """(P, F) → (2, P) logits of the two judges, each to be taught on its own."""
        even = (features - self.mean) / self.deviation
        return torch.stack([self.plain(even[:, -self.shape :]).squeeze(-1), self.whole(even).squeeze(-1)])

    def forward(self, features: Tensor) -> Tensor:
        """(P, F) → (P,) logits."""
        return self.both(features).mean(dim=0)


def _judge(features: int, width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, 1))
