"""Overlays: what is coloured, what stays, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from segany.core.errors import OptionError
from segany.pictures.colors import BACKGROUND, FOREGROUND, darker, distinct_color, distinct_colors
from segany.pictures.overlay import OverlayStyle, draw_overlay
from segany.records.record import MaskRecord


def grey(height: int = 60, width: int = 90, level: int = 128) -> NDArray[np.uint8]:
    return np.full((height, width, 3), level, dtype=np.uint8)


def rectangle(top: int, left: int, bottom: int, right: int, size: tuple[int, int] = (60, 90)) -> NDArray[np.bool_]:
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def test_colors_stay_apart() -> None:
    colors = distinct_colors(24).astype(int)
    distances = [np.abs(a - b).sum() for a, b in itertools.combinations(colors, 2)]
    assert min(distances) > 20
    assert all(np.abs(colors[i] - colors[i + 1]).sum() > 120 for i in range(23))
    assert distinct_colors(0).shape == (0, 3)


def test_a_mask_is_coloured_inside_and_nothing_changes_outside() -> None:
    rgb = grey()
    before = rgb.copy()
    drawn = draw_overlay(rgb, [rectangle(10, 20, 40, 60)])
    assert drawn.shape == rgb.shape and drawn.dtype == np.uint8
    assert (rgb == before).all()
    assert (drawn[:8] == 128).all() and (drawn[44:] == 128).all()
    expected = 0.45 * np.array(distinct_color(0)) + 0.55 * 128
    assert np.abs(drawn[25, 40] - expected).max() <= 1
    outline = np.array(darker(distinct_color(0)))
    assert np.abs(drawn[10, 40] - outline).max() < np.abs(drawn[10, 40] - expected).max()


def test_smaller_masks_are_drawn_on_top_whatever_the_order() -> None:
    large, small = rectangle(0, 0, 60, 90), rectangle(20, 30, 40, 60)
    colors = [(255, 0, 0), (0, 0, 255)]
    first = draw_overlay(grey(), [large, small], colors=colors)
    last = draw_overlay(grey(), [small, large], colors=colors[::-1])
    assert first[30, 45, 2] > first[30, 45, 0]
    assert (first == last).all()


def test_records_are_drawn_like_their_masks() -> None:
    mask = rectangle(5, 5, 30, 44)
    from_record = draw_overlay(grey(), [MaskRecord.from_mask(mask)])
    assert (from_record == draw_overlay(grey(), mask[None])).all()


def test_dim_darkens_only_the_outside() -> None:
    mask = rectangle(10, 20, 40, 60)
    drawn = draw_overlay(grey(), [mask], style=OverlayStyle(dim=0.5, alpha=0.0, outlines=False))
    assert (drawn[~mask] == 64).all()
    assert (drawn[mask] == 128).all()


def test_a_single_pixel_can_be_seen() -> None:
    mask = rectangle(30, 45, 31, 46)
    drawn = draw_overlay(grey(), [mask])
    assert (drawn != 128).any(axis=-1).sum() > 20


def test_an_empty_mask_and_no_masks_draw_nothing() -> None:
    assert (draw_overlay(grey(), [np.zeros((60, 90), dtype=bool)]) == 128).all()
    assert (draw_overlay(grey()) == 128).all()


def test_prompts_are_drawn_where_they_are() -> None:
    drawn = draw_overlay(grey(), points=[(20, 30), (70, 30)], labels=[1, 0], boxes=(5, 5, 85, 55))
    assert tuple(drawn[30, 20]) == FOREGROUND
    assert tuple(drawn[30, 70]) == BACKGROUND
    assert tuple(drawn[5, 45]) == FOREGROUND and tuple(drawn[30, 85]) == FOREGROUND
    assert tuple(drawn[15, 45]) == (128, 128, 128)


def test_enlarging_scales_photo_masks_and_prompts_together() -> None:
    mask = rectangle(0, 45, 60, 90)
    drawn = draw_overlay(grey(), [mask], points=(10, 30), style=OverlayStyle(enlarge_to=360))
    assert drawn.shape == (240, 360, 3)
    assert tuple(drawn[120, 40]) == FOREGROUND
    assert (drawn[20:220, 100:170] == 128).all()
    assert (drawn[120, 250] != 128).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_any_size_works(size: tuple[int, int]) -> None:
    drawn = draw_overlay(grey(*size), [np.ones(size, dtype=bool)], points=[(0, 0)], boxes=(0, 0, 1, 1))
    assert drawn.shape == (*size, 3)


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(OptionError, match=r"\(60, 90\).*\(90, 60\)"):
        draw_overlay(grey(), [np.ones((90, 60), dtype=bool)])
