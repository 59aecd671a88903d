from __future__ import annotations

import numpy as np
import pytest

from segany.core.errors import OptionError
from segany.evaluation.metrics import bootstrap_mean, candidate_iou


def test_iou_of_known_overlaps() -> None:
    target = np.zeros((1, 4, 4), bool)
    target[0, :2] = True
    half, wider, apart = np.zeros((3, 4, 4), bool)
    half[:1], wider[:3], apart[3:] = True, True, True
    iou = candidate_iou(np.stack([half, wider, apart, target[0]])[None], target)
    np.testing.assert_allclose(iou, [[0.5, 8 / 12, 0.0, 1.0]])


def test_each_candidate_meets_its_own_target() -> None:
    targets = np.zeros((2, 3, 3), bool)
    targets[0, 0], targets[1, 2] = True, True
    assert candidate_iou(targets[:, None], targets).tolist() == [[1.0], [1.0]]
    assert candidate_iou(targets[::-1, None], targets).tolist() == [[0.0], [0.0]]


def test_two_empty_masks_score_nothing() -> None:
    empty = np.zeros((1, 1, 3, 3), bool)
    assert candidate_iou(empty, empty[0]).tolist() == [[0.0]]


@pytest.mark.parametrize("shape", [(1, 3, 3), (2, 1, 3, 3), (1, 1, 3, 4)])
def test_iou_of_shapes_that_do_not_fit_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="same P, H and W"):
        candidate_iou(np.zeros(shape, bool), np.zeros((1, 3, 3), bool))


def test_the_mean_is_over_masks_and_the_interval_around_it() -> None:
    values, groups = [0.0, 1.0, 1.0, 1.0], ["a", "b", "b", "b"]
    estimate = bootstrap_mean(values, groups)
    assert estimate.mean == 0.75
    assert estimate.low == 0.0 and estimate.high == 1.0, "a quarter of the draws takes one image twice"


def test_a_single_image_gives_no_spread() -> None:
    estimate = bootstrap_mean([0.2, 0.4], ["a", "a"])
    assert (estimate.mean, estimate.low, estimate.high) == pytest.approx((0.3, 0.3, 0.3))


def test_images_are_drawn_not_masks() -> None:
    values = np.repeat(np.linspace(0, 1, 20), 50)
    by_image = bootstrap_mean(values, [f"{index // 50}" for index in range(1000)])
    by_mask = bootstrap_mean(values, [f"{index}" for index in range(1000)])
    assert by_image.high - by_image.low > 4 * (by_mask.high - by_mask.low)


def test_the_interval_is_that_of_the_normal_where_it_should_be() -> None:
    values = np.random.default_rng(1).normal(0.5, 0.1, 400)
    estimate = bootstrap_mean(values, [f"{index}" for index in range(400)], resamples=5000)
    error = 1.96 * values.std() / np.sqrt(400)
    assert estimate.high - estimate.mean == pytest.approx(error, rel=0.1)
    assert estimate.mean - estimate.low == pytest.approx(error, rel=0.1)


def test_equal_seeds_give_equal_intervals() -> None:
    values, groups = np.linspace(0, 1, 30), [f"{index % 10}" for index in range(30)]
    assert bootstrap_mean(values, groups, seed=3) == bootstrap_mean(values, groups, seed=3)
    assert bootstrap_mean(values, groups, seed=3) != bootstrap_mean(values, groups, seed=4)


def test_nothing_to_average_is_an_error() -> None:
    with pytest.raises(OptionError, match="at least one value"):
        bootstrap_mean([], [])
    with pytest.raises(OptionError, match="one group name per value"):
        bootstrap_mean([1.0, 2.0], ["a"])
