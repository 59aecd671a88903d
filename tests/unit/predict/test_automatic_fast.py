"""The fast path gives the masks of the exact one: on lively noise, on a trained model's photos, and when crowded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segany.geometry.boxes import box_iou_xyxy
from segany.geometry.frames import Frame
from segany.geometry.grids import point_grid
from segany.masks.nms import nms
from segany.masks.rle import rle_iou
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.automatic.measure import Ruler
from segany.predict.automatic.pool import Pool, least_iou
from segany.predict.automatic.screen import Screen
from segany.predict.predictor import Predictor
from segany.predict.upscale import Upscaler
from segany.records.record import MaskRecord
from segany.transforms.image import read_image

from ._toys import DiscSam, photo, trained_or_random_tiny

KNOBS: dict[str, Any] = {"points_per_side": 8, "pred_iou_thresh": 0.3, "stability_score_thresh": 0.6}


def blobs(count: int, side: int, seed: int) -> torch.Tensor:
    """(count, side, side) smooth logits: a few bumps each, of every size, with some noise on them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    logits = np.full((count, side, side), -6.0)
    for index in range(count):
        for _ in range(rng.integers(1, 4)):
            cy, cx = rng.uniform(0, side, 2)
            ry, rx = side * rng.uniform(0.02, 0.4, 2)
            logits[index] += rng.uniform(6, 16) * np.exp(-(((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2))
        logits[index] += rng.normal(0, rng.choice([0, 0.1, 1]), (side, side))
    return torch.from_numpy(logits).float()


class BlobSam(DiscSam):
    """Every click gives three masks of bumps and specks of its own, each with a quality of its own."""

    def decode(self, embeddings: torch.Tensor, **prompts: Any) -> tuple[torch.Tensor, torch.Tensor]:
        clicks = prompts["points"][:, 0]
        seeds = [int(abs(float(x) * 7919 + float(y) * 104729)) for x, y in clicks]
        logits = torch.stack([blobs(4, self.config.low_res, seed) for seed in seeds])
        quality = [np.random.default_rng(seed + 1).uniform(0, 1, 4) for seed in seeds]
        return logits, torch.from_numpy(np.array(quality)).float()


@pytest.fixture(scope="module")
def blob_predictor() -> Predictor:
    return Predictor(BlobSam(), device="cpu")


def found_again(records: list[MaskRecord], exact: list[MaskRecord]) -> tuple[float, float]:
    """Shares of the exact masks found again at IoU 0.98, and of masks that are none of them."""
    overlap = rle_iou([one.segmentation for one in exact], [one.segmentation for one in records])
    return float((overlap.max(axis=1) >= 0.98).mean()), float((overlap.max(axis=0) < 0.98).mean())


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("size", [(300, 260), (90, 130), (40, 30), (700, 1000)])
def test_blobs_and_specks(blob_predictor: Predictor, size: tuple[int, int], layers: int) -> None:
    """Specks at the masks' outermost edges are the hardest case for bounds from few cells."""
    knobs = {**KNOBS, "crop_n_layers": layers, "min_mask_region_area": 15}
    exact = AutomaticMaskGenerator(blob_predictor, **knobs, exact=True).generate(photo(*size))
    fast = AutomaticMaskGenerator(blob_predictor, **knobs).generate(photo(*size))
    assert len(exact) > 20
    again, extra = found_again(fast, exact)
    assert again >= 0.99 and extra <= 0.01


@pytest.mark.parametrize("name", ["dog.jpg", "groceries.jpg"])
def test_photos(shared: Path, name: str) -> None:
    tiny = trained_or_random_tiny()
    rgb = read_image(shared / "data" / "photos" / name)
    knobs: dict[str, Any] = {"points_per_side": 12, "pred_iou_thresh": 0.4, "stability_score_thresh": 0.6}
    exact = AutomaticMaskGenerator(tiny, **knobs, exact=True).generate(rgb)
    fast = AutomaticMaskGenerator(tiny, **knobs).generate(rgb)
    again, extra = found_again(fast, exact)
    assert len(exact) >= 5 and again >= 0.99 and extra <= 0.01
    assert [one.predicted_iou for one in fast] == sorted((one.predicted_iou for one in fast), reverse=True)


def test_a_crowded_pool_forgets_only_doubles(blob_predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for next to nothing the choice is made over and over, and comes out the same but for a few."""
    knobs = {**KNOBS, "points_per_batch": 4, "points_per_side": 9}
    free = AutomaticMaskGenerator(blob_predictor, **knobs).generate(photo(300, 260))
    settled = [0]
    choose = Pool._choose

    def counted(self: Pool) -> Any:
        settled[0] += 1
        return choose(self)

    monkeypatch.setattr(Pool, "_choose", counted)
    monkeypatch.setattr("segany.predict.automatic.sweep.POOL_SHARE", 1 << 20)
    assert len(free) > 20
    crowded = AutomaticMaskGenerator(blob_predictor, **knobs).generate(photo(300, 260))
    assert settled[0] > 10
    again, extra = found_again(crowded, free)
    assert again >= 0.9 and extra <= 0.1


@pytest.mark.parametrize("lowest", [0.5, 0.8, 0.95])
@pytest.mark.parametrize(("size", "side"), [((600, 420), 64), ((300, 451), 128), ((1200, 500), 32)])
def test_the_screen_rejects_no_stable_mask(size: tuple[int, int], side: int, lowest: float) -> None:
    frame = Frame.of(size, 4 * side, side)
    logits = blobs(60, side, seed=side)
    upscaler = Upscaler(frame)
    screen, ruler = Screen(upscaler, 0.0, 1.0, lowest), Ruler(upscaler, 0.0, 1.0, (0, 0, size[1], size[0]), size)
    assert screen.applies
    hints = {hint.index: hint for hint in screen.hints(logits)}
    measured = [ruler.measure(one) for one in logits]
    stable = {index for index, one in enumerate(measured) if one.stability >= lowest}
    assert stable <= set(hints)
    assert len(hints) < 60 or lowest < 0.9, "a screen that lets everything through is none"
    for index, hint in hints.items():
        again = ruler.measure(hint.values, hint.corner, hint.window)
        assert again == measured[index], "the part that was kept is all that matters"
        box = np.array(again.box)
        assert (hint.outer[:2] <= box[:2]).all() and (hint.outer[2:] >= box[2:]).all()
        assert (hint.inner[:2] >= hint.outer[:2]).all() and (hint.inner[2:] <= hint.outer[2:]).all()


def test_no_candidates_no_hints() -> None:
    upscaler = Upscaler(Frame.of((400, 400), 128, 32))
    screen = Screen(upscaler, 0.0, 1.0, 0.9)
    assert screen.hints(torch.zeros(0, 32, 32)) == []
    assert screen.hints(torch.full((2, 32, 32), -5.0)) == [], "an empty mask is not stable"
    every = Screen(upscaler, 0.0, 1.0, 0.0).hints(torch.full((2, 32, 32), -5.0))
    assert [hint.window for hint in every] == [(0, 0, 0, 0)] * 2
    assert not Screen(Upscaler(Frame.of((50, 40), 128, 32)), 0.0, 1.0, 0.9).applies


def test_least_overlap_is_the_overlap_of_known_boxes() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 50, (40, 4)).astype(float)
    boxes = np.concatenate([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1)
    for box in boxes[:10]:
        expected = box_iou_xyxy(box[None], boxes)[0]
        np.testing.assert_allclose(least_iou(box, boxes, boxes), expected)
        margin = np.array([3, 3, -3, -3])
        assert (least_iou(box, boxes + margin, boxes - margin) <= expected + 1e-12).all()


def test_the_fast_choice_is_plain_suppression(discs: Predictor) -> None:
    """Its survivors are what plain suppression leaves of all masks that were measured and kept."""
    everything = AutomaticMaskGenerator(discs, points_per_side=9, pred_iou_thresh=0.1, stability_score_thresh=0.3)
    loose = AutomaticMaskGenerator(
        discs, points_per_side=9, pred_iou_thresh=0.1, stability_score_thresh=0.3, box_nms_thresh=1.0
    ).generate(photo(400, 400))
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in (one.bbox for one in loose)], float)
    kept = nms(boxes, [one.predicted_iou for one in loose], 0.7)
    fast = everything.generate(photo(400, 400))
    assert [one.segmentation for one in fast] == [loose[index].segmentation for index in kept]
    assert 10 < len(fast) < len(loose) <= 3 * len(point_grid(9))
