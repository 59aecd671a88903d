"""How much a mask depends on its threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def stability_score(logits: Tensor, *, threshold: float = 0.0, offset: float = 1.0) -> Tensor:
    """Share of a mask that survives moving the threshold by ±offset.

    Args:
        logits: (..., H, W) mask scores before thresholding, any frame.
        threshold: cut on logits; SAM uses 0.0.
        offset: shift of the cut, in logits.

    Returns:
        (...) values in [0, 1]; an empty mask scores 0.

    Source: Segment Anything (arXiv 2304.02643), automatic mask generation.
    """
    flat = logits.flatten(-2)
    strict = (flat > threshold + offset).sum(dim=-1)
    loose = (flat > threshold - offset).sum(dim=-1)
    return strict / loose.clamp(min=1)
