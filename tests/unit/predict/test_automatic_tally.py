"""The filters' counts add up, on both paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.automatic.tally import CANDIDATES, FILTERS, MASKS, OVERLAP, PREDICTED_IOU
from segany.predict.predictor import Predictor

KNOBS: dict[str, Any] = {
    "points_per_side": 6,
    "pred_iou_thresh": 0.2,
    "stability_score_thresh": 0.5,
    "crop_n_layers": 1,
    "min_mask_region_area": 20,
    "drop_small_masks": True,
    "max_area_share": 0.8,
    "mask_nms_thresh": 0.6,
}


@pytest.mark.parametrize("exact", [False, True])
def test_every_candidate_is_a_mask_or_was_dropped_by_one_filter(
    toy_predictor: Predictor, scene: Callable[..., Any], exact: bool
) -> None:
    tally: Counter[str] = Counter()
    rgb = scene(300, 400)
    generator = AutomaticMaskGenerator(toy_predictor, exact=exact, **KNOBS)
    masks = generator.generate(rgb, tally=tally)
    assert masks == generator.generate(rgb)
    assert tally[CANDIDATES] == 5 * 36 * 3
    assert tally[MASKS] == len(masks)
    assert min(tally.values()) >= 0
    assert tally[CANDIDATES] == tally[MASKS] + sum(tally[name] for name in FILTERS)
    assert set(tally) <= {CANDIDATES, MASKS, *FILTERS}


def test_a_filter_that_is_off_drops_nothing(toy_predictor: Predictor, scene: Callable[..., Any]) -> None:
    tally: Counter[str] = Counter()
    off = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0}
    masks = AutomaticMaskGenerator(toy_predictor, points_per_side=4, **off).generate(scene(200, 300), tally=tally)
    assert tally[PREDICTED_IOU] == tally[OVERLAP] == 0
    assert tally[MASKS] == len(masks) == 48
