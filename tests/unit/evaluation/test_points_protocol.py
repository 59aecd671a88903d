from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from segany.core.errors import OptionError
from segany.evaluation.points import PointsConfig, PointsScorer

SHOWN = ("clicks_1", "clicks_2", "clicks_3", "clicks_5", "clicks_9", "oracle_1", "box")


def test_a_perfect_predictor_scores_one_everywhere(scene: Any, perfect: Any) -> None:
    rgb, truths = scene
    scores = PointsScorer(predictor=perfect(truths))(rgb, truths)
    assert {name: scores[name].tolist() for name in SHOWN} == {name: [1.0, 1.0] for name in SHOWN}


def test_a_blind_predictor_scores_zero_everywhere(scene: Any, empty: Any) -> None:
    rgb, truths = scene
    scores = PointsScorer(predictor=empty())(rgb, truths)
    assert {name: scores[name].tolist() for name in SHOWN} == {name: [0.0, 0.0] for name in SHOWN}


def test_the_predicted_best_is_chosen_by_the_model_and_the_oracle_by_the_truth(scene: Any, perfect: Any) -> None:
    rgb, truths = scene
    scores = PointsScorer(predictor=perfect(truths, confident_in=2))(rgb, truths)
    share = truths.mean(axis=(1, 2))
    np.testing.assert_allclose(scores["clicks_1"], share)
    np.testing.assert_allclose(scores["largest_1"], share)
    np.testing.assert_allclose(scores["mean_1"], (0 + 1 + share) / 3)
    np.testing.assert_allclose(scores["oracle_1"], 1)
    np.testing.assert_allclose(scores["predicted_1"], 0.9)
    np.testing.assert_allclose(scores["box"], share)
    np.testing.assert_allclose(scores["box_oracle"], 1)
    np.testing.assert_allclose(scores["clicks_2"], 1)


def test_rounds_follow_the_protocol(scene: Any, perfect: Any) -> None:
    rgb, truths = scene
    predictor = perfect(truths, confident_in=2)
    PointsScorer(predictor=predictor, config=PointsConfig(clicks=(3,)))(rgb, truths)
    first, second, third, box = predictor.calls
    assert first["multimask"] is True and "mask" not in first
    assert first["points"].shape == (2, 1, 2) and first["labels"].tolist() == [[1], [1]]
    assert second["multimask"] is False and third["multimask"] is False
    assert second["points"].shape == (2, 2, 2) and third["points"].shape == (2, 3, 2)
    np.testing.assert_array_equal(second["points"][:, :1], first["points"])
    assert second["labels"].tolist() == [[1, 0], [1, 0]], "the whole image was chosen first: too much"
    assert second["mask"].shape == (2, 1, 10, 15) and second["mask"].dtype == np.float32
    assert (second["mask"] == 10).all(), "the logits of the chosen mask come back"
    assert box["multimask"] == "auto" and set(box) == {"multimask", "boxes"}
    assert box["boxes"].tolist() == [[5, 5, 29, 24], [35, 28, 54, 37]]


def test_only_the_wanted_clicks_are_reported(scene: Any, perfect: Any) -> None:
    rgb, truths = scene
    config = PointsConfig(clicks=(2, 4), box=False)
    scores = PointsScorer(predictor=perfect(truths), config=config)(rgb, truths)
    assert {name for name in scores if name.startswith("clicks")} == {"clicks_2", "clicks_4"}
    assert "box" not in scores


def test_the_number_decoded_together_changes_nothing(scene: Any, perfect: Any) -> None:
    rgb, truths = scene
    many = np.concatenate([truths, truths, truths[:1]])
    whole = PointsScorer(predictor=perfect(truths))(rgb, many)
    chunks = PointsScorer(predictor=perfect(truths), config=PointsConfig(prompts_per_call=2))(rgb, many)
    assert whole.keys() == chunks.keys()
    assert all(np.array_equal(whole[name], chunks[name]) for name in whole)


def test_impossible_configs_are_errors() -> None:
    with pytest.raises(OptionError, match="from 1"):
        PointsConfig(clicks=(0, 1))
    with pytest.raises(OptionError, match="from 1"):
        PointsConfig(clicks=())
    with pytest.raises(OptionError, match="at least 1"):
        PointsConfig(prompts_per_call=0)
