"""A light head on a frozen embedding that tells objects from everything else; it knows no classes.

P proposals · F features of a proposal
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ObjectScorer(nn.Module):
    """Judges proposals: features in, the logit of "people would mark this" out.

    Args:
        features: F.
        width: hidden width.
        dropout: share of hidden values left out while training.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, width: int = 64, dropout: float = 0.2) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.layers = nn.Sequential(
            nn.Linear(features, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, 1),
        )

    def standardise(self, features: Tensor) -> None:
        """Take mean and deviation of (P, F) training features for good."""
        self.mean.copy_(features.mean(dim=0))
        self.deviation.copy_(features.std(dim=0, unbiased=False).clamp(min=1e-3))

    def forward(self, features: Tensor) -> Tensor:
        """(P, F) → (P,) logits."""
        logits: Tensor = self.layers((features - self.mean) / self.deviation)
        return logits.squeeze(-1)
