"""Low-res logits → the original photo, only where there is something to see.

The model's rule is bilinear to the canvas, cut to the photo, bilinear to the original size. Both steps are linear and
act on rows and columns apart, so together they are two thin matrices, and any window of the photo can be computed
alone, at the price of that window.

h, w low-res grid · H, W original photo
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from segany.geometry.frames import Frame

Window = tuple[int, int, int, int]
"""Rows y0:y1 and columns x0:x1 of the original photo, as (y0, y1, x0, x1)."""
STRIP_PIXELS = 1 << 24
"""Logits held at once while a mask is made; bounds memory on large photos, changes no mask."""


def _axis_matrix(low_res: int, canvas: int, cut: int, original: int, device: torch.device) -> Tensor:
    """(original, low_res): how each original row is mixed from low-res rows; made in double precision."""
    impulses = torch.eye(low_res, dtype=torch.float64).unsqueeze(0)
    on_canvas = functional.interpolate(impulses, canvas, mode="linear", align_corners=False)
    mixed = functional.interpolate(on_canvas[..., :cut], original, mode="linear", align_corners=False)
    return mixed.squeeze(0).T.contiguous().float().to(device)


@dataclass(frozen=True)
class _Reach:
    """First and last original line that each low-res line touches; first > last where it touches none."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]

    @classmethod
    def of(cls, matrix: Tensor) -> _Reach:
        touched = (matrix != 0).cpu().numpy()
        some = touched.any(axis=0)
        first = np.where(some, touched.argmax(axis=0), len(touched))
        last = np.where(some, len(touched) - 1 - touched[::-1].argmax(axis=0), -1)
        return cls(first, last)

    def span(self, lines: NDArray[np.bool_]) -> tuple[int, int]:
        if not lines.any():
            return 0, 0
        return int(self.first[lines].min()), max(int(self.last[lines].max()) + 1, int(self.first[lines].min()))


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
        self.rows = _axis_matrix(frame.low_res, frame.canvas, rows, height, device)
        self.columns = _axis_matrix(frame.low_res, frame.canvas, columns, width, device)
        self._row_reach, self._column_reach = _Reach.of(self.rows), _Reach.of(self.columns)

    def window(self, low_res: Tensor, above: float) -> Window:
        """Smallest window outside which no original logit exceeds `above`: bilinear mixing never overshoots.

        Args:
            low_res: (h, w) logits.
            above: in logits.
        """
        active = (low_res > above).cpu().numpy()
        y0, y1 = self._row_reach.span(np.asarray(active.any(axis=1)))
        x0, x1 = self._column_reach.span(np.asarray(active.any(axis=0)))
        return (y0, y1, x0, x1) if y1 > y0 and x1 > x0 else (0, 0, 0, 0)

    def logits(self, low_res: Tensor, window: Window | None = None, *, by_column: bool = False) -> Tensor:
        """(…, h, w) logits → (…, H, W), or only a window of it, float32.

        `by_column` lays the result out column by column in memory, the order in which run lengths are counted.
        """
        rows, columns = self.rows, self.columns
        if window is not None:
            rows, columns = rows[window[0] : window[1]], columns[window[2] : window[3]]
        low_res = low_res.float()
        if by_column:
            return (columns @ low_res.mT @ rows.T).mT
        if rows.shape[0] * low_res.shape[-1] <= columns.shape[0] * low_res.shape[-2]:
            return (rows @ low_res) @ columns.T
        return rows @ (low_res @ columns.T)

    def mask(self, low_res: Tensor, threshold: float, out: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """(h, w) logits → (H, W) bool, strictly above the threshold; written into `out`, all False, when given."""
        mask = np.zeros(self.frame.original_hw, np.bool_) if out is None else out
        y0, y1, x0, x1 = self.window(low_res, threshold)
        strip = max(1, STRIP_PIXELS // max(1, x1 - x0))
        for top in range(y0, y1, strip):
            bottom = min(top + strip, y1)
            mask[top:bottom, x0:x1] = (self.logits(low_res, (top, bottom, x0, x1)) > threshold).cpu().numpy()
        return mask
