"""Simulated people: where they click, what their strokes do, what they keep, how long it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from segany.core.errors import OptionError
from segany.masks.rle import decode, encode
from segany.prompts.clicks import depth_map
from segany.recipes.engine_human import Hand, HumanConfig, iou, make_mask, prominent, sort_out

HW = (60, 80)


def disc(x: int, y: int, radius: int) -> Any:
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def answer(*masks: Any) -> dict[str, Any]:
    """As the service answers, without logits."""
    told = [{"segmentation": encode(m), "predicted_iou": 0.5, "output_index": i + 1} for i, m in enumerate(masks)]
    return {"masks": told, "best": 0}


def hand(**config: Any) -> Hand:
    return Hand(HumanConfig(**config), np.random.default_rng(0))


@pytest.mark.parametrize("seed", range(5))
def test_clicks_are_noisy_and_inside(seed: int) -> None:
    truth = disc(40, 30, 15)
    person = Hand(HumanConfig(click_noise=0.5), np.random.default_rng(seed))
    clicks = [person.near((40, 30), truth) for _ in range(20)]
    assert len(set(clicks)) > 10
    assert all(truth[int(y), int(x)] for x, y in clicks)
    assert np.mean([depth_map(truth)[int(y), int(x)] for x, y in clicks]) < depth_map(truth).max()


def test_one_good_answer_costs_one_click() -> None:
    truth = disc(40, 30, 15)
    asked: list[Mapping[str, Any]] = []

    def ask(prompt: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(prompt)
        return answer(disc(10, 10, 5), truth)

    made = make_mask(hand(box_share=0), truth, ask, 3, "weights")
    assert made is not None and len(asked) == 1
    assert made.interaction.clicks == 1 and made.interaction.chosen == 1 and made.interaction.model == "weights"
    assert iou(decode(made.mask.segmentation), truth) == 1 and made.mask.id == 3


def test_a_poor_model_costs_clicks_strokes_and_time() -> None:
    truth = disc(40, 30, 15)
    slow, quick = hand(box_share=0), hand(box_share=0)
    made = make_mask(slow, truth, lambda prompt: answer(disc(36, 28, 11)), 0, None)
    make_mask(quick, truth, lambda prompt: answer(truth), 0, None)
    assert made is not None
    kinds = [one.kind for one in made.interaction.prompts]
    assert kinds.count("point") == slow.config.most_clicks and "brush" in kinds
    assert iou(decode(made.mask.segmentation), truth) > iou(disc(36, 28, 11), truth)
    assert slow.seconds > 2 * quick.seconds
    assert made.interaction.active_seconds == pytest.approx(slow.seconds, abs=0.01)


def test_what_spills_is_erased() -> None:
    truth = disc(40, 30, 10)
    made = make_mask(hand(box_share=0), truth, lambda prompt: answer(disc(40, 30, 10) | disc(65, 30, 9)), 0, None)
    assert made is not None and "erase" in [one.kind for one in made.interaction.prompts]
    assert iou(decode(made.mask.segmentation), truth) > 0.8


def test_what_cannot_be_had_is_given_up() -> None:
    nothing = np.zeros(HW, bool)
    assert make_mask(hand(most_strokes=0), disc(40, 30, 10), lambda prompt: answer(nothing), 0, None) is None


def test_good_masks_stay_and_bad_ones_go() -> None:
    truth = [disc(20, 30, 10), disc(60, 30, 10)]
    there = [
        make_mask(hand(box_share=0, drop_iou=0.0), wanted, lambda prompt, wanted=wanted: answer(wanted), i, None)
        for i, wanted in enumerate([truth[1], disc(40, 10, 6), truth[1]])
    ]
    person = hand()
    kept, had = sort_out(person, [one for one in there if one is not None], [encode(one) for one in truth])
    assert [one.mask.id for one in kept] == [0] and had == {1}
    assert person.seconds > 3


def test_the_largest_come_first_and_specks_never() -> None:
    masks = [encode(disc(20, 30, 6)), encode(disc(60, 30, 15)), encode(disc(5, 5, 1)), encode(disc(40, 50, 8))]
    assert prominent(masks, HumanConfig(most_masks=2)) == [masks[1], masks[3]]
    assert masks[2] not in prominent(masks, HumanConfig())
    assert prominent([], HumanConfig()) == []


@pytest.mark.parametrize("wrong", [{"box_share": 1.5}, {"most_clicks": 0}, {"spread": -1.0}])
def test_impossible_people_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        HumanConfig(**wrong)
