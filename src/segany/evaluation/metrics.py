"""Overlap of masks, and means of many overlaps with an honest interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import OptionError


def candidate_iou(candidates: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
    """IoU of every candidate mask with its own target.

    Args:
        candidates: (P, M, H, W) masks, M candidates per target.
        targets: (P, H, W) true masks.

    Returns:
        (P, M) values in [0, 1]; two empty masks score 0.

    Raises:
        OptionError: the shapes do not belong together.
    """
    predicted, true = np.asarray(candidates, dtype=bool), np.asarray(targets, dtype=bool)
    if predicted.ndim != 4 or true.shape != (predicted.shape[0], *predicted.shape[2:]):
        raise OptionError(
            "candidates must be (P, M, H, W) and targets (P, H, W) of the same P, H and W; "
            f"got {predicted.shape} and {true.shape}. Scale the candidates to the image first."
        )
    true = true[:, None]
    intersection = np.count_nonzero(predicted & true, axis=(2, 3))
    union = np.count_nonzero(predicted | true, axis=(2, 3))
    return np.asarray(intersection / np.maximum(union, 1), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f}–{self.high:.3f})"


def bootstrap_mean(
    values: Sequence[float] | NDArray[Any],
    groups: Sequence[str],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Mean over values, its interval from drawing whole groups with replacement.

    Masks of one image share its difficulty, so images are drawn, not masks. The percentile interval is of the
    mean over masks of the drawn images; with a single group it collapses to the mean.

    Args:
        values: (N,) one score per mask.
        groups: N names of the image each score belongs to.
        resamples: draws; the interval's own noise falls with their square root.
        level: share of the draws inside the interval, in (0, 1).
        seed: of the draws.

    Raises:
        OptionError: nothing to average, or as many groups as values are missing.

    Source: Efron & Tibshirani 1993, percentile interval; the cluster bootstrap over images.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0 or scores.size != len(groups):
        raise OptionError(
            f"a mean needs at least one value and one group name per value; got {scores.shape} values "
            f"and {len(groups)} groups."
        )
    names, membership = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    sums = np.bincount(membership, weights=scores, minlength=names.size)
    counts = np.bincount(membership, minlength=names.size)
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(names.size, np.full(names.size, 1 / names.size), size=resamples)
    means = (weights @ sums) / (weights @ counts)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(mean=float(scores.mean()), low=float(low), high=float(high))
