"""Low-res logits → the original photo, only where there is something to see.

The model's rule is bilinear to the canvas, cut to the photo, bilinear to the original size. Both steps are linear and
act on rows and columns apart, so together they are two thin matrices, and any window of the photo can be computed
alone, at the price of that window. Each original line mixes few low-res lines, so the product is taken block by block.

h, w low-res grid · H, W original photo
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from segany.geometry.frames import Frame

Window = tuple[int, int, int, int]
"""Rows y0:y1 and columns x0:x1 of the original photo, as (y0, y1, x0, x1)."""
BLOCK_PIXELS = 1 << 17
"""Logits computed at once; half a megabyte stays in a core's cache."""
BLOCK_LINES = 128
"""Original lines mixed together at most: the more lines, the more low-res lines stand in the product with weight 0."""


def _axis_matrix(low_res: int, canvas: int, cut: int, original: int, device: torch.device) -> Tensor:
    """(original, low_res): how each original row is mixed from low-res rows; made in double precision."""
    impulses = torch.eye(low_res, dtype=torch.float64).unsqueeze(0)
    on_canvas = functional.interpolate(impulses, canvas, mode="linear", align_corners=False)
    mixed = functional.interpolate(on_canvas[..., :cut], original, mode="linear", align_corners=False)
    return mixed.squeeze(0).T.contiguous().float().to(device)


def _peak_matrix(low_res: int, canvas: int, cut: int, original: int, aside: float) -> Tensor:
    """(original, 2 · low_res): how each original line is mixed from values just before and after each cell's centre."""
    centres = np.arange(low_res)
    places = np.stack([centres - aside, centres + aside], axis=1).ravel()
    wanted = (np.arange(cut) + 0.5) * low_res / canvas - 0.5
    right = np.clip(np.searchsorted(places, wanted), 1, len(places) - 1)
    gap = places[right] - places[right - 1]
    share = np.clip(np.divide(wanted - places[right - 1], gap, out=np.zeros(cut), where=gap > 0), 0, 1)
    on_canvas = np.zeros((len(places), cut))
    on_canvas[right - 1, np.arange(cut)] = 1 - share
    on_canvas[right, np.arange(cut)] += share
    mixed = functional.interpolate(torch.from_numpy(on_canvas)[None], original, mode="linear", align_corners=False)
    return mixed.squeeze(0).T.contiguous().float()


class Axis:
    """One axis of the way from low-res to original.

    Attributes:
        aside: how far the canvas lines nearest to a low-res line's centre lie from it, in low-res lines.
        inside: how many low-res lines have the canvas line just before, and just after their centre in the photo.
        end: the photo's last canvas line, as a low-res line and the share of the next one in it.
        matrix: (original, low_res) float32 weights, banded.
        first, last: of each low-res line, the first and last original line it touches; first > last for none.
        low, high: of each original line, the low-res lines it mixes, half-open.
    """

    def __init__(self, low_res: int, canvas: int, cut: int, original: int, device: torch.device) -> None:
        self._sizes, self._device = (low_res, canvas, cut, original), device
        ratio = canvas // low_res
        self.aside = 0.0 if ratio % 2 else 0.5 * low_res / canvas
        nearest = np.arange(low_res) * ratio + ratio // 2
        self.inside = tuple(int(np.count_nonzero(lines < cut)) for lines in (nearest - 1 + ratio % 2, nearest))
        last = max((cut - 0.5) * low_res / canvas - 0.5, 0.0)
        self.end = int(last), last - int(last)
        self.matrix = _axis_matrix(low_res, canvas, cut, original, device)
        touched = (self.matrix != 0).cpu().numpy()
        some = touched.any(axis=0)
        self.first = np.where(some, touched.argmax(axis=0), original)
        self.last = np.where(some, original - 1 - touched[::-1].argmax(axis=0), -1)
        self.low = touched.argmax(axis=1)
        self.high = low_res - touched[:, ::-1].argmax(axis=1)

    @cached_property
    def peak_matrix(self) -> Tensor:
        """(original, 2 · low_res) weights of the values `aside` before and after each low-res line's centre."""
        return _peak_matrix(*self._sizes, self.aside).to(self._device)

    def span(self, lines: NDArray[np.bool_]) -> tuple[int, int]:
        """Original lines, half-open, that the True ones of all low-res lines touch."""
        if not lines.any():
            return 0, 0
        first = int(self.first[lines].min())
        return first, max(int(self.last[lines].max()) + 1, first)

    def reach(self, start: NDArray[np.int64], stop: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(N,) half-open ranges of low-res lines, none empty → the original lines they touch, half-open."""
        first, last = np.minimum.accumulate(self.first[::-1])[::-1], np.maximum.accumulate(self.last)
        return first[start], np.maximum(last[stop - 1] + 1, first[start])

    def mix(self, values: Tensor, start: int, stop: int, origin: int = 0) -> Tensor:
        """Original lines start…stop, (stop - start, n), of low-res lines `origin`…, (lines, n).

        Low-res lines that are not in `values` count as 0.
        """
        low = max(int(self.low[start]) - origin, 0)
        high = min(int(self.high[stop - 1]) - origin, len(values))
        return self.matrix[start:stop, low + origin : high + origin] @ values[low:high]


class Upscaler:
    """Brings low-res logits of one frame to its original size.

    Args:
        frame: the photo's frame.
        device: where the logits live.
    """

    def __init__(self, frame: Frame, device: torch.device | str = "cpu") -> None:
        self.frame = frame
        device = torch.device(device)
        (height, width), (rows, columns) = frame.original_hw, frame.resized_hw
        self.row_axis = Axis(frame.low_res, frame.canvas, rows, height, device)
        self.column_axis = Axis(frame.low_res, frame.canvas, columns, width, device)
        self.rows, self.columns = self.row_axis.matrix, self.column_axis.matrix

    def window(self, low_res: Tensor, above: float) -> Window:
        """Smallest window outside which no original logit exceeds `above`: bilinear mixing never overshoots.

        Args:
            low_res: (h, w) logits.
            above: in logits.
        """
        active = (low_res > above).cpu().numpy()
        y0, y1 = self.row_axis.span(np.asarray(active.any(axis=1)))
        x0, x1 = self.column_axis.span(np.asarray(active.any(axis=0)))
        return (y0, y1, x0, x1) if y1 > y0 and x1 > x0 else (0, 0, 0, 0)

    def logits(self, low_res: Tensor, window: Window | None = None) -> Tensor:
        """(…, h, w) logits → (…, H, W), or only a window of it, float32."""
        rows, columns = self.rows, self.columns
        if window is not None:
            rows, columns = rows[window[0] : window[1]], columns[window[2] : window[3]]
        low_res = low_res.float()
        if rows.shape[0] * low_res.shape[-1] <= columns.shape[0] * low_res.shape[-2]:
            return (rows @ low_res) @ columns.T
        return rows @ (low_res @ columns.T)

    def columns_of(self, low_res: Tensor, window: Window, corner: tuple[int, int] = (0, 0)) -> Iterator[Block]:
        """A window of the original, a few columns at a time, laid out column by column: the order of run lengths.

        Args:
            low_res: (h, w) logits, or a part of them that holds everything the window mixes.
            window: what to compute.
            corner: row and column of the part.
        """
        y0, y1, x0, x1 = window
        return _blocks(self.row_axis, self.column_axis, low_res, (y0, y1), (x0, x1), corner)

    def rows_of(self, low_res: Tensor, window: Window) -> Iterator[Block]:
        """The same, a few rows at a time, laid out row by row."""
        y0, y1, x0, x1 = window
        return _blocks(self.column_axis, self.row_axis, low_res.mT, (x0, x1), (y0, y1), (0, 0))

    def mask(self, low_res: Tensor, threshold: float, out: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """(h, w) logits → (H, W) bool, strictly above the threshold; written into `out`, all False, when given."""
        mask = np.zeros(self.frame.original_hw, np.bool_) if out is None else out
        y0, y1, x0, x1 = window = self.window(low_res, threshold)
        if y1 > y0:
            for top, block in self.rows_of(low_res, window):
                np.greater(block, threshold, out=mask[top : top + len(block), x0:x1])
        return mask


Block = tuple[int, NDArray[np.float32]]
"""First line of a block, and its logits."""


def _blocks(
    inner: Axis, outer: Axis, low_res: Tensor, across: tuple[int, int], along: tuple[int, int], corner: tuple[int, int]
) -> Iterator[Block]:
    """Blocks of (outer lines, inner lines), first outer line first, of (inner, outer) low-res logits."""
    values = low_res.float()
    parts = [
        inner.mix(values, start, min(start + BLOCK_LINES, across[1]), corner[0])
        for start in range(across[0], across[1], BLOCK_LINES)
    ]
    half = torch.cat(parts).T.contiguous()
    lines = min(max(1, BLOCK_PIXELS // max(1, half.shape[1])), BLOCK_LINES)
    for start in range(along[0], along[1], lines):
        yield start, outer.mix(half, start, min(start + lines, along[1]), corner[1]).cpu().numpy()
