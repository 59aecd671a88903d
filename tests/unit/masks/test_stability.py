"""Stability: share of a mask that survives moving the threshold."""

from __future__ import annotations

import pytest
import torch

from segany.masks.stability import stability_score


def test_counts_strictly_above_both_cuts() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.5, -1.0], [-0.5, 1.5, -3.0, -2.0]])
    assert stability_score(logits).item() == pytest.approx(2 / 5)
    assert stability_score(logits, threshold=-2.0, offset=0.5).item() == pytest.approx(6 / 7)


def test_an_empty_mask_scores_zero_and_stays_finite() -> None:
    assert stability_score(torch.full((2, 3, 4, 4), -9.0)).tolist() == [[0.0] * 3] * 2


def test_a_sure_mask_scores_one() -> None:
    logits = torch.where(torch.eye(6) > 0, 20.0, -20.0)
    assert stability_score(logits[None]).tolist() == [1.0]
