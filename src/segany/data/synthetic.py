"""Scenes of random polygons and blobs with textures: endless, exact masks that teach where a prompt points."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator


@dataclass(frozen=True)
class SyntheticScene:
    """A made picture and what lies in it.

    Attributes:
        rgb: (H, W, 3) uint8.
        masks: visible part of every shape, (H, W) bool each, in painting order.
    """

    rgb: NDArray[np.uint8]
    masks: list[NDArray[np.bool_]]


def synthetic_scene(rng: Rng, size: int, *, min_area_share: float = 0.003) -> SyntheticScene:
    """Paint 3 to 24 overlapping shapes on a textured ground.

    Args:
        rng: source of all randomness.
        size: side of the square picture, pixels.
        min_area_share: shapes whose visible part is smaller than this share of the picture are not returned.

    Returns:
        picture and visible masks.
    """
    rgb = _texture(rng, size)
    ids = np.zeros((size, size), np.uint8)
    for index in range(1, int(rng.integers(3, 25)) + 1):
        shape = _shape(rng, size)
        fill = _texture(rng, size)
        if rng.random() < 0.35:
            fill = np.asarray(cv2.addWeighted(fill, 0.4, rgb, 0.6, 0), np.uint8)
        np.copyto(rgb, fill, where=shape[..., None])
        ids[shape] = index
    if rng.random() < 0.7:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.4, 1.4))), np.uint8)
    rgb = _add_noise(rng, rgb, float(rng.uniform(0, 14)))
    found = (ids == index for index in range(1, int(ids.max()) + 1))
    return SyntheticScene(rgb, [m for m in found if m.sum() >= min_area_share * size * size])


def _add_noise(rng: Rng, rgb: NDArray[np.uint8], deviation: float) -> NDArray[np.uint8]:
    noise = rng.standard_normal(rgb.shape, dtype=np.float32) * np.float32(deviation)
    return np.asarray(np.clip(rgb + noise, 0, 255), np.uint8)


def _texture(rng: Rng, size: int) -> NDArray[np.uint8]:
    colour = rng.uniform(0, 255, 3).astype(np.float32)
    kind = rng.random()
    image: NDArray[np.float32]
    if kind < 0.3:
        image = np.broadcast_to(colour, (size, size, 3))
    elif kind < 0.65:
        image = _gradient(rng, size, colour)
    else:
        image = colour + _octaves(rng, size)
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def _gradient(rng: Rng, size: int, colour: NDArray[np.float32]) -> NDArray[np.float32]:
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    along = np.cos(angle) * ramp[None, :] + np.sin(angle) * ramp[:, None]
    if rng.random() < 0.3:
        along = np.sin(along * rng.uniform(8, 60)).astype(np.float32)
    return np.asarray(colour + along[..., None] * rng.normal(0, 45, 3), np.float32)


def _octaves(rng: Rng, size: int) -> NDArray[np.float32]:
    total = np.zeros((size, size, 3), np.float32)
    same_in_all_channels = rng.random() < 0.6
    for _ in range(int(rng.integers(1, 4))):
        cells = int(2 ** rng.uniform(1.5, 7))
        noise = rng.normal(0, rng.uniform(8, 40), (cells, cells, 1 if same_in_all_channels else 3))
        up = cv2.resize(noise.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
        total += up.reshape(size, size, -1)
    return total


def _shape(rng: Rng, size: int) -> NDArray[np.bool_]:
    canvas = np.zeros((size, size), np.uint8)
    centre = rng.uniform(0, size, 2)
    radius = size * float(np.exp(rng.uniform(np.log(0.03), np.log(0.4))))
    kind = rng.random()
    if kind < 0.25:
        axes = np.maximum(radius * rng.uniform(0.35, 1, 2), 2).astype(int).tolist()
        cv2.ellipse(canvas, centre.astype(int).tolist(), axes, float(rng.uniform(0, 360)), 0, 360, 1, -1)
    else:
        corners = int(rng.integers(3, 9)) if kind < 0.55 else 40
        cv2.fillPoly(canvas, [_outline(rng, centre, radius, corners)], 1)
    if rng.random() < 0.12:
        hole = (centre + rng.normal(0, radius * 0.15, 2)).astype(int).tolist()
        cv2.circle(canvas, hole, max(2, int(radius * rng.uniform(0.15, 0.4))), 0, -1)
    return canvas.astype(bool)


def _outline(rng: Rng, centre: NDArray[np.float64], radius: float, corners: int) -> NDArray[np.int32]:
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) if corners < 40 else np.linspace(0, 2 * np.pi, corners)
    reach = rng.uniform(0.5, 1, corners)
    if corners >= 40:
        waves = [rng.normal(0, 0.5 / k) * np.cos(k * angles + rng.uniform(0, 6.3)) for k in range(1, 6)]
        reach = np.clip(0.75 + 0.5 * np.sum(waves, axis=0), 0.15, 1.6)
    stretch = np.array([1.0, rng.uniform(0.3, 1.0)])
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None]
    return np.asarray(centre + radius * (circle * stretch) @ rotation.T, np.int32)
