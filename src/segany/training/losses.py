"""Losses of the promptable task.

P prompts · M masks per prompt · s low-res side
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(logits: Tensor, target: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """(…, s, s) logits and target shares in [0, 1] → (…) mean focal loss.

    Source: Focal loss (arXiv 1708.02002); its weight in Segment Anything is 20.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid()
    missed = probability * (1 - target) + (1 - probability) * target
    balance = alpha * target + (1 - alpha) * (1 - target)
    return (balance * missed**gamma * entropy).mean(dim=(-2, -1))


def balanced_cross_entropy(logits: Tensor, target: Tensor, *, balance: float = 1.0) -> Tensor:
    """(…) cross-entropy in which mask and ground weigh alike however small the mask is.

    Args:
        logits: (…, s, s).
        target: (…, s, s) in [0, 1].
        balance: 1 weighs the two classes alike, 0 weighs pixels alike.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    inside = target.mean(dim=(-2, -1), keepdim=True).clamp(1e-3, 1 - 1e-3)
    weight = target * (0.5 / inside) + (1 - target) * (0.5 / (1 - inside))
    return ((balance * weight + 1 - balance) * entropy).mean(dim=(-2, -1))


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """(…) one minus the soft Dice overlap, smoothed by one cell."""
    probability = logits.sigmoid()
    overlap = (probability * target).sum(dim=(-2, -1))
    total = probability.sum(dim=(-2, -1)) + target.sum(dim=(-2, -1))
    return 1 - (2 * overlap + 1) / (total + 1)


@torch.no_grad()
def true_iou(logits: Tensor, target: Tensor) -> Tensor:
    """(…) IoU of the thresholded logits with the thresholded target."""
    predicted, actual = logits > 0, target > 0.5
    union = (predicted | actual).sum(dim=(-2, -1))
    return (predicted & actual).sum(dim=(-2, -1)) / union.clamp(min=1)
