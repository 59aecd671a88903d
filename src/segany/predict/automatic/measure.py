"""One mask at the photo's own size: its runs, its box, its stability. Nothing larger than a block of logits is held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from segany.geometry.boxes import sides_near_crop_edge
from segany.masks.runs import runs_of_columns
from segany.predict.automatic.tally import CUT, STABILITY
from segany.predict.upscale import Upscaler, Window

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Measured:
    """What is known of a mask at full size.

    Attributes:
        rle: COCO RLE at the size of the photo.
        box: XYXY, inclusive maximum, pixels of the crop; zeros for an empty mask.
        stability: stability score; an empty mask scores 0.
    """

    rle: dict[str, Any]
    box: Box
    stability: float


@dataclass(frozen=True)
class Ruler:
    """Measures masks of one crop.

    Attributes:
        upscaler: of the crop's frame, on the CPU.
        threshold: cut on logits.
        offset: shift of the cut for the stability score.
        crop: XYXY in the photo.
        size_hw: the photo.
    """

    upscaler: Upscaler
    threshold: float
    offset: float
    crop: Box
    size_hw: tuple[int, int]

    def cut_by_crop(self, boxes_xyxy: ArrayLike) -> NDArray[np.bool_]:
        """Which boxes, (N, 4) in pixels of the crop, touch an edge of the crop that is none of the photo."""
        return self.surely_cut(boxes_xyxy, boxes_xyxy)

    def surely_cut(self, outer_xyxy: ArrayLike, inner_xyxy: ArrayLike) -> NDArray[np.bool_]:
        """The same for boxes known by bounds: which touch it wherever in between they lie."""
        photo = (0, 0, self.size_hw[1], self.size_hw[0])
        outer, inner = (sides_near_crop_edge(boxes, self.crop, photo) for boxes in (outer_xyxy, inner_xyxy))
        return np.asarray((outer & inner).any(axis=1), np.bool_)

    def refuses(self, measured: Measured, lowest: float) -> str | None:
        """The name of the filter that drops a measured mask; None when it may stay."""
        if lowest > 0 and measured.stability < lowest:
            return STABILITY
        return CUT if self.cut_by_crop([measured.box]).any() else None

    def measure(self, low_res: Tensor, corner: tuple[int, int] = (0, 0), window: Window | None = None) -> Measured:
        """Measure one mask.

        Args:
            low_res: (h, w) float32 logits, or the part of them that the window mixes.
            corner: row and column of the part.
            window: of the crop, holding everything above `threshold - offset`; found when None.
        """
        loose, strict = self.threshold - self.offset, self.threshold + self.offset
        window = self.upscaler.window(low_res, loose) if window is None else window
        counts = np.zeros(2, np.int64)

        def columns() -> Iterator[tuple[int, NDArray[np.bool_]]]:
            for left, logits in self.upscaler.columns_of(low_res, window, corner):
                counts[0] += np.count_nonzero(logits > loose)
                counts[1] += np.count_nonzero(logits > strict)
                yield left, logits > self.threshold

        runs = runs_of_columns(
            columns() if window[1] > window[0] and window[3] > window[2] else (),
            window[0],
            self.upscaler.frame.original_hw,
        )
        whole = runs.placed((self.crop[1], self.crop[0]), self.size_hw)
        stability = float(counts[1] / counts[0]) if counts[0] else 0.0
        return Measured(whole.rle(), runs.inclusive_box(), stability)
