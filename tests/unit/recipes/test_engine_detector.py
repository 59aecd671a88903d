"""The object detector: what its marks mean, that it learns, and that it belongs to one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segany.core.errors import CheckpointError, DataError, EmbeddingError
from segany.engine.objects import (
    SHAPE_FEATURES,
    ObjectConfig,
    Proposals,
    feature_count,
    load_detector,
    propose,
    save_detector,
)
from segany.masks.rle import encode
from segany.modeling.object_head import ObjectScorer
from segany.predict.predictor import Predictor
from segany.recipes.engine_detector import DetectorTraining, Lesson, judged, marks_of, train_scorer
from segany.records.record import MaskRecord

CHANNELS = 4


def box(x0: int, x1: int) -> Any:
    mask = np.zeros((20, 40), bool)
    mask[5:15, x0:x1] = True
    return encode(mask)


def test_marks_count_each_true_mask_once() -> None:
    found = [
        ([(box(0, 10), 0.9), (box(0, 9), 0.8), (box(20, 30), 0.7)], [box(0, 10), box(20, 30), box(30, 40)]),
        ([(box(5, 15), 0.6)], []),
        ([], [box(0, 5)]),
    ]
    marks = marks_of(found, 0.6)
    assert marks.truth == 4
    assert marks.scores.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert marks.right.tolist() == [True, False, True, False]
    assert marks.average_precision == pytest.approx((1 + 2 / 3) / 4)
    assert marks.threshold(0.6) == 0.7 and marks.threshold(1.0) == 0.9
    assert marks.recall(0.7) == 0.5
    assert marks_of([([(box(0, 5), 0.5)], [])], 0.6).threshold(0.5) is None


def lessons(count: int, seed: int) -> list[Lesson]:
    """Photos with one object among masks; the features tell it, the model's own opinion does not."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(count):
        places = [(0, 10), (12, 20), (22, 30), (32, 40)]
        features = rng.normal(size=(4, feature_count(CHANNELS))).astype(np.float32)
        right = int(rng.integers(4))
        features[right, 0] += 4
        masks = [MaskRecord.from_mask(box(*place), predicted_iou=float(rng.random())) for place in places]
        best = np.eye(4)[right]
        made.append(Lesson(Proposals(masks, torch.from_numpy(features)), [box(*places[right])], best))
    return made


def test_the_judge_learns_what_objects_are() -> None:
    config = DetectorTraining(steps=100)
    scorer = train_scorer(lessons(40, 0), config, CHANNELS)
    unseen = lessons(20, 1)
    assert judged(scorer, unseen, config).average_precision > 0.75
    untrained = ObjectScorer(feature_count(CHANNELS), SHAPE_FEATURES).eval()
    assert judged(untrained, unseen, config).average_precision < 0.6
    again = train_scorer(lessons(40, 0), config, CHANNELS)
    assert all(torch.equal(a, b) for a, b in zip(scorer.parameters(), again.parameters(), strict=True))


def test_proposals_that_tell_nothing_are_refused() -> None:
    same = [replace(one, best=np.zeros(4)) for one in lessons(3, 0)]
    with pytest.raises(DataError, match="Annotate more"):
        train_scorer(same, DetectorTraining(), CHANNELS)


def test_a_detector_is_kept_and_belongs_to_its_model(
    tmp_path: Path, toy_predictor: Predictor, scene: Callable[..., Any]
) -> None:
    config = ObjectConfig(points_per_side=4, least_iou=0.0, stability_thresh=0.0, proposal_nms=1.0, threshold=0.0)
    rgb = scene(60, 80)
    proposals = propose(toy_predictor, rgb, config)
    assert proposals.features.shape == (len(proposals.masks), feature_count(toy_predictor.config.width))
    assert len(proposals.masks) > 3 and bool(torch.isfinite(proposals.features).all())
    scorer = ObjectScorer(feature_count(toy_predictor.config.width), SHAPE_FEATURES, config.width)
    path = save_detector(tmp_path / "d.safetensors", scorer, config, {"fingerprint": toy_predictor.fingerprint})
    first, second = (load_detector(path, toy_predictor).find(rgb) for _ in range(2))
    assert first and [one.score for one in first] == [one.score for one in second]
    assert [one.score for one in first] == sorted((one.score for one in first), reverse=True)
    save_detector(path, scorer, config, {"fingerprint": "another"})
    with pytest.raises(EmbeddingError, match="Train it again"):
        load_detector(path, toy_predictor)
    path.write_bytes(b"no")
    with pytest.raises(CheckpointError):
        load_detector(path, toy_predictor)
