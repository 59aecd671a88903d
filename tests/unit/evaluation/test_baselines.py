from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from segany.core.errors import OptionError
from segany.evaluation.baselines import BaselineConfig, BaselineScorer, filled_box, grabcut, segments_under


def test_flat_colours_are_easy(scene: Any) -> None:
    small_rgb, small_truths = scene
    rgb = small_rgb.repeat(5, axis=0).repeat(5, axis=1)
    truths = small_truths.repeat(5, axis=1).repeat(5, axis=2)
    scores = BaselineScorer()(rgb, truths)
    assert scores["filled_box"].tolist() == [1.0, 1.0]
    assert (scores["felzenszwalb"] > 0.8).all() and (scores["grabcut"] > 0.9).all()
    assert (scores["felzenszwalb_oracle"] >= scores["felzenszwalb"]).all()


def test_the_filled_box_of_a_disc_is_pi_over_four() -> None:
    rows, columns = np.mgrid[:101, :101]
    disc = (rows - 50) ** 2 + (columns - 50) ** 2 <= 40**2
    scores = BaselineScorer(config=BaselineConfig(grabcut_iterations=0))(np.zeros((101, 101, 3), np.uint8), disc[None])
    assert scores["filled_box"][0] == pytest.approx(np.pi / 4, abs=0.02)
    assert "grabcut" not in scores


def test_a_box_holds_its_maximum() -> None:
    mask = filled_box(np.array([1, 2, 3, 2]), (5, 5))
    assert np.argwhere(mask).tolist() == [[2, 1], [2, 2], [2, 3]]


def test_grabcut_finds_the_object_not_the_box() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:60, :60]
    disc = (rows - 30) ** 2 + (columns - 30) ** 2 <= 20**2
    rgb = np.where(disc[..., None], (200, 60, 40), (40, 90, 200)) + rng.integers(-15, 15, (60, 60, 3))
    cut = grabcut(rgb.astype(np.uint8), np.array([10, 10, 50, 50]))
    assert (cut & disc).sum() / (cut | disc).sum() > 0.95


def test_grabcut_falls_back_to_the_box() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    whole = np.array([0, 0, 19, 19])
    assert grabcut(rgb, whole).all(), "no background to learn from"
    flat = np.zeros((20, 20, 3), np.uint8)
    box = np.array([5, 5, 14, 14])
    assert np.array_equal(grabcut(flat, box), filled_box(box, (20, 20))), "nothing stands out"


def test_grabcut_that_keeps_a_speck_falls_back_too() -> None:
    rgb = np.full((40, 40, 3), 90, np.uint8)
    rgb[20:22, 20:22] = (255, 0, 0)
    box = np.array([5, 5, 34, 34])
    assert 0 < grabcut(rgb, box, least=0.0).sum() < 45
    assert np.array_equal(grabcut(rgb, box), filled_box(box, (40, 40)))


def test_equal_calls_give_equal_masks() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    box = np.array([8, 8, 30, 30])
    first = grabcut(rgb, box)
    grabcut(rgb[::-1], box)
    assert np.array_equal(grabcut(rgb, box), first)


def test_larger_scales_give_larger_segments() -> None:
    gradient = np.tile(np.linspace(0, 255, 120).astype(np.uint8)[None, :, None], (80, 1, 3))
    config = BaselineConfig(scales=(10, 10_000), scale=10)
    noisy = gradient + np.random.default_rng(0).integers(0, 40, gradient.shape, dtype=np.uint8)
    fine, coarse = segments_under(noisy, [(60, 40)], config)[0]
    assert fine[40, 60] and coarse[40, 60]
    assert fine.sum() < coarse.sum()


def test_impossible_configs_are_errors() -> None:
    with pytest.raises(OptionError, match="one of scales"):
        BaselineConfig(scale=50)
    with pytest.raises(OptionError, match="0 or more"):
        BaselineConfig(grabcut_iterations=-1)
    with pytest.raises(OptionError, match=r"\[0, 1\]"):
        BaselineConfig(grabcut_least=5)
