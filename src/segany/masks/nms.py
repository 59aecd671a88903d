"""Keeping one of many overlapping masks: greedy suppression on boxes, on masks, on containment."""

# N candidates

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from segany.core.errors import DataError
from segany.masks.rle import Rle, check_same_size, checked_overlap

_BLOCK = 128


def nms(boxes: ArrayLike, scores: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """Greedy non-maximum suppression on boxes, exactly as the reference decides it.

    A box is dropped when its IoU with an already kept one is strictly above the threshold. Sides are taken
    without +1, so a box of zero area neither suppresses nor is suppressed. Equal scores keep input order.

    Args:
        boxes: (N, 4) x0, y0, x1, y1, any frame.
        scores: (N,) higher is better.
        threshold: IoU in [0, 1].

    Returns:
        Indices of the kept boxes by descending score.

    Raises:
        DataError: shapes do not agree, or a value is not a number.
    """
    corners = np.asarray(boxes, np.float64)
    corners = corners.reshape(0, 4) if corners.size == 0 else corners
    if corners.ndim != 2 or corners.shape[1] != 4 or np.isnan(corners).any():
        raise DataError(
            f"boxes must be (N, 4) numbers x0, y0, x1, y1; got shape {corners.shape}{_or_nan(corners)}. "
            "Boxes of one candidate each go into one row."
        )
    order = _by_score(scores, len(corners))
    x0, y0, x1, y1 = np.ascontiguousarray(corners[order].T)
    area = (x1 - x0) * (y1 - y0)
    alive = np.ones(len(order), bool)
    flat = area <= 0
    kept: list[int] = []
    for i in range(len(order)):
        if not alive[i]:
            continue
        kept.append(int(order[i]))
        if flat[i]:
            continue
        rest = slice(i + 1, None)
        inter = np.minimum(x1[rest], x1[i])
        inter -= np.maximum(x0[rest], x0[i])
        np.maximum(inter, 0, out=inter)
        height = np.minimum(y1[rest], y1[i])
        height -= np.maximum(y0[rest], y0[i])
        np.maximum(height, 0, out=height)
        inter *= height
        inter /= np.maximum(area[rest], 0) + area[i] - inter
        alive[rest] &= (inter <= threshold) | flat[rest]
    return np.asarray(kept, np.int64)


def mask_nms(rles: Sequence[Mapping[str, Any]], scores: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """Greedy suppression on the IoU of the masks themselves; slower and stricter than on boxes.

    Args:
        rles: N RLEs of one image.
        scores: (N,) higher is better.
        threshold: a mask is dropped when its IoU with a kept one is strictly above; in [0, 1].

    Returns:
        Indices of the kept masks by descending score; equal scores keep input order.

    Raises:
        DataError: a malformed RLE, different sizes, or another number of scores.
    """

    def overlap(block: list[Rle], rest: list[Rle]) -> NDArray[np.float64]:
        return checked_overlap([*block, *rest], len(block), of_first=False)

    return _greedy(rles, scores, threshold, overlap)


def containment_nms(rles: Sequence[Mapping[str, Any]], scores: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """Greedy suppression of masks that lie mostly inside a better one, whatever the difference in size.

    A mask is dropped when the share of its own pixels covered by an already kept mask is strictly above the
    threshold. A large mask around a better small one stays.

    Args:
        rles: N RLEs of one image.
        scores: (N,) higher is better.
        threshold: covered share of the mask's own area; in [0, 1].

    Returns:
        Indices of the kept masks by descending score; equal scores keep input order.

    Raises:
        DataError: a malformed RLE, different sizes, or another number of scores.
    """

    def overlap(block: list[Rle], rest: list[Rle]) -> NDArray[np.float64]:
        return checked_overlap([*rest, *block], len(rest), of_first=True).T

    return _greedy(rles, scores, threshold, overlap)


def _greedy(
    rles: Sequence[Mapping[str, Any]],
    scores: ArrayLike,
    threshold: float,
    overlap: Callable[[list[Rle], list[Rle]], NDArray[np.float64]],
) -> NDArray[np.int64]:
    """A block of candidates at a time: first decided within itself, then it clears the rest."""
    checked = check_same_size(rles)
    waiting = _by_score(scores, len(checked))
    kept: list[int] = []
    while len(waiting):
        block, waiting = waiting[:_BLOCK], waiting[_BLOCK:]
        inside = overlap([checked[i] for i in block], [checked[i] for i in block])
        alive = np.ones(len(block), bool)
        for row in range(len(block)):
            if alive[row]:
                alive[row + 1 :] &= inside[row, row + 1 :] <= threshold
        block = block[alive]
        kept.extend(block.tolist())
        if len(waiting):
            across = overlap([checked[i] for i in block], [checked[i] for i in waiting])
            waiting = waiting[(across <= threshold).all(axis=0)]
    return np.asarray(kept, np.int64)


def _by_score(scores: ArrayLike, count: int) -> NDArray[np.int64]:
    values = np.asarray(scores, np.float64)
    if values.shape != (count,) or np.isnan(values).any():
        raise DataError(
            f"scores must be {count} numbers, one per candidate; got shape {values.shape}{_or_nan(values)}. "
            "Drop candidates without a score first."
        )
    return np.argsort(-values, kind="stable").astype(np.int64)


def _or_nan(values: NDArray[np.float64]) -> str:
    return " with NaN" if np.isnan(values).any() else ""
