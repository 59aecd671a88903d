"""Losses against values worked out by hand, and which output is judged."""

from __future__ import annotations

import math

import pytest
import torch

from segany.core.errors import OptionError
from segany.training.config import LossConfig
from segany.training.losses import (
    balanced_cross_entropy,
    dice_loss,
    focal_loss,
    judge,
    mask_loss,
    regret,
    true_iou,
)


def test_focal_loss_by_hand() -> None:
    logits = torch.tensor([[[0.0, 2.0]]])
    target = torch.tensor([[[1.0, 0.0]]])
    p = 1 / (1 + math.exp(-2.0))
    first = 0.25 * 0.5**2 * math.log(2)
    second = 0.75 * p**2 * -math.log(1 - p)
    assert float(focal_loss(logits, target)) == pytest.approx((first + second) / 2, rel=1e-5)
    unweighted = 0.5**2 * math.log(2) + p**2 * -math.log(1 - p)
    assert float(focal_loss(logits, target, alpha=-1)) == pytest.approx(unweighted / 2, rel=1e-5)


def test_dice_loss_by_hand() -> None:
    logits = torch.tensor([[[0.0, 100.0, -100.0]]])
    target = torch.tensor([[[1.0, 1.0, 0.0]]])
    assert float(dice_loss(logits, target)) == pytest.approx(1 - (2 * 1.5 + 1) / (1.5 + 2 + 1), rel=1e-5)


def test_balanced_cross_entropy_ignores_the_size_of_the_mask() -> None:
    small, large = torch.zeros(1, 10, 10), torch.zeros(1, 10, 10)
    small[0, :2, :2], large[0, :5] = 1, 1
    logits = torch.full((1, 10, 10), -1.0)
    balanced = [float(balanced_cross_entropy(logits, target)) for target in (small, large)]
    plain = [float(balanced_cross_entropy(logits, target, balance=0.0)) for target in (small, large)]
    assert balanced[0] == pytest.approx(balanced[1], rel=1e-5)
    assert plain[0] < 0.7 * plain[1]


def test_true_iou_is_strict_at_zero() -> None:
    logits = torch.tensor([[[0.0, 1.0, 1.0, -1.0]]])
    target = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    assert float(true_iou(logits, target)) == pytest.approx(1 / 3)
    assert float(true_iou(-torch.ones(1, 2, 2), torch.zeros(1, 2, 2))) == 0.0


def outputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Output 2 is right, output 3 is thought best, output 0 is empty."""
    target = torch.zeros(1, 4, 4)
    target[0, :2] = 1
    right = target * 20 - 10
    logits = torch.stack([-10 * torch.ones(1, 4, 4), -right, right, 10 * torch.ones(1, 4, 4)], dim=1)
    return logits.requires_grad_(), torch.tensor([[0.1, 0.2, 0.3, 0.9]], requires_grad=True), target


def test_ambiguous_prompts_train_the_winner_alone() -> None:
    logits, predicted, target = outputs()
    verdict = judge(logits, predicted, target, LossConfig(), ambiguous=True)
    verdict.loss.sum().backward()
    assert logits.grad is not None and predicted.grad is not None
    assert [bool(logits.grad[0, i].any()) for i in range(4)] == [False, False, True, False]
    assert [bool(predicted.grad[0, i]) for i in range(4)] == [False, False, True, False]
    assert float(verdict.iou.detach()) == pytest.approx((0.3 - 1) ** 2)
    assert float(verdict.quality) == pytest.approx(0.5), "what is shown is what is predicted to be best"


def test_iou_on_all_outputs_ranks_them() -> None:
    logits, predicted, target = outputs()
    verdict = judge(logits, predicted, target, LossConfig(iou_on="all"), ambiguous=True)
    assert float(verdict.iou) == pytest.approx(((0.2 - 0) ** 2 + (0.3 - 1) ** 2 + (0.9 - 0.5) ** 2) / 3)


def test_regret_by_hand() -> None:
    predicted, actual = torch.tensor([[0.5, 0.6]]), torch.tensor([[0.9, 0.4]])
    wrong = math.exp(6) / (math.exp(5) + math.exp(6))
    assert float(regret(predicted, actual)) == pytest.approx(0.5 * wrong, rel=1e-5)
    assert float(regret(torch.tensor([[5.0, 0.0]]), actual)) == pytest.approx(0.0, abs=1e-6)


def test_a_better_choice_is_taught() -> None:
    """The pull goes towards the truly best mask, away from what is chosen wrongly, and to no logit."""
    logits, predicted, target = outputs()
    judge(logits, predicted, target, LossConfig(iou=0.0, choice=1.0), ambiguous=True).iou.sum().backward()
    assert predicted.grad is not None and logits.grad is None
    assert float(predicted.grad[0, 2]) < 0 < float(predicted.grad[0, 3])
    assert float(predicted.grad[0, 0]) == 0.0


def test_several_prompts_train_the_single_mask() -> None:
    logits, predicted, target = outputs()
    verdict = judge(logits, predicted, target, LossConfig(), ambiguous=False)
    verdict.loss.sum().backward()
    assert logits.grad is not None
    assert [bool(logits.grad[0, i].any()) for i in range(4)] == [True, False, False, False]
    assert float(verdict.quality) == 0.0


def test_weights_add_up() -> None:
    logits, _, target = outputs()
    config = LossConfig(focal=20, dice=1, cross_entropy=2)
    wide = target.unsqueeze(1).expand_as(logits)
    expected = (
        20 * focal_loss(logits, wide) + dice_loss(logits, wide) + 2 * balanced_cross_entropy(logits, wide, balance=0.5)
    )
    assert torch.allclose(mask_loss(logits, wide, config), expected)


def test_impossible_losses_are_refused_together() -> None:
    with pytest.raises(OptionError, match=r"dice.*balance"):
        LossConfig(dice=-1, balance=2)
