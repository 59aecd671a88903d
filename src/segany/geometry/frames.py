"""The frames of a photo: original, resized, canvas, low-res. The only resize arithmetic in the project.

All sizes are (height, width); all points (x, y) in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np

from segany.core.errors import OptionError

Coordinates = TypeVar("Coordinates")


def longest_side_size(size_hw: tuple[int, int], canvas: int) -> tuple[int, int]:
    """Size of a photo scaled so that its longest side is `canvas`, each side rounded half up and at least 1.

    Raises:
        OptionError: a size or canvas below one pixel.

    Source: Segment Anything released code (rounding rule).
    """
    height, width = size_hw
    if min(height, width, canvas) < 1:
        raise OptionError(
            f"sizes must be (height, width) of at least one pixel; got {(height, width)} on a canvas of {canvas}. "
            "Check that the image is not empty."
        )
    scale = canvas / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


@dataclass(frozen=True)
class Frame:
    """How one photo lies on a model's square canvas.

    Attributes:
        original_hw: the photo.
        resized_hw: the photo scaled to the canvas; it fills the top left corner.
        canvas: side of the canvas, pixels.
        low_res: side of the decoder's logits, pixels.
    """

    original_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    canvas: int
    low_res: int

    @classmethod
    def of(cls, original_hw: tuple[int, int], canvas: int, low_res: int) -> Frame:
        """Frame of a photo of size (H, W)."""
        height, width = int(original_hw[0]), int(original_hw[1])
        return cls((height, width), longest_side_size((height, width), canvas), canvas, low_res)

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Canvas pixels per original pixel, along x and y."""
        return self.resized_hw[1] / self.original_hw[1], self.resized_hw[0] / self.original_hw[0]

    @property
    def low_res_cut(self) -> tuple[int, int]:
        """Rows and columns of the low-res logits that touch the photo."""
        height, width = self.resized_hw
        return -(-height * self.low_res // self.canvas), -(-width * self.low_res // self.canvas)

    @property
    def low_res_reach(self) -> tuple[int, int]:
        """Rows and columns of the low-res logits that bilinear upscaling of the photo's part reads: one beyond."""
        rows, columns = self.low_res_cut
        return min(rows + 1, self.low_res), min(columns + 1, self.low_res)

    def to_canvas(self, points_xy: Coordinates) -> Coordinates:
        """(…, 2) original pixels → canvas pixels; numpy in, numpy out, tensor in, tensor out.

        Single and double precision are kept; halves and integers are widened.
        """
        return _scaled(points_xy, self.scale_xy)

    def to_original(self, points_xy: Coordinates) -> Coordinates:
        """(…, 2) canvas pixels → original pixels."""
        x, y = self.scale_xy
        return _scaled(points_xy, (1 / x, 1 / y))

    def boxes_to_canvas(self, boxes_xyxy: Coordinates) -> Coordinates:
        """(…, 4) XYXY original pixels → canvas pixels."""
        return _scaled(boxes_xyxy, self.scale_xy * 2)

    def boxes_to_original(self, boxes_xyxy: Coordinates) -> Coordinates:
        """(…, 4) XYXY canvas pixels → original pixels."""
        x, y = self.scale_xy
        return _scaled(boxes_xyxy, (1 / x, 1 / y) * 2)


def _scaled(values: Coordinates, factors: tuple[float, ...]) -> Coordinates:
    given: Any = values
    scaled: Any
    if hasattr(given, "new_tensor"):
        tensor = given if given.is_floating_point() and given.element_size() >= 4 else given.float()
        scaled = tensor * tensor.new_tensor(factors)
    else:
        array = np.asarray(given)
        array = array if array.dtype.kind == "f" and array.dtype.itemsize >= 4 else array.astype(np.float64)
        scaled = array * np.asarray(factors, dtype=array.dtype)
    return cast(Coordinates, scaled)
