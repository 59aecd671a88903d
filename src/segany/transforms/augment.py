"""Training views: a random crop of a photo on the canvas, with its masks on the low-res grid."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segany.transforms.config import ViewConfig


@dataclass(frozen=True)
class View:
    """A photo ready for training.

    Attributes:
        rgb: (S, S, 3) uint8 canvas; outside `valid_hw` it holds nothing.
        valid_hw: filled part of the canvas, pixels.
        masks: (N, S/t, S/t) float32 in [0, 1], the share of each cell of t canvas pixels that the mask covers.
    """

    rgb: NDArray[np.uint8]
    valid_hw: tuple[int, int]
    masks: NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """The part of a photo that a view shows, and how large.

    Attributes:
        crop_xyxy: whole pixels of the photo.
        scale: canvas pixels per pixel of the photo.
    """

    crop_xyxy: tuple[int, int, int, int]
    scale: float


def random_window(rng: np.random.Generator, size_hw: tuple[int, int], canvas: int, config: ViewConfig) -> Window:
    """All of a photo, a random rectangle of it that fills the canvas, or a jittered scale cut to the canvas."""
    height, width = size_hw
    if config.jitter is not None:
        return _jittered(rng, size_hw, canvas, config.jitter)
    if rng.random() < config.whole:
        return Window((0, 0, width, height), canvas / max(height, width))
    side = min(height, width) * np.exp(rng.uniform(np.log(config.min_side), 0.0))
    aspect = np.exp(rng.uniform(-0.3, 0.3))
    w = int(np.clip(side * aspect, min(8, width), width))
    h = int(np.clip(side / aspect, min(8, height), height))
    return Window(_placed(rng, size_hw, (h, w)), canvas / max(w, h))


def _jittered(rng: np.random.Generator, size_hw: tuple[int, int], canvas: int, scales: tuple[float, float]) -> Window:
    """Source: Simple copy-paste (arXiv 2012.07177), large-scale jitter."""
    scale = rng.uniform(*scales) * canvas / max(size_hw)
    seen_hw = (min(size_hw[0], max(1, int(canvas / scale))), min(size_hw[1], max(1, int(canvas / scale))))
    return Window(_placed(rng, size_hw, seen_hw), scale)


def _placed(rng: np.random.Generator, size_hw: tuple[int, int], crop_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    x, y = (int(rng.integers(0, size_hw[axis] - crop_hw[axis] + 1)) for axis in (1, 0))
    return x, y, x + crop_hw[1], y + crop_hw[0]


def jitter_colour(rng: np.random.Generator, rgb: NDArray[np.uint8], config: ViewConfig) -> NDArray[np.uint8]:
    """Brightness, contrast, saturation and channel balance, at random."""
    if rng.random() < config.grey:
        rgb = np.asarray(cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    if rng.random() >= config.colour:
        return rgb
    image = rgb.astype(np.float32)
    mean = image.mean()
    image = (image - mean) * rng.uniform(0.7, 1.35) + mean * rng.uniform(0.75, 1.25)
    grey = image.mean(axis=2, keepdims=True)
    image = grey + (image - grey) * rng.uniform(0.5, 1.5)
    image *= rng.uniform(0.9, 1.1, 3).astype(np.float32)
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def make_view(
    rng: np.random.Generator,
    rgb: NDArray[np.uint8],
    masks: list[NDArray[np.bool_]],
    canvas: int,
    config: ViewConfig,
    *,
    stride: int = 4,
) -> View:
    """Crop, flip, jitter and fit a photo to the canvas, masks along with it.

    Args:
        rng: source of randomness.
        rgb: (H, W, 3) uint8.
        masks: (H, W) bool each.
        canvas: S, pixels, a multiple of the stride.
        config: how far to go.
        stride: t, canvas pixels per cell of the masks; the decoder's own logits have 4.
    """
    window = random_window(rng, rgb.shape[:2], canvas, config)
    x0, y0, x1, y1 = window.crop_xyxy
    width, height = (_side(b - a, window.scale, canvas, stride) for a, b in ((x0, x1), (y0, y1)))
    flip = rng.random() < config.flip
    out = np.zeros((canvas, canvas, 3), np.uint8)
    resized = cv2.resize(rgb[y0:y1, x0:x1], (width, height), interpolation=_method(window.scale))
    resized = jitter_colour(rng, np.asarray(resized, np.uint8), config)
    out[:height, :width] = resized[:, ::-1] if flip else resized
    low = np.zeros((len(masks), canvas // stride, canvas // stride), np.float32)
    size = (width // stride, height // stride)
    for index, mask in enumerate(masks):
        crop = mask[y0:y1, x0:x1].astype(np.float32)
        small = cv2.resize(crop, size, interpolation=_method(window.scale / stride))
        low[index, : size[1], : size[0]] = small[:, ::-1] if flip else small
    return View(out, (height, width), low)


def square_crop(
    rng: np.random.Generator, rgb: NDArray[np.uint8], side: int, *, min_area: float = 0.2, flip: float = 0.5
) -> NDArray[np.uint8]:
    """A random part of a photo, stretched to a square that it fills.

    Args:
        rng: source of randomness.
        rgb: (H, W, 3) uint8.
        side: of the square, pixels.
        min_area: smallest part, as a share of the photo.
        flip: chance of a mirror image.

    Returns:
        (side, side, 3) uint8.

    Source: Masked autoencoders (arXiv 2111.06377): random resized crop, area 0.2 to 1, aspect 3:4 to 4:3.
    """
    height, width = rgb.shape[:2]
    area, aspect = height * width * rng.uniform(min_area, 1.0), np.exp(rng.uniform(-1, 1) * np.log(4 / 3))
    h = int(np.clip(round(np.sqrt(area / aspect)), 1, height))
    w = int(np.clip(round(np.sqrt(area * aspect)), 1, width))
    x0, y0, x1, y1 = _placed(rng, (height, width), (h, w))
    method = cv2.INTER_AREA if side <= min(h, w) else cv2.INTER_CUBIC
    out = np.asarray(cv2.resize(rgb[y0:y1, x0:x1], (side, side), interpolation=method), np.uint8)
    return np.ascontiguousarray(out[:, ::-1]) if rng.random() < flip else out


def _side(length: int, scale: float, canvas: int, stride: int) -> int:
    """Canvas pixels of a length of the photo, whole cells."""
    return min(canvas, max(stride, round(length * scale / stride) * stride))


def _method(scale: float) -> int:
    return cv2.INTER_AREA if scale <= 1 else cv2.INTER_LINEAR
