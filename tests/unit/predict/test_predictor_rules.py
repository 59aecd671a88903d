"""`Predictor`: the rules of prompts, dtypes and values, one by one."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import segany
from segany.core.errors import EmbeddingError, PromptError
from segany.geometry.frames import Frame
from segany.predict.embedding import ImageEmbedding
from segany.predict.prediction import Prediction
from segany.predict.predictor import Predictor
from segany.predict.rows import BINARY_MASK_LOGIT, binary_to_logits

from ._toys import lively, lively_model, photo

TOLERANCE = 1e-4
SIDE = 32


def logits(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 8, (SIDE, SIDE)).astype(np.float32)


PROMPTS: dict[str, tuple[dict[str, Any], bool]] = {
    "one click": ({"points": [(20, 30)], "labels": [1]}, True),
    "background only": ({"points": [(60, 40)], "labels": [0]}, True),
    "box": ({"boxes": (10, 12, 70, 55)}, True),
    "three boxes": ({"boxes": [(10, 12, 70, 55), (0, 0, 20, 20), (30, 30, 79, 59)]}, True),
    "one click each": ({"points": [[(1, 1)], [(50, 40)]], "labels": [[1], [1]]}, True),
    "four clicks": ({"points": [(20, 30), (50, 60), (5, 5), (80, 20)], "labels": [1, 0, 1, 0]}, False),
    "the same click twice": ({"points": [(20, 30), (20, 30)], "labels": [1, 1]}, False),
    "two clicks each": ({"points": [[(1, 1), (9, 9)], [(50, 40), (60, 30)]], "labels": [[1, 0], [1, 1]]}, False),
    "box and click": ({"points": [(20, 30)], "labels": [1], "boxes": (10, 12, 70, 55)}, False),
    "logits alone": ({"mask": logits(3)}, False),
    "click and logits": ({"points": [(20, 30)], "labels": [1], "mask": logits(4)}, False),
    "box and logits": ({"boxes": (10, 12, 70, 55), "mask": logits(5)}, False),
    "binary mask": ({"mask": np.eye(90, 130, dtype=bool)}, False),
}


def assert_same(one: Prediction, other: Prediction) -> None:
    assert one.low_res_logits.shape == other.low_res_logits.shape and one.masks.shape == other.masks.shape
    largest = np.abs(other.low_res_logits).max()
    assert np.abs(one.low_res_logits - other.low_res_logits).max() <= TOLERANCE * largest
    assert (one.masks != other.masks).mean() <= 1e-3
    assert np.array_equal(one.best, other.best) and one.output_index == other.output_index


@pytest.mark.parametrize("name", PROMPTS)
def test_auto_is_the_papers_rule(name: str, predictor: Predictor, embedding: ImageEmbedding) -> None:
    arguments, candidates = PROMPTS[name]
    result = predictor.decode(embedding, **arguments)
    assert result.output_index == ((1, 2, 3) if candidates else (0,))
    assert_same(predictor.decode(embedding, **arguments, multimask=candidates), result)
    other = predictor.decode(embedding, **arguments, multimask=not candidates)
    assert other.output_index == ((0,) if candidates else (1, 2, 3))


def test_padded_tokens_change_nothing() -> None:
    """`Sam.decode` with a token mask: prompts of one, two and three points share a batch."""
    model = lively_model()
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(1, 32, 8, 8, generator=generator)
    points = torch.rand(3, 3, 2, generator=generator) * 128
    labels = torch.tensor([[1, 0, 1], [1, 1, 0], [0, 1, 1]])
    counts = torch.tensor([1, 2, 3])
    real = torch.arange(3) < counts[:, None]
    noise = torch.where(real[..., None], points, torch.full_like(points, 77.0))
    with torch.no_grad():
        alone = [
            model.decode(features, points=points[i : i + 1, :n], labels=labels[i : i + 1, :n])
            for i, n in enumerate(counts.tolist())
        ]
        low_res, iou = model.decode(features, points=noise, labels=labels, token_mask=real)
        unmasked = model.decode(features, points=noise, labels=labels)[0]
    for index, (expected, quality) in enumerate(alone):
        largest = float(expected.abs().max())
        assert float((low_res[index] - expected[0]).abs().max()) <= TOLERANCE * largest
        torch.testing.assert_close(iou[index], quality[0], rtol=1e-4, atol=1e-4)
    assert float((unmasked[0] - alone[0][0][0]).abs().max()) > 0.01 * float(alone[0][0].abs().max())


def test_duplicate_points_are_tokens_like_others(predictor: Predictor, embedding: ImageEmbedding) -> None:
    twice = predictor.decode(embedding, points=[(20, 30), (20, 30)], labels=[1, 1])
    once = predictor.decode(embedding, points=[(20, 30)], labels=[1], multimask=False)
    assert np.isfinite(twice.low_res_logits).all()
    assert np.abs(twice.low_res_logits - once.low_res_logits).max() > 1e-3


def test_a_box_may_reach_over_the_edge(predictor: Predictor, embedding: ImageEmbedding) -> None:
    over = predictor.decode(embedding, boxes=(-30, -5, 70, 400))
    inside = predictor.decode(embedding, boxes=(0, 0, 70, 90))
    assert over.masks.shape == inside.masks.shape and np.isfinite(over.low_res_logits).all()
    assert np.abs(over.low_res_logits - inside.low_res_logits).max() > 1e-3, "the box is taken as it is given"


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8])
def test_coordinates_of_every_real_dtype(predictor: Predictor, embedding: ImageEmbedding, dtype: Any) -> None:
    expected = predictor.decode(embedding, points=[(20, 30)], labels=[1])
    array = np.array([(20, 30)], dtype)
    tensor = torch.from_numpy(array)
    assert_same(predictor.decode(embedding, points=array, labels=np.ones(1, dtype)), expected)
    assert_same(predictor.decode(embedding, points=tensor, labels=torch.ones(1, dtype=tensor.dtype)), expected)
    assert_same(predictor.decode(embedding, points=[tensor[0]], labels=[1]), expected)


def test_float64_reaches_the_model_as_float32(
    predictor: Predictor, embedding: ImageEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.dtype] = []
    inner = predictor.model.decode

    def spy(features: torch.Tensor, **given: Any) -> Any:
        seen.extend(given[key].dtype for key in ("points", "boxes", "masks"))
        return inner(features, **given)

    monkeypatch.setattr(predictor.model, "decode", spy)
    points, box = np.array([[20.5, 30.25]]), np.array([1.0, 2.0, 80.0, 70.0])
    predictor.decode(embedding, points=points, labels=[1], boxes=box, mask=logits(1).astype(np.float64))
    assert seen == [torch.float32] * 3


def test_binary_masks_are_hints_of_the_photo_not_of_the_padding(embedding: ImageEmbedding) -> None:
    frame = embedding.frame
    whole = binary_to_logits(np.ones(frame.original_hw, np.bool_), frame)
    rows, columns = (n * SIDE // frame.canvas for n in frame.resized_hw)
    assert (whole[:rows, :columns] == BINARY_MASK_LOGIT).all()
    assert (whole[rows + 1 :] == -BINARY_MASK_LOGIT).all()
    thin = np.zeros((4000, 6000), np.bool_)
    thin[:, 3000:3002] = True
    assert (binary_to_logits(thin, Frame.of((4000, 6000), 128, SIDE)).max(axis=0) > -BINARY_MASK_LOGIT).any()


def test_integers_other_than_one_are_binary_masks_too(predictor: Predictor, embedding: ImageEmbedding) -> None:
    mask = np.zeros(embedding.size_hw, bool)
    mask[20:60, 30:90] = True
    expected = predictor.decode(embedding, mask=mask)
    for other in (mask.astype(np.uint8) * 255, mask.astype(np.int64) * -7, torch.from_numpy(mask)):
        assert_same(predictor.decode(embedding, mask=other), expected)


def test_logits_of_exactly_zero_are_background(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    image = predictor.encode(photo(128, 128))

    def decode(*_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        low_res = torch.zeros(1, 4, SIDE, SIDE)
        low_res[:, 2] = 1e-6
        return low_res, torch.ones(1, 4)

    monkeypatch.setattr(predictor.model, "decode", decode)
    result = predictor.decode(image, points=[(5, 5)], labels=[1])
    assert result.masks.mean(axis=(1, 2)).tolist() == [0, 1, 0]
    face = segany.SamPredictor(predictor)
    face.embedding = image
    assert face.predict(np.array([[5, 5]]), np.array([1]))[0].mean(axis=(1, 2)).tolist() == [0, 1, 0]


def test_logits_in_every_accepted_shape(predictor: Predictor, embedding: ImageEmbedding) -> None:
    hint = logits(7)
    expected = predictor.decode(embedding, mask=hint)
    assert expected.masks.shape == (1, *embedding.size_hw)
    assert_same(predictor.decode(embedding, mask=hint[None]), expected)
    batch = predictor.decode(embedding, mask=np.stack([hint, -hint]))
    assert batch.masks.shape == (2, 1, *embedding.size_hw)
    assert_same(predictor.decode(embedding, mask=np.stack([hint, -hint])[:, None]), batch)
    np.testing.assert_allclose(batch.low_res_logits[0], expected.low_res_logits, rtol=0, atol=1e-3)


def test_refining_with_the_previous_logits(predictor: Predictor, embedding: ImageEmbedding) -> None:
    first = predictor.decode(embedding, points=[(20, 30)], labels=[1])
    again: dict[str, Any] = {"points": [(20, 30), (50, 40)], "labels": [1, 0]}
    with_hint = predictor.decode(embedding, **again, mask=first.low_res_logits[first.best])
    without = predictor.decode(embedding, **again)
    assert np.abs(with_hint.low_res_logits - without.low_res_logits).max() > 1e-3


def test_predictions_and_embeddings_are_values(predictor: Predictor, embedding: ImageEmbedding) -> None:
    result = predictor.decode(embedding, points=[(20, 30)], labels=[1])
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.best = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        embedding.features = embedding.features.clone()  # type: ignore[misc]
    assert embedding.features.untyped_storage().nbytes() == embedding.features.nbytes, "holds only its own memory"
    assert torch.is_grad_enabled()


def test_fingerprint_is_of_config_and_weights() -> None:
    assert lively(0).fingerprint == lively(0).fingerprint != lively(1).fingerprint


def test_signature_of_decode() -> None:
    parameters = inspect.signature(Predictor.decode).parameters
    assert list(parameters) == ["self", "image", "points", "labels", "boxes", "mask", "text", "multimask"]
    assert parameters["multimask"].default == "auto"
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in list(parameters)[2:])


@pytest.mark.parametrize(
    ("arguments", "expected", "came", "remedy"),
    [
        ({"points": [(131, 5)], "labels": [1]}, "0 <= x <= 130", "131, 5", "x first"),
        ({"points": [(5, -1)], "labels": [1]}, "inside the image", "5, -1", "original image"),
        ({"points": [(5, np.nan)], "labels": [1]}, "finite", "NaN", "Remove"),
        ({"points": [(5, 5)]}, r"labels of shape \(1,\)", "none", r"labels=\[1\]"),
        ({"boxes": (200, 0, 300, 50)}, "must overlap the image of 130 x 90", r"200.0, 0.0", "Give x0"),
        ({"boxes": (50, 50, 20, 20)}, "x0 < x1 and y0 < y1", "50.0, 50.0", "not x, y, width, height"),
        ({"mask": np.ones((130, 90), bool)}, r"\(H, W\) = \(90, 130\)", r"\(130, 90\)", "nearest neighbours"),
        ({"mask": np.zeros((64, 64))}, r"this model, \(32, 32\)", r"\(64, 64\)", "low_res_logits"),
        ({"mask": np.zeros((90, 130), bool)}, "at least one pixel", "an empty mask", "Leave mask= out"),
        ({"mask": np.full((32, 32), np.inf)}, "finite", "infinity", "logits"),
        ({}, "points, boxes or a mask", "none of them", "single click"),
        ({"boxes": (1, 1, 9, 9), "multimask": 3}, 'True, False or "auto"', "3", "Leave it out"),
    ],
)
def test_prompts_that_cannot_be(
    predictor: Predictor, embedding: ImageEmbedding, arguments: dict[str, Any], expected: str, came: str, remedy: str
) -> None:
    with pytest.raises(PromptError, match=f"(?s){expected}.*got.*{came}.*{remedy}"):
        predictor.decode(embedding, **arguments)


def test_embeddings_of_another_model_or_frame(predictor: Predictor, embedding: ImageEmbedding) -> None:
    with pytest.raises(EmbeddingError, match=r"must come from this model.*it comes from.*Encode the photo again"):
        lively(1).decode(embedding, points=[(1, 1)], labels=[1])
    foreign = dataclasses.replace(embedding, frame=Frame.of(embedding.size_hw, 256, 64))
    with pytest.raises(
        EmbeddingError, match=r"must lie on this model's canvas of 128.*got 256.*Encode the photo again"
    ):
        predictor.decode(foreign, points=[(1, 1)], labels=[1])


def test_bfloat16_gives_close_logits(predictor: Predictor, embedding: ImageEmbedding) -> None:
    half = Predictor(lively_model(), device="cpu", dtype="bfloat16")
    result = half.decode(half.encode(photo()), points=[(20, 30)], labels=[1])
    exact = predictor.decode(embedding, points=[(20, 30)], labels=[1])
    assert result.low_res_logits.dtype == np.float32
    assert 0.95 < np.corrcoef(result.low_res_logits.ravel(), exact.low_res_logits.ravel())[0, 1] < 0.999999
