"""The candidates of one crop, and the greedy choice among them that measures only what it must.

Suppression takes the surest mask first and drops every box that overlaps it too much. Whether a mask is stable, and
where exactly its box lies, matters only when its turn comes and nothing has dropped it: until then bounds of its box
will do. The choice is that of measuring every candidate first, as long as the bounds hold.
"""

# N candidates

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segany.core.progress import CancelCheck, check_cancelled
from segany.geometry.boxes import box_area_xyxy
from segany.predict.automatic.candidates import Candidates
from segany.predict.automatic.config import SweepConfig
from segany.predict.automatic.measure import Measured, Ruler
from segany.predict.automatic.screen import Hint
from segany.predict.upscale import Window

CLOSE = 0.85
"""When the pool is too full, masks overlapping a kept one by more than this box IoU are forgotten for good."""
ASK_EVERY = 32
"""Masks measured between two questions whether to stop."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mask that passed the screen.

    Attributes:
        quality: predicted IoU.
        point: x, y of the click, pixels of the photo.
        token: output token.
        outer, inner: bounds of its box, as in `Hint`; both the box itself once it is measured.
        values: low-res logits until it is measured.
        corner: where they lie on the low-res grid.
        window: of the crop, around the mask.
        measured: at full size.
    """

    quality: float
    point: tuple[float, float]
    token: int
    outer: NDArray[np.float64]
    inner: NDArray[np.float64]
    values: Tensor | None
    corner: tuple[int, int]
    window: Window
    measured: Measured | None = None

    @classmethod
    def of(cls, hint: Hint, quality: float, point: tuple[float, float], token: int) -> Candidate:
        """From what the screen says."""
        return cls(quality, point, token, hint.outer, hint.inner, hint.values, hint.corner, hint.window)

    def with_measure(self, measured: Measured) -> Candidate:
        """The same, measured."""
        box = np.array(measured.box, np.float64)
        return replace(self, outer=box, inner=box, values=None, measured=measured)


@dataclass
class Pool:
    """Candidates of one crop.

    Attributes:
        ruler: measures them.
        config: thresholds.
        limit: bytes of low-res logits it may hold before it settles what it has.
        cancelled: asked while masks are measured.
        waiting: in the order they came.
        tally: gains what was dropped when its turn came, by reason.
    """

    ruler: Ruler
    config: SweepConfig
    limit: int
    cancelled: CancelCheck | None = None
    waiting: list[Candidate] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    _held: int = field(default=0, init=False)
    _asked: int = field(default=0, init=False)

    def add(self, candidates: list[Candidate]) -> None:
        """Take more candidates in; settle when there are too many."""
        self.waiting += candidates
        self._held += _bytes(candidates)
        if self._held <= self.limit:
            return
        kept, near = self._choose()
        if _bytes([one for _, one in near]) > self.limit // 2:
            near = []
        chosen = sorted([*kept, *near], key=lambda pair: pair[0])
        self.waiting = [candidate for _, candidate in chosen]
        self._held = _bytes(self.waiting)

    def settle(self) -> Candidates:
        """What is kept, by descending predicted IoU; the pool is empty afterwards."""
        kept, _ = self._choose()
        self.waiting, self._held = [], 0
        found = Candidates()
        left, top = self.ruler.crop[:2]
        for _, one in kept:
            assert one.measured is not None
            x0, y0, x1, y1 = one.measured.box
            found.rles.append(one.measured.rle)
            found.boxes.append((x0 + left, y0 + top, x1 + left, y1 + top))
            found.iou.append(one.quality)
            found.stability.append(one.measured.stability)
            found.points.append(one.point)
            found.tokens.append(one.token)
            found.crops.append(self.ruler.crop)
        return found

    def _choose(self) -> tuple[list[_Placed], list[_Placed]]:
        """Those that are kept, surest first, and those that one not close to them dropped; each with its place."""
        order = np.argsort([-one.quality for one in self.waiting], kind="stable").tolist()
        outer = np.array([self.waiting[place].outer for place in order]).reshape(-1, 4)
        inner = np.array([self.waiting[place].inner for place in order]).reshape(-1, 4)
        overlap = np.zeros(len(order))
        kept: list[_Placed] = []
        near: list[_Placed] = []
        boxes = np.zeros((0, 4))
        for rank, place in enumerate(order):
            one = self.waiting[place]
            if overlap[rank] <= self.config.box_nms_thresh:
                measured = self._measured(one)
                if measured is None:
                    continue
                one = measured
                overlap[rank] = least_iou(one.outer, boxes, boxes).max(initial=0)
            if overlap[rank] <= self.config.box_nms_thresh:
                kept.append((place, one))
                boxes = np.concatenate([boxes, one.outer[None]])
                rest = slice(rank + 1, None)
                np.maximum(overlap[rest], least_iou(one.outer, inner[rest], outer[rest]), out=overlap[rest])
            elif overlap[rank] <= CLOSE:
                near.append((place, one))
        return kept, near

    def _measured(self, one: Candidate) -> Candidate | None:
        """The candidate at full size; None when it is unstable or cut by the crop's edge."""
        if one.measured is not None:
            return one
        if self._asked % ASK_EVERY == 0:
            check_cancelled(self.cancelled)
        self._asked += 1
        assert one.values is not None
        measured = self.ruler.measure(one.values, one.corner, one.window)
        if (reason := self.ruler.refuses(measured, self.config.stability_score_thresh)) is not None:
            self.tally[reason] += 1
            return None
        return one.with_measure(measured)


_Placed = tuple[int, Candidate]


def least_iou(box: NDArray[np.float64], inner: NDArray[np.float64], outer: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least IoU that a box can have with boxes known by bounds, as `nms` counts it: sides without +1, flat boxes 0.

    Args:
        box: (4,) XYXY.
        inner: (N, 4) XYXY, what the other boxes hold at least; may be turned inside out.
        outer: (N, 4) XYXY, what they hold at most.

    Returns:
        (N,) IoU.
    """
    width = np.minimum(box[2], inner[:, 2]) - np.maximum(box[0], inner[:, 0])
    height = np.minimum(box[3], inner[:, 3]) - np.maximum(box[1], inner[:, 1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    union = box_area_xyxy(box) + box_area_xyxy(outer) - shared
    iou: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    return iou


def _bytes(candidates: list[Candidate]) -> int:
    return sum(one.values.nbytes for one in candidates if one.values is not None)
