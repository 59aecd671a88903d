"""Training views: a random crop of a photo on the canvas, with its masks on the low-res grid."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """How far a training view may stray from the photo."""

    whole: float = 0.4
    """Chance that the view is the whole photo, as in prediction."""
    min_side: float = 0.35
    """Smallest side of a crop, as a share of the photo's shorter side."""
    flip: float = 0.5
    """Chance of a mirror image."""
    colour: float = 0.8
    """Chance of a change of brightness, contrast, saturation and hue."""
    grey: float = 0.08
    """Chance that colour is taken away."""


@dataclass(frozen=True)
class View:
    """A photo ready for training.

    Attributes:
        rgb: (S, S, 3) uint8 canvas; outside `valid_hw` it holds nothing.
        valid_hw: filled part of the canvas, pixels.
        masks: (N, S/4, S/4) float32 in [0, 1], the share of each low-res cell that the mask covers.
    """

    rgb: NDArray[np.uint8]
    valid_hw: tuple[int, int]
    masks: NDArray[np.float32]


def random_window(rng: np.random.Generator, size_hw: tuple[int, int], config: ViewConfig) -> tuple[int, int, int, int]:
    """XYXY crop in pixels of the photo: all of it, or a random rectangle."""
    height, width = size_hw
    if rng.random() < config.whole:
        return 0, 0, width, height
    side = min(height, width) * np.exp(rng.uniform(np.log(config.min_side), 0.0))
    aspect = np.exp(rng.uniform(-0.3, 0.3))
    w = int(np.clip(side * aspect, 8, width))
    h = int(np.clip(side / aspect, 8, height))
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    return x, y, x + w, y + h


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
) -> View:
    """Crop, flip, jitter and fit a photo to the canvas, masks along with it.

    Args:
        rng: source of randomness.
        rgb: (H, W, 3) uint8.
        masks: (H, W) bool each.
        canvas: S, pixels, a multiple of 4.
        config: how far to go.
    """
    x0, y0, x1, y1 = random_window(rng, rgb.shape[:2], config)
    scale = canvas / max(x1 - x0, y1 - y0)
    width, height = (max(4, round((b - a) * scale / 4) * 4) for a, b in ((x0, x1), (y0, y1)))
    flip = rng.random() < config.flip
    out = np.zeros((canvas, canvas, 3), np.uint8)
    shrunk = cv2.resize(rgb[y0:y1, x0:x1], (width, height), interpolation=cv2.INTER_AREA)
    resized = jitter_colour(rng, np.asarray(shrunk, np.uint8), config)
    out[:height, :width] = resized[:, ::-1] if flip else resized
    low = np.zeros((len(masks), canvas // 4, canvas // 4), np.float32)
    for index, mask in enumerate(masks):
        crop = mask[y0:y1, x0:x1].astype(np.float32)
        small = cv2.resize(crop, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
        low[index, : height // 4, : width // 4] = small[:, ::-1] if flip else small
    return View(out, (height, width), low)
