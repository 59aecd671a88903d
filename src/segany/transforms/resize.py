"""RGB → model input, with the frame that tells where everything went.

H, W original photo · S canvas
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from segany.geometry.frames import Frame, longest_side_size

BAND_PIXELS = 1 << 22
"""Pixels of a photo that are resized together; bounds memory."""


def resize_longest_side(rgb: NDArray[np.uint8], canvas: int) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 → longest side `canvas`, antialiased bilinear; a view into a larger photo will do.

    A large photo is narrowed a band of rows at a time before its rows are mixed, so that beside it only a band and a
    picture `canvas` wide are held. In one piece PIL may take the two steps in the other order, which rounds some
    pixels to the next level.

    Source: Segment Anything released code (PIL's bilinear filter).
    """
    height, width = longest_side_size((rgb.shape[0], rgb.shape[1]), canvas)
    if rgb.shape[:2] == (height, width):
        return rgb
    if rgb.shape[0] * rgb.shape[1] <= BAND_PIXELS:
        return _resized(np.ascontiguousarray(rgb), (width, height))
    rows = max(1, BAND_PIXELS // rgb.shape[1])
    narrow = np.empty((rgb.shape[0], width, 3), np.uint8)
    for top in range(0, rgb.shape[0], rows):
        band = np.ascontiguousarray(rgb[top : top + rows])
        narrow[top : top + rows] = _resized(band, (width, len(band)))
    return _resized(narrow, (width, height))


def _resized(rgb: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(rgb).resize(size_wh, Image.Resampling.BILINEAR))


class ImageTransform:
    """Fits a photo into a model's canvas.

    Args:
        canvas: S, pixels.
        low_res: side of the decoder's logits, for the frame.
        pixel_mean: per channel, RGB in 0–255.
        pixel_std: likewise.
    """

    def __init__(self, canvas: int, low_res: int, pixel_mean: Sequence[float], pixel_std: Sequence[float]) -> None:
        self.canvas, self.low_res = canvas, low_res
        self.mean = torch.tensor(list(pixel_mean), dtype=torch.float32).view(3, 1, 1)
        self.std = torch.tensor(list(pixel_std), dtype=torch.float32).view(3, 1, 1)

    def __call__(self, rgb: NDArray[np.uint8]) -> tuple[Tensor, Frame]:
        """(H, W, 3) uint8 RGB → (3, S, S) float32 normalised, then zero-padded right and below; and its frame."""
        frame = Frame.of((rgb.shape[0], rgb.shape[1]), self.canvas, self.low_res)
        height, width = frame.resized_hw
        photo = torch.from_numpy(np.array(resize_longest_side(rgb, self.canvas))).permute(2, 0, 1).float()
        pixels = torch.zeros(3, self.canvas, self.canvas)
        pixels[:, :height, :width] = (photo - self.mean) / self.std
        return pixels, frame
