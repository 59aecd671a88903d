"""What simulated prompts must be, over many draws: shares, noise and its cap, places and labels of clicks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from segany.prompts.config import SimulationConfig
from segany.prompts.simulate import (
    BOTTOM_RIGHT,
    FOREGROUND,
    PADDING,
    TOP_LEFT,
    Draws,
    boxes_of,
    click_schedule,
    correction_clicks,
    first_prompt,
    jitter_boxes,
    sample_clicks,
)

CELL, SIDE = 4, 32
MANY = 4000


def rectangles(count: int, top: int = 8, left: int = 4, bottom: int = 20, right: int = 28) -> Tensor:
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    masks[:, top:bottom, left:right] = True
    return masks


def cells(clicks: Tensor) -> Tensor:
    return ((clicks + 0.5) / CELL).long()


def standard_error(share: float, count: int) -> float:
    return math.sqrt(share * (1 - share) / count)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_share_of_points_and_boxes(share: float) -> None:
    prompt = first_prompt(rectangles(MANY), CELL, SimulationConfig(point_share=share), Draws.from_seeds([1], [MANY]))
    is_point = prompt.labels[:, 0] == FOREGROUND
    assert abs(float(is_point.float().mean()) - share) <= 4 * standard_error(share, MANY)
    assert bool((prompt.labels[is_point, 1] == PADDING).all())
    assert prompt.labels[~is_point].unique(dim=0).tolist() in ([], [[TOP_LEFT, BOTTOM_RIGHT]])
    assert prompt.token_mask is None


def test_points_are_uniform_over_the_mask() -> None:
    masks = rectangles(MANY)
    clicks = sample_clicks(masks, CELL, interior=0.0, draws=Draws.from_seeds([2], [MANY]))
    at = cells(clicks)
    assert bool(masks[torch.arange(MANY), at[:, 1], at[:, 0]].all())
    quarters = torch.bincount(2 * (at[:, 1] >= 14) + (at[:, 0] >= 16), minlength=4) / MANY
    assert float((quarters - 0.25).abs().max()) <= 4 * standard_error(0.25, MANY)
    inside_cell = (clicks + 0.5) % CELL / CELL
    assert abs(float(inside_cell.mean()) - 0.5) < 0.02


def test_interior_clicks_keep_away_from_the_rim() -> None:
    masks = rectangles(MANY)
    rim = masks.clone()
    rim[:, 9:19, 5:27] = False
    shares = []
    for interior in (0.0, 1.0):
        at = cells(sample_clicks(masks, CELL, interior=interior, draws=Draws.from_seeds([3], [MANY])))
        shares.append(float(rim[torch.arange(MANY), at[:, 1], at[:, 0]].float().mean()))
    assert shares[1] < 0.6 * shares[0]


def test_interior_clicks_in_a_thin_region_stay_in_it_everywhere() -> None:
    masks = torch.zeros(MANY, SIDE, SIDE, dtype=torch.bool)
    masks[:, 16, :] = True
    at = cells(sample_clicks(masks, CELL, interior=1.0, draws=Draws.from_seeds([4], [MANY])))
    assert bool((at[:, 1] == 16).all())
    assert abs(float((at[:, 0] < SIDE // 2).float().mean()) - 0.5) < 4 * standard_error(0.5, MANY)


def test_box_noise_is_a_tenth_of_the_side() -> None:
    boxes = torch.tensor([[400.0, 300.0, 500.0, 420.0]]).repeat(MANY, 1)
    noise = jitter_boxes(boxes, 1024, draws=Draws.from_seeds([5], [MANY])) - boxes
    uncapped = noise.abs() < 20
    expected = torch.tensor([10.0, 12.0, 10.0, 12.0])
    # A normal deviate of 10 px is cut at 2 deviations, one of 12 px at 1.67.
    assert noise.mean(dim=0).abs().max() < 1.0
    for axis in range(4):
        beyond = 2 * (1 - float(torch.special.ndtr(20 / expected[axis])))
        assert abs(float((~uncapped[:, axis]).float().mean()) - beyond) < 4 * standard_error(beyond, MANY)
        within = float((noise[:, axis].abs() < expected[axis]).float().mean())
        assert abs(within - 0.6827) < 4 * standard_error(0.6827, MANY)


@given(side=st.floats(2, 1000), share=st.floats(0, 0.5), cap=st.floats(0, 60), seed=st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_box_noise_never_passes_cap_or_canvas(side: float, share: float, cap: float, seed: int) -> None:
    boxes = torch.tensor([[10.0, 5.0, 10.0 + side, 5.0 + side]]).clamp(max=1023.0).repeat(50, 1)
    moved = jitter_boxes(boxes, 1024, draws=Draws.from_seeds([seed], [50]), share=share, cap=cap)
    assert float((moved - boxes).abs().max()) <= cap + 1e-3
    assert float(moved.min()) >= 0 and float(moved.max()) <= 1023


@given(seed=st.integers(0, 2**40), interior=st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=40, deadline=None)
def test_corrections_lie_in_the_error_and_are_labelled_by_it(seed: int, interior: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(16, SIDE, SIDE, generator=generator) < 0.4
    predicted = target ^ (torch.rand(16, SIDE, SIDE, generator=generator) < 0.05)
    predicted[0] = target[0]
    clicks, labels = correction_clicks(predicted, target, CELL, interior=interior, draws=Draws.from_seeds([seed], [16]))
    at = cells(clicks)
    rows = torch.arange(16)
    wrong = (predicted ^ target)[rows, at[:, 1], at[:, 0]]
    assert bool(wrong[1:].all())
    assert torch.equal(labels, target[rows, at[:, 1], at[:, 0]].long())
    assert int(labels[0]) == 0, "a perfect mask gets a background click outside"


def test_missing_and_spilling_regions_are_drawn_by_size() -> None:
    target, predicted = rectangles(MANY), rectangles(MANY, top=11, bottom=23)
    _, labels = correction_clicks(predicted, target, CELL, interior=0.0, draws=Draws.from_seeds([6], [MANY]))
    assert abs(float(labels.float().mean()) - 0.5) < 4 * standard_error(0.5, MANY)


def test_schedule_has_eight_clicks_and_two_refinements() -> None:
    config = SimulationConfig()
    assert config.rounds == 11
    adds = click_schedule(config, Draws.from_seeds([7], [MANY]))
    assert adds.shape == (MANY, 11)
    assert bool((adds.sum(dim=1) == 8).all())
    assert not adds[:, 0].any() and not adds[:, 10].any()
    between = (~adds[:, 1:10]).float().mean(dim=0)
    assert float((between - 1 / 9).abs().max()) < 4 * standard_error(1 / 9, MANY)


@given(clicks=st.integers(0, 9), inside=st.integers(0, 3), last=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_schedule_counts(clicks: int, inside: int, last: int) -> None:
    config = SimulationConfig(clicks=clicks, refine_inside=inside, refine_last=last)
    adds = click_schedule(config, Draws.from_seeds([8], [20]))
    assert adds.shape == (20, config.rounds)
    assert bool((adds.sum(dim=1) == clicks).all())


@given(seeds=st.lists(st.integers(0, 2**40), min_size=2, max_size=4, unique=True))
@settings(max_examples=20, deadline=None)
def test_a_prompt_does_not_depend_on_its_batch(seeds: list[int]) -> None:
    masks, config = rectangles(3 * len(seeds)), SimulationConfig(interior=0.5)
    together = first_prompt(masks, CELL, config, Draws.from_seeds(seeds, [3] * len(seeds)))
    for index, seed in enumerate(seeds):
        alone = first_prompt(masks[:3], CELL, config, Draws.from_seeds([seed], [3]))
        assert torch.equal(alone.points, together.points[3 * index : 3 * index + 3])
        assert torch.equal(alone.labels, together.labels[3 * index : 3 * index + 3])


def test_earlier_points_stay_and_absent_ones_are_masked() -> None:
    prompt = first_prompt(rectangles(2), CELL, SimulationConfig(), Draws.from_seeds([9], [2]))
    clicks = torch.tensor([[3.0, 4.0], [5.0, 6.0]])
    longer = prompt.with_clicks(clicks, torch.tensor([1, 0]), torch.tensor([True, False]))
    assert torch.equal(longer.points[:, :2], prompt.points)
    assert longer.points[0, 2].tolist() == [3.0, 4.0]
    assert longer.labels[:, 2].tolist() == [1, PADDING]
    assert longer.token_mask is not None and longer.token_mask.tolist() == [[True] * 3, [True, True, False]]
    assert prompt.with_clicks(clicks, torch.tensor([1, 0]), torch.tensor([False, False])) is prompt


def test_boxes_are_exact() -> None:
    assert boxes_of(rectangles(1), CELL).tolist() == [[16.0, 32.0, 111.0, 79.0]]
