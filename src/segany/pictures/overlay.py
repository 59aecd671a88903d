"""Masks, prompts and outlines drawn over the photo they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from segany.core.errors import OptionError
from segany.pictures.colors import BACKGROUND, FOREGROUND, WHITE, Color, darker, distinct_color
from segany.records.record import MaskRecord

Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class OverlayStyle:
    """How an overlay looks."""

    alpha: float = 0.45
    """Weight of a mask's colour over the photo, 0 to 1."""

    outlines: bool = True
    """Draw each mask's border, in a darker tone of its colour."""

    dim: float = 0.0
    """How far everything outside all masks is darkened, 0 (not at all) to 1 (black)."""

    enlarge_to: int | None = None
    """Scale a smaller photo up to this longest side before drawing, in pixels; None keeps its size."""

    line: int | None = None
    """Line width in pixels; None takes 1 per 350 pixels of the shorter side."""


def draw_overlay(
    rgb: Rgb,
    masks: Iterable[Mask | MaskRecord] | NDArray[np.bool_] = (),
    *,
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
    colors: Sequence[Color] | None = None,
    style: OverlayStyle | None = None,
) -> Rgb:
    """The photo with coloured masks, and the prompts that made them.

    Args:
        rgb: (H, W, 3) uint8 photo; it is not changed.
        masks: (H, W) boolean masks or records; larger ones are painted first, smaller ones stay visible.
        points: (K, 2) clicks as x, y in pixels of the photo.
        labels: (K,) 1 for foreground (a green star), 0 for background (a red disc); all 1 when left out.
        boxes: (4,) or (P, 4) as x0, y0, x1, y1 in pixels of the photo.
        colors: one per mask, in the order given; well separated ones when left out.
        style: weights and widths.

    Returns:
        (H, W, 3) uint8; larger when `style.enlarge_to` asks for it.

    Raises:
        OptionError: a mask's size differs from the photo's.
    """
    style = style or OverlayStyle()
    canvas, scale = _enlarged(np.asarray(rgb), style.enlarge_to)
    line = style.line or max(1, round(min(canvas.shape[:2]) / 350))
    layers = _layers(masks, rgb.shape[:2], colors)
    canvas = _paint(canvas, layers, scale, style, line)
    if boxes is not None:
        for box in np.asarray(boxes, dtype=np.float64).reshape(-1, 4):
            _draw_box(canvas, box * scale, line)
    if points is not None:
        xy = np.asarray(points, dtype=np.float64).reshape(-1, 2) * scale
        kinds = np.ones(len(xy)) if labels is None else np.asarray(labels).reshape(-1)
        for (x, y), kind in zip(xy, kinds, strict=True):
            _draw_point(canvas, float(x), float(y), foreground=kind == 1, line=line)
    return canvas


@dataclass(frozen=True)
class _Layer:
    mask: Mask | MaskRecord
    area: int
    color: Color


def _layers(
    masks: Iterable[Mask | MaskRecord] | NDArray[np.bool_],
    size_hw: tuple[int, ...],
    colors: Sequence[Color] | None,
) -> list[_Layer]:
    """Largest first; records stay encoded until they are painted, one at a time."""
    layers = []
    for index, mask in enumerate(masks):
        if isinstance(mask, MaskRecord):
            area = int(mask.area)
        else:
            mask = np.asarray(mask, dtype=bool)
            if mask.shape != tuple(size_hw):
                raise OptionError(
                    f"a mask must have the photo's height and width {tuple(size_hw)}; got {mask.shape}. "
                    "Pass masks at the original size of the image."
                )
            area = int(np.count_nonzero(mask))
        color = colors[index % len(colors)] if colors else distinct_color(index)
        layers.append(_Layer(mask, area, color))
    return sorted(layers, key=lambda layer: -layer.area)


def _paint(canvas: Rgb, layers: list[_Layer], scale: float, style: OverlayStyle, line: int) -> Rgb:
    tint = canvas.copy()
    covered = np.zeros(canvas.shape[:2], dtype=bool)
    borders: list[tuple[list[NDArray[np.int32]], Color]] = []
    for layer in layers:
        mask = _at_scale(layer.mask, canvas.shape[:2], scale)
        if not layer.area:
            continue
        x0, y0, x1, y1 = _extent(mask)
        window = mask[y0:y1, x0:x1]
        tint[y0:y1, x0:x1][window] = layer.color
        covered[y0:y1, x0:x1] |= window
        borders.append((_contours(window, x0, y0), layer.color))
    if style.dim:
        canvas = np.where(covered[..., None], canvas, (canvas * (1 - style.dim)).astype(np.uint8))
        tint = np.where(covered[..., None], tint, canvas)
    painted = cv2.addWeighted(tint, style.alpha, canvas, 1 - style.alpha, 0.0)
    drawn: Rgb = np.ascontiguousarray(np.where(covered[..., None], painted, canvas), dtype=np.uint8)
    for contours, color in borders:
        if style.outlines:
            cv2.polylines(drawn, contours, True, darker(color), line, cv2.LINE_AA)
        _mark_if_tiny(drawn, contours, color, line)
    return drawn


def _at_scale(mask: Mask | MaskRecord, size_hw: tuple[int, ...], scale: float) -> Mask:
    array: Mask = mask.mask if isinstance(mask, MaskRecord) else mask
    if scale == 1:
        return array
    height, width = size_hw
    soft = cv2.resize(array.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(soft >= 0.5)


def _extent(mask: Mask) -> tuple[int, int, int, int]:
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _contours(window: Mask, x0: int, y0: int) -> list[NDArray[np.int32]]:
    if not window.size:
        return []
    found, _ = cv2.findContours(window.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x0, y0))
    return [np.asarray(contour, dtype=np.int32) for contour in found]


def _mark_if_tiny(drawn: Rgb, contours: list[NDArray[np.int32]], color: Color, line: int) -> None:
    """A mask too small to be seen gets a ring around it."""
    if not contours:
        return
    around = np.concatenate(contours).reshape(-1, 2)
    low, high = around.min(axis=0), around.max(axis=0)
    if max(high - low) >= 4 * line:
        return
    x, y = ((low + high) // 2).tolist()
    cv2.circle(drawn, (x, y), 4 * line, WHITE, line + 2, cv2.LINE_AA)
    cv2.circle(drawn, (x, y), 4 * line, color, line, cv2.LINE_AA)


def _enlarged(rgb: Rgb, longest: int | None) -> tuple[Rgb, float]:
    """A copy of the photo, scaled up to `longest` when it is smaller, and the factor."""
    height, width = rgb.shape[:2]
    if longest is None or max(height, width) >= longest:
        return np.ascontiguousarray(rgb).copy(), 1.0
    scale = longest / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8), scale


def _draw_box(canvas: Rgb, box_xyxy: NDArray[np.float64], line: int) -> None:
    x0, y0, x1, y1 = (round(float(value)) for value in box_xyxy)
    cv2.rectangle(canvas, (x0, y0), (x1, y1), WHITE, 2 * line + 2, cv2.LINE_AA)
    cv2.rectangle(canvas, (x0, y0), (x1, y1), FOREGROUND, 2 * line, cv2.LINE_AA)


def _draw_point(canvas: Rgb, x: float, y: float, *, foreground: bool, line: int) -> None:
    """A star for "this", a disc for "not this", both with a white rim."""
    radius = max(5, 8 * line)
    shift = 4
    if foreground:
        angles = -np.pi / 2 + np.arange(10) * np.pi / 5
        reach = np.where(np.arange(10) % 2 == 0, radius, radius * 0.45)
        star = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], axis=1)
        corners = np.round(star * 2**shift).astype(np.int32)[None]
        cv2.polylines(canvas, corners, True, WHITE, 2 * line + 1, cv2.LINE_AA, shift)
        cv2.fillPoly(canvas, corners, FOREGROUND, cv2.LINE_AA, shift)
        return
    centre = (round(x * 2**shift), round(y * 2**shift))
    cv2.circle(canvas, centre, round((0.65 * radius + line) * 2**shift), WHITE, -1, cv2.LINE_AA, shift)
    cv2.circle(canvas, centre, round(0.65 * radius * 2**shift), BACKGROUND, -1, cv2.LINE_AA, shift)
