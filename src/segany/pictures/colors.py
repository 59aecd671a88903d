"""Colours that stay apart: hues a golden angle from one another in OKLCH, a perceptual space."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))
FOREGROUND: Color = (46, 204, 64)
BACKGROUND: Color = (255, 65, 54)
WHITE: Color = (255, 255, 255)

_LIGHTNESS = (0.72, 0.62, 0.80)
_CHROMA = 0.16
_FIRST_HUE = 4.45
"""A clear blue: the colour of a lone mask."""


def oklch_to_rgb(lightness: float, chroma: float, hue: float) -> Color:
    """sRGB bytes of a colour given in OKLCH (hue in radians), chroma lowered until it fits the screen.

    Source: B. Ottosson, "A perceptual color space for image processing" (2020).
    """
    for _ in range(12):
        linear = _oklab_to_linear(lightness, chroma * math.cos(hue), chroma * math.sin(hue))
        if min(linear) >= -1e-3 and max(linear) <= 1 + 1e-3:
            break
        chroma *= 0.9
    red, green, blue = (round(255 * _gamma(min(max(value, 0.0), 1.0))) for value in linear)
    return red, green, blue


def distinct_color(index: int) -> Color:
    """The colour of mask number `index`; neighbours in number are far apart in hue and lightness."""
    lightness = _LIGHTNESS[index % len(_LIGHTNESS)]
    return oklch_to_rgb(lightness, _CHROMA, _FIRST_HUE + index * GOLDEN_ANGLE)


def distinct_colors(count: int) -> NDArray[np.uint8]:
    """(count, 3) uint8 colours, see `distinct_color`."""
    return np.array([distinct_color(i) for i in range(count)], dtype=np.uint8).reshape(count, 3)


def darker(color: Color, share: float = 0.55) -> Color:
    """The same hue, darker: each channel times `share`."""
    red, green, blue = (round(channel * share) for channel in color)
    return red, green, blue


def _oklab_to_linear(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _gamma(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
