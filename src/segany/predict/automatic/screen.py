"""What low-res logits tell of many masks at once: which are surely unstable, and where the boxes of the others lie.

Boxes here are bounds, not values. The outer one is certain: bilinear mixing never overshoots. The inner one lies three
quarters of a low-res cell and a pixel further in, which holds for all but specks that are lost between the canvas and
the photo's pixels. Stability counted in cells errs by a share of the mask's outline; a mask is rejected only when it
fails by much more than that.

C candidates · h, w low-res grid, cut to the photo · H, W photo or crop
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segany.predict.upscale import Axis, Upscaler, Window

CHUNK = 1 << 19
"""Logits judged together on a CPU; the temporaries stay in the cache."""
STABILITY_MARGIN = 0.02
"""A mask whose stability in cells is at most this much below the threshold is measured at full size."""
OUTLINE_MARGIN = 0.1
"""Likewise per cell of outline over cells of area: three times the largest error seen."""
BEYOND = 2
"""Low-res lines around the active ones that a window mixes in."""


@dataclass(frozen=True, eq=False)
class Hint:
    """What is known of a mask before it is measured.

    Attributes:
        index: which of the C candidates.
        values: the part of its low-res logits that its full-size mask depends on, float32, on the CPU.
        corner: row and column of that part.
        window: of the photo or crop; outside it the mask is surely empty, shifted cut included.
        outer, inner: XYXY bounds of its box, inclusive maximum, pixels of the crop; inner may be turned inside out.
    """

    index: int
    values: Tensor
    corner: tuple[int, int]
    window: Window
    outer: NDArray[np.float64]
    inner: NDArray[np.float64]


@dataclass(frozen=True)
class Screen:
    """Judges candidates of one crop by their low-res logits.

    Attributes:
        upscaler: of the crop's frame, where the logits live.
        threshold: cut on logits.
        offset: shift of the cut for the stability score.
        lowest: least stability that is kept; 0 or less keeps all.
    """

    upscaler: Upscaler
    threshold: float
    offset: float
    lowest: float

    @property
    def applies(self) -> bool:
        """Cells stand for pixels only where a cell has a few of them."""
        (height, width), (rows, columns) = self.upscaler.frame.original_hw, self.upscaler.frame.low_res_cut
        return height >= 2 * rows and width >= 2 * columns

    def hints(self, low_res: Tensor) -> list[Hint]:
        """Hints of those of (C, h, w) candidates that are not surely unstable, in order."""
        rows, columns = self.upscaler.frame.low_res_reach
        row_axis, column_axis = self.upscaler.row_axis, self.upscaler.column_axis
        chunk = max(1, CHUNK // (rows * columns)) if low_res.device.type == "cpu" else max(1, len(low_res))
        parts = [self._chunk(low_res[at : at + chunk, :rows, :columns]) for at in range(0, len(low_res), chunk)]
        if not parts:
            return []
        starts = range(0, len(low_res), chunk)
        chosen = np.concatenate([part.chosen + start for part, start in zip(parts, starts, strict=True)])
        (x0, x1), (loose_x0, loose_x1) = self._extents([p.columns for p in parts], column_axis)
        (y0, y1), (loose_y0, loose_y1) = self._extents([p.rows for p in parts], row_axis)
        outer = _boxes(x0, x1, y0, y1)
        inner = outer + self._doubt() * [1, 1, -1, -1]
        top, bottom = np.maximum(loose_y0 - BEYOND, 0), loose_y1 + BEYOND
        left, right = np.maximum(loose_x0 - BEYOND, 0), loose_x1 + BEYOND
        windows = self._windows(loose_y0, loose_y1, loose_x0, loose_x1)
        logits = [one for part in parts for one in part.logits.cpu()]
        return [
            Hint(
                int(chosen[i]),
                logits[i][top[i] : bottom[i], left[i] : right[i]].float().clone(),
                (int(top[i]), int(left[i])),
                _window(windows[i]),
                outer[i],
                inner[i],
            )
            for i in range(len(chosen))
        ]

    def _windows(self, y0: Lines, y1: Lines, x0: Lines, x1: Lines) -> Lines:
        """(C,) ranges of low-res rows and columns → (C, 4) windows; zeros where a range is empty."""
        some = (y1 > y0) & (x1 > x0)
        rows = self.upscaler.row_axis.reach(y0, np.maximum(y1, y0 + 1))
        columns = self.upscaler.column_axis.reach(x0, np.maximum(x1, x0 + 1))
        return np.stack([*rows, *columns], axis=1) * some[:, None]

    def _chunk(self, logits: Tensor) -> _Part:
        chosen = self._perhaps_stable(logits)
        logits = logits.contiguous() if chosen.all() else logits[torch.from_numpy(chosen).to(logits.device)]
        columns, rows = peaks(logits, self.upscaler.row_axis, self.upscaler.column_axis)
        return _Part(np.flatnonzero(chosen), logits, columns, rows)

    def _perhaps_stable(self, logits: Tensor) -> NDArray[np.bool_]:
        """(C,) False for those that would fail by far."""
        if self.lowest <= 0:
            return np.ones(len(logits), np.bool_)
        rows, columns = self.upscaler.frame.low_res_cut
        inside = logits[:, :rows, :columns]
        loose, strict = inside > self.threshold - self.offset, inside > self.threshold + self.offset
        area = np.maximum(_counts(loose), 1)
        outline = _outlines(loose) + _outlines(strict)
        allowed = STABILITY_MARGIN + OUTLINE_MARGIN * outline / area
        return np.asarray(_counts(strict) / area >= self.lowest - allowed, np.bool_)

    def _extents(self, peaks: list[Tensor], axis: Axis) -> tuple[Span, Span]:
        """(C, n, 2) peaks per line → spans of original lines above the threshold, and of low-res lines above
        `threshold - offset`."""
        highest = torch.cat(peaks)
        original = highest.flatten(1) @ axis.peak_matrix[:, : 2 * highest.shape[1]].T
        return _extent(original > self.threshold), _extent((highest > self.threshold - self.offset).any(dim=2))

    def _doubt(self) -> NDArray[np.float64]:
        """How far in the inner box lies, in pixels, along x, y, x, y."""
        frame = self.upscaler.frame
        return 0.75 * frame.canvas / frame.low_res / np.array(frame.scale_xy * 2) + 1


Lines = NDArray[np.int64]
Span = tuple[Lines, Lines]
"""First line and one behind the last, (C,) each; 0 and 0 where there is none."""


@dataclass(frozen=True, eq=False)
class _Part:
    """The candidates of a chunk that are not rejected."""

    chosen: Lines
    logits: Tensor
    columns: Tensor
    """(C, w, 2) highest logits of each column, from `peaks`."""
    rows: Tensor
    """(C, h, 2) likewise."""


def _window(sides: Lines) -> Window:
    y0, y1, x0, x1 = sides.tolist()
    return y0, y1, x0, x1


def peaks(logits: Tensor, row_axis: Axis, column_axis: Axis) -> tuple[Tensor, Tensor]:
    """Highest logits of each column and row on the photo's part of the canvas, next to the cells' centres.

    Between two cells values change linearly, so no canvas pixel is higher than those nearest to the centres, but for
    the photo's last row and column.

    Args:
        logits: (C, h, w) low-res.
        row_axis, column_axis: of the frame.

    Returns:
        (C, w, 2), just left and just right of each column's centre, and (C, h, 2), just above and below each row's.
    """
    columns: tuple[list[Tensor], list[Tensor]] = ([], [])
    rows: tuple[list[Tensor], list[Tensor]] = ([], [])
    for below, vertical in enumerate(_either_side(logits, 1, row_axis.aside)):
        for right, sample in enumerate(_either_side(vertical, 2, column_axis.aside)):
            if row_axis.inside[below]:
                columns[right].append(sample[:, : row_axis.inside[below]].amax(dim=1))
            if column_axis.inside[right]:
                rows[below].append(sample[:, :, : column_axis.inside[right]].amax(dim=2))
        rows[below].append(_end(vertical, 2, column_axis))
    for right, last in enumerate(_either_side(_end(logits, 1, row_axis).unsqueeze(1), 2, column_axis.aside)):
        columns[right].append(last.squeeze(1))
    return _highest(columns), _highest(rows)


def _highest(sides: tuple[list[Tensor], list[Tensor]]) -> Tensor:
    return torch.stack([reduce(torch.maximum, found) for found in sides], dim=2)


def _end(logits: Tensor, dim: int, axis: Axis) -> Tensor:
    """The photo's last canvas line along `dim`."""
    line, share = axis.end
    after = min(line + 1, logits.shape[dim] - 1)
    return torch.lerp(logits.select(dim, line), logits.select(dim, after), share)


def _either_side(logits: Tensor, dim: int, aside: float) -> tuple[Tensor, Tensor]:
    """Values just before and just after each cell's centre; at the edges the cell itself goes on."""
    rest = logits.shape[dim] - 1
    before, after = logits.clone(), logits.clone()
    before.narrow(dim, 1, rest).lerp_(logits.narrow(dim, 0, rest), aside)
    after.narrow(dim, 0, rest).lerp_(logits.narrow(dim, 1, rest), aside)
    return before, after


def _boxes(x0: Lines, x1: Lines, y0: Lines, y1: Lines) -> NDArray[np.float64]:
    """(C, 4) XYXY, inclusive maximum; zeros where a span is empty."""
    some = (x1 > x0) & (y1 > y0)
    return np.stack([x0, y0, x1 - 1, y1 - 1], axis=1) * some[:, None].astype(np.float64)


def _extent(lines: Tensor) -> Span:
    """(C, n) bool → where they are True."""
    array = lines.cpu().numpy()
    some = array.any(axis=1)
    return array.argmax(axis=1) * some, (array.shape[1] - array[:, ::-1].argmax(axis=1)) * some


def _counts(masks: Tensor) -> NDArray[np.int64]:
    """(C, h, w) bool → (C,) True cells."""
    if masks.device.type != "cpu":
        return masks.flatten(1).sum(dim=1).cpu().numpy()
    return np.array([np.count_nonzero(mask) for mask in masks.numpy()], np.int64)


def _outlines(masks: Tensor) -> NDArray[np.int64]:
    """(C, h, w) bool → (C,) places where neighbouring cells differ: the length of the outline, in cells."""
    return _counts(masks[:, 1:] != masks[:, :-1]) + _counts(masks[:, :, 1:] != masks[:, :, :-1])
