"""Knobs of automatic masks: what cannot be is said with what was expected, what came and what to do."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from segany.core.errors import InputError, OptionError
from segany.predict.automatic.config import PRESETS, SweepConfig, recommended_knobs
from segany.predict.automatic.face import SamAutomaticMaskGenerator
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.predictor import Predictor

GRID = ((0.5, 0.5),)
BAD: tuple[tuple[dict[str, Any], str, str, str], ...] = (
    ({"points_per_side": 0}, "points_per_side must be a whole number from 1 to 512", "0", "Change it"),
    ({"points_per_side": 2.5}, "points_per_side must be a whole number", "2.5", "Change it"),
    ({"points_per_side": None}, "exactly one of points_per_side and point_grids", "neither", "Set the other to None"),
    ({"point_grids": (GRID,)}, "exactly one of points_per_side and point_grids", "both", "Set the other to None"),
    ({"points_per_batch": -1}, "points_per_batch must be a whole number from 1", "-1", "Change it"),
    ({"points_per_batch": True}, "points_per_batch must be a whole number", "True", "Change it"),
    ({"pred_iou_thresh": 88}, "pred_iou_thresh must be a fraction", "88", r"88 % write 0\.88"),
    ({"pred_iou_thresh": math.nan}, "pred_iou_thresh must be a number", "nan", "Change it"),
    ({"stability_score_thresh": 95}, "stability_score_thresh must be a fraction", "95", r"write 0\.88"),
    ({"stability_score_offset": -1}, "stability_score_offset must be .* from 0", "-1", "write"),
    ({"box_nms_thresh": 1.5}, "box_nms_thresh must be a fraction from 0 to 1", "1.5", "write"),
    ({"crop_nms_thresh": "high"}, "crop_nms_thresh must be a number", "'high'", "Change it"),
    ({"crop_n_layers": 9}, "crop_n_layers must be a whole number from 0 to 4", "9", "Change it"),
    ({"crop_n_layers": None}, "crop_n_layers must be a whole number", "None", "Change it"),
    ({"crop_overlap_ratio": 1}, "crop_overlap_ratio must be a fraction from 0 to 0.99", "1", "write"),
    ({"crop_n_points_downscale_factor": 0}, "crop_n_points_downscale_factor must be", "0", "Change it"),
    (
        {"points_per_side": 2, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2},
        "at least one click",
        r"2 / 2\^2",
        "Lower the factor",
    ),
    ({"min_mask_region_area": -5}, "min_mask_region_area must be a whole number from 0", "-5", "Change it"),
    ({"max_area_share": 95}, "max_area_share must be a fraction from 0 to 1", "95", "write"),
    ({"mask_nms_thresh": -0.1}, "mask_nms_thresh must be a fraction", "-0.1", "write"),
    ({"containment_thresh": 2}, "containment_thresh must be a fraction", "2", "write"),
    ({"drop_small_masks": "yes"}, "drop_small_masks must be True or False", "'yes'", "Change it"),
    ({"points_per_side": None, "point_grids": ()}, "a grid per layer, 1", "0", "Add grids"),
    ({"points_per_side": None, "point_grids": (GRID,), "crop_n_layers": 1}, "a grid per layer, 2", "1", "Add grids"),
    ({"points_per_side": None, "point_grids": (((5, 5),),)}, r"x, y in \[0, 1\]", "others", "Divide pixels"),
    ({"points_per_side": None, "point_grids": ((),)}, r"x, y in \[0, 1\]", "others", "Divide pixels"),
    ({"points_per_side": None, "point_grids": (((0.5,),),)}, r"x, y in \[0, 1\]", "others", "Divide pixels"),
    ({"points_per_side": None, "point_grids": ((0.5, 0.5),)}, r"x, y in \[0, 1\]", "others", "Divide pixels"),
    ({"points_per_side": None, "point_grids": 3}, r"x, y in \[0, 1\]", "others", "Divide pixels"),
    ({"points_per_side": None, "point_grids": (((math.nan, 0.5),),)}, r"x, y in \[0, 1\]", "others", "Divide"),
    ({"points_per_sid": 3}, "take the knobs .*points_per_side", "points_per_sid", "Rename"),
)


@pytest.mark.parametrize(("knobs", "expected", "came", "remedy"), BAD)
def test_impossible_knobs(knobs: dict[str, Any], expected: str, came: str, remedy: str, discs: Predictor) -> None:
    with pytest.raises(OptionError, match=f"(?s){expected}.*got.*{came}.*{remedy}") as caught:
        AutomaticMaskGenerator(discs, **knobs)
    assert isinstance(caught.value, InputError) and isinstance(caught.value, ValueError)


def test_all_problems_are_said_at_once() -> None:
    with pytest.raises(OptionError) as caught:
        SweepConfig(points_per_batch=0, pred_iou_thresh=88, crop_n_layers=-1)
    assert all(name in str(caught.value) for name in ("points_per_batch", "pred_iou_thresh", "crop_n_layers"))


@pytest.mark.parametrize("grids", [[[(0.5, 2.0)]], [[(0.5, 0.5, 0.5)]], [[0.5, 0.5]], 7, []])
def test_bad_grids_of_the_face(grids: Any, discs: Predictor) -> None:
    with pytest.raises(OptionError, match="point_grids"):
        SamAutomaticMaskGenerator(discs, points_per_side=None, point_grids=grids)


@pytest.mark.parametrize(
    "knobs",
    [
        {"points_per_side": 1},
        {"pred_iou_thresh": -5},
        {"stability_score_thresh": 0},
        {"pred_iou_thresh": 1.2},
        {"points_per_side": None, "point_grids": (GRID, GRID), "crop_n_layers": 1},
        {"points_per_side": 4, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2},
        {"points_per_side": None, "point_grids": [np.full((3, 2), 0.5)]},
        {"points_per_side": None, "point_grids": [[[0, 1]]]},
        {"points_per_side": None, "point_grids": np.zeros((1, 3, 2))},
        {"box_nms_thresh": 0},
        {"box_nms_thresh": 1},
    ],
)
def test_unusual_knobs_that_can_be(knobs: dict[str, Any]) -> None:
    config = SweepConfig.of(**knobs)
    assert SweepConfig.of(**config.to_dict()) == config
    json.dumps(config.to_dict())


def test_presets_are_valid_and_differ() -> None:
    assert set(PRESETS) == {"reference", "sa1b"} and PRESETS["reference"] == SweepConfig() != PRESETS["sa1b"]


def test_weights_may_recommend_knobs(discs: Predictor) -> None:
    model = discs.model
    advised = Predictor(model, metadata={"automatic": '{"pred_iou_thresh": 0.5}'}, device="cpu")
    assert AutomaticMaskGenerator(advised).config == SweepConfig(pred_iou_thresh=0.5)
    assert AutomaticMaskGenerator(advised, pred_iou_thresh=0.7).config.pred_iou_thresh == 0.7
    assert AutomaticMaskGenerator(advised, PRESETS["reference"]).config == SweepConfig()
    assert recommended_knobs({}) == {}
    for wrong in ("[1]", "{", "3"):
        with pytest.raises(OptionError, match="must be a JSON object of knobs; got"):
            recommended_knobs({"automatic": wrong})
