"""Losses of the promptable task.

P prompts · M masks per prompt · s low-res side
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from segany.training.config import LossConfig

CHOICE_TEMPERATURE = 0.1
"""Difference of predicted IoU that makes a mask e times as likely to be chosen, where a choice is trained."""


def focal_loss(logits: Tensor, target: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Cross-entropy that dwells on what is still wrong, averaged over the cells of a mask.

    Args:
        logits: (…, s, s).
        target: (…, s, s) in [0, 1].
        alpha: weight of mask cells, 1 − alpha that of the ground; below 0 both weigh 1.
        gamma: how strongly cells that are right already are forgotten.

    Returns:
        (…).

    Source: Focal loss (arXiv 1708.02002); its weight in Segment Anything is 20.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid()
    missed = probability * (1 - target) + (1 - probability) * target
    weighted = missed**gamma * entropy
    if alpha >= 0:
        weighted = (alpha * target + (1 - alpha) * (1 - target)) * weighted
    return weighted.mean(dim=(-2, -1))


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
    """(…, s, s) logits and target shares → (…) one minus the soft Dice overlap, smoothed by one cell.

    Source: V-Net (arXiv 1606.04797); the smoothing as in SAM 2's code.
    """
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


def mask_loss(logits: Tensor, target: Tensor, config: LossConfig) -> Tensor:
    """(…, s, s) logits and target shares → (…) weighted sum of the mask losses that the config switches on."""
    total = logits.new_zeros(logits.shape[:-2])
    if config.focal:
        total = total + config.focal * focal_loss(logits, target, alpha=config.focal_alpha, gamma=config.focal_gamma)
    if config.dice:
        total = total + config.dice * dice_loss(logits, target)
    if config.cross_entropy:
        total = total + config.cross_entropy * balanced_cross_entropy(logits, target, balance=config.balance)
    return total


@dataclass(frozen=True)
class Verdict:
    """How P prompts were answered in one round.

    Attributes:
        mask: (P,) mask loss, with gradient.
        iou: (P,) squared error of the predicted IoU, weighted, with gradient.
        quality: (P,) true IoU of the mask that would be shown.
    """

    mask: Tensor
    iou: Tensor
    quality: Tensor

    @property
    def loss(self) -> Tensor:
        """(P,) all of it."""
        return self.mask + self.iou


def judge(logits: Tensor, predicted: Tensor, target: Tensor, config: LossConfig, *, ambiguous: bool) -> Verdict:
    """Loss of all four outputs of a decode.

    Ambiguous prompts train the best of the three masks by loss and show the best by predicted IoU; others train and
    show the single-mask token alone.

    Args:
        logits: (P, 4, s, s), output 0 the single mask.
        predicted: (P, 4) predicted IoU.
        target: (P, s, s) shares in [0, 1].
        config: weights.
        ambiguous: one prompt only, so that three masks may be meant.

    Source: Segment Anything (arXiv 2304.02643), resolving ambiguity; SAM 2's code for the IoU loss on the winner.
    """
    outputs = slice(0, None) if ambiguous else slice(0, 1)
    logits, predicted = logits[:, outputs], predicted[:, outputs]
    wide = target.unsqueeze(1).expand_as(logits)
    actual = true_iou(logits, wide)
    losses = mask_loss(logits, wide, config)
    errors = config.iou * (predicted - actual) ** 2
    if not ambiguous:
        return Verdict(losses[:, 0], errors[:, 0], actual[:, 0])
    winner = losses[:, 1:].argmin(dim=1, keepdim=True) + 1
    mask = losses.gather(1, winner).squeeze(1)
    if config.losers:
        mask = mask + config.losers * losses[:, 1:].mean(dim=1)
    if config.single_first:
        mask = mask + config.single_first * losses[:, 0]
    taught = errors.gather(1, winner).squeeze(1) if config.iou_on == "winner" else _mean_taught(errors, config)
    if config.choice:
        taught = taught + config.choice * regret(predicted[:, 1:], actual[:, 1:])
    shown = predicted[:, 1:].argmax(dim=1, keepdim=True) + 1
    return Verdict(mask, taught, actual.gather(1, shown).squeeze(1))


def regret(predicted: Tensor, actual: Tensor) -> Tensor:
    """IoU lost by choosing among masks by their predicted IoU, made smooth: a choice by lot, likelier the better a mask
    is thought to be.

    Args:
        predicted: (P, M), with gradient.
        actual: (P, M) true IoU.

    Returns:
        (P,) in [0, 1].
    """
    chances = (predicted / CHOICE_TEMPERATURE).softmax(dim=1)
    return actual.amax(dim=1) - (chances * actual).sum(dim=1)


def _mean_taught(errors: Tensor, config: LossConfig) -> Tensor:
    """The single mask's IoU is taught on an ambiguous prompt only where its mask is."""
    return (errors if config.single_first else errors[:, 1:]).mean(dim=1)
