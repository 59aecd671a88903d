"""The plain reference computes what this package's exact path computes; else its time would say nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segany.masks.rle import encode, rle_iou
from segany.predict.automatic.config import SweepConfig
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.predictor import Predictor

EXACT: dict[str, Any] = {"exact": True} if "exact" in {item.name for item in fields(SweepConfig)} else {}
POINTS = 6


@pytest.fixture
def reference(script_of: Callable[[str], ModuleType]) -> ModuleType:
    return script_of("reference")


@pytest.fixture
def plain(reference: ModuleType, toy_predictor: Predictor) -> Any:
    return reference.Reference(toy_predictor.model.state_dict(), toy_predictor.config)


def share(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference over the largest magnitude."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("size_hw", [(90, 140), (200, 60), (128, 128)])
def test_the_embedding_is_the_same(
    plain: Any, toy_predictor: Predictor, scene: Callable[..., NDArray[np.uint8]], size_hw: tuple[int, int]
) -> None:
    rgb = scene(*size_hw)
    assert share(toy_predictor.encode(rgb).features, plain.encode(rgb)[0]) < 1e-5


def test_the_decoder_says_the_same(plain: Any, toy_predictor: Predictor) -> None:
    draw = torch.Generator().manual_seed(0)
    config = toy_predictor.config
    features = torch.randn(1, config.channels, config.grid, config.grid, generator=draw)
    points = torch.rand(5, 2, generator=draw) * config.canvas
    theirs = plain.decode(features, points)
    ours = toy_predictor.decode_canvas(features, points=points[:, None], labels=torch.ones(5, 1, dtype=torch.long))
    for mine, other in zip(ours, theirs, strict=True):
        assert share(mine, other) < 1e-4


def rles(records: list[Any]) -> list[dict[str, Any]]:
    """Compressed, from records of either side."""
    return [dict(encode(mask_of(record))) for record in records]


def mask_of(record: Any) -> NDArray[np.bool_]:
    if not isinstance(record, dict):
        return np.asarray(record.mask)
    (height, width), counts = record["segmentation"]["size"], record["segmentation"]["counts"]
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T


def widest_gap(values: list[float], low: float, high: float) -> float:
    """A threshold that no rounding can move a value across: the middle of the widest gap."""
    line = sorted(value for value in values if low < value < high)
    line = line[len(line) // 5 : -len(line) // 5]
    assert len(line) >= 4, "too few values to cut between"
    start = max(range(len(line) - 1), key=lambda i: line[i + 1] - line[i])
    return (line[start] + line[start + 1]) / 2


@pytest.mark.parametrize("cut", ["nothing", "predicted IoU", "stability"])
def test_everything_is_the_same(
    plain: Any, toy_predictor: Predictor, scene: Callable[..., NDArray[np.uint8]], cut: str
) -> None:
    rgb = scene(90, 140)
    off = {"pred_iou_thresh": -1e9, "stability_score_thresh": 0.0}
    common = {"points_per_side": POINTS, "points_per_batch": 16}
    everything = plain.generate(rgb, **common, **off, box_nms_thresh=1.0)
    assert len(everything) == 3 * POINTS**2
    chosen = dict(off)
    if cut == "predicted IoU":
        chosen["pred_iou_thresh"] = widest_gap([r["predicted_iou"] for r in everything], 0.0, 2.0)
    if cut == "stability":
        chosen["stability_score_thresh"] = widest_gap([r["stability_score"] for r in everything], 0.5, 0.95)
    knobs = {**common, **chosen, "box_nms_thresh": 1.0}  # noise fills the photo: any suppression would leave one
    theirs = plain.generate(rgb, **knobs)
    ours = AutomaticMaskGenerator(toy_predictor, **knobs, **EXACT).generate(rgb)
    assert len(theirs) == len(ours) > 3
    overlap = rle_iou(rles(ours), rles(theirs))
    assert overlap.max(axis=1).min() > 0.99
    assert overlap.max(axis=0).min() > 0.99
    for mine, place in zip(ours, overlap.argmax(axis=1), strict=True):
        other = theirs[place]
        assert abs(mine.predicted_iou - other["predicted_iou"]) < 1e-3
        assert abs(mine.stability_score - other["stability_score"]) < 0.02
        assert other["area"] == mask_of(other).sum()
        assert np.abs(np.subtract(mine.bbox, other["bbox"])).max() <= 2


def test_run_lengths_as_written_in_the_format(reference: ModuleType) -> None:
    rle = reference.run_lengths
    assert rle(torch.tensor([[0, 1], [1, 1]]).bool()) == {"size": [2, 2], "counts": [1, 3]}
    assert rle(torch.tensor([[1, 0]]).bool()) == {"size": [1, 2], "counts": [0, 1, 1]}
    assert rle(torch.zeros(2, 3).bool()) == {"size": [2, 3], "counts": [6]}
    assert rle(torch.ones(2, 3).bool()) == {"size": [2, 3], "counts": [0, 6]}


def test_stages_are_timed_and_the_injected_logits_decide(
    reference: ModuleType, plain: Any, scene: Callable[..., NDArray[np.uint8]]
) -> None:
    seen = []

    def inject(start: int, end: int, low_res: torch.Tensor, iou: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append((start, end, len(low_res)))
        whole = torch.full_like(low_res, -90.0)
        whole[..., 4:16, 4:16] = 90.0
        return whole, torch.full_like(iou, 0.95)

    stages = reference.Stages()
    records = plain.generate(scene(90, 140), points_per_side=3, points_per_batch=4, inject=inject, stages=stages)
    assert seen == [(0, 4, 4), (4, 8, 4), (8, 9, 1)]
    assert len(records) == 1
    assert set(stages.seconds) == {"encode", "decode", "post-processing", "suppression"}
    assert all(seconds > 0 for seconds in stages.seconds.values())
