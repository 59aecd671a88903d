"""`SamPredictor`: the reference's signatures, shapes and manners."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segany.core.errors import ImageError, PromptError
from segany.predict.predictor import Predictor
from segany.predict.sam_predictor import ResizeLongestSide, SamPredictor

from ._toys import lively_model, photo

SIDE = 32
CLICK = (np.array([[20, 30]]), np.array([1]))


@pytest.fixture
def face(predictor: Predictor) -> SamPredictor:
    face = SamPredictor(predictor)
    face.set_image(photo())
    return face


def parameters(function: Any) -> dict[str, Any]:
    return {name: value.default for name, value in inspect.signature(function).parameters.items() if name != "self"}


def test_signatures_are_the_references() -> None:
    empty = inspect.Parameter.empty
    assert parameters(SamPredictor.__init__) == {"sam_model": empty}
    assert parameters(SamPredictor.set_image) == {"image": empty, "image_format": "RGB"}
    assert parameters(SamPredictor.set_torch_image) == {"transformed_image": empty, "original_image_size": empty}
    options = {"mask_input": None, "multimask_output": True, "return_logits": False}
    assert parameters(SamPredictor.predict) == {"point_coords": None, "point_labels": None, "box": None} | options
    batched = {"point_coords": empty, "point_labels": empty, "boxes": None} | options
    assert parameters(SamPredictor.predict_torch) == batched
    assert list(parameters(SamPredictor.predict)) == [
        "point_coords",
        "point_labels",
        "box",
        "mask_input",
        "multimask_output",
        "return_logits",
    ]
    assert list(parameters(SamPredictor.predict_torch))[2:4] == ["boxes", "mask_input"]
    assert parameters(SamPredictor.get_image_embedding) == parameters(SamPredictor.reset_image) == {}
    assert isinstance(inspect.getattr_static(SamPredictor, "device"), property)
    assert parameters(ResizeLongestSide.apply_coords) == {"coords": empty, "original_size": empty}
    assert parameters(ResizeLongestSide.apply_boxes_torch) == {"boxes": empty, "original_size": empty}


def test_it_takes_a_model_as_the_reference_does() -> None:
    model = lively_model()
    face = SamPredictor(model)
    assert id(face.model) == id(model)
    assert face.device == torch.device("cpu")
    img_size: Any = model.image_encoder.img_size
    assert face.transform.target_length == img_size
    face.set_image(photo())
    assert face.predict(*CLICK)[0].any()


@pytest.mark.parametrize(("many", "masks"), [(True, 3), (False, 1)])
def test_outputs(face: SamPredictor, many: bool, masks: int) -> None:
    found, quality, low_res = face.predict(*CLICK, multimask_output=many)
    assert found.shape == (masks, 90, 130) and found.dtype == np.bool_
    assert quality.shape == (masks,) and quality.dtype == np.float32
    assert low_res.shape == (masks, SIDE, SIDE) and low_res.dtype == np.float32
    logits, again, _ = face.predict(*CLICK, multimask_output=many, return_logits=True)
    assert logits.dtype == np.float32 and np.array_equal(logits > 0, found) and np.array_equal(again, quality)


def test_it_agrees_with_the_predictor(face: SamPredictor, predictor: Predictor) -> None:
    image = predictor.encode(photo())
    hint = np.random.default_rng(0).normal(0, 5, (1, SIDE, SIDE)).astype(np.float32)
    box = np.array([10, 12, 70, 55])
    for ours, theirs in (
        ({"points": CLICK[0], "labels": CLICK[1]}, {"point_coords": CLICK[0], "point_labels": CLICK[1]}),
        ({"boxes": box}, {"box": box}),
        ({"mask": hint}, {"mask_input": hint}),
        ({"boxes": box, "mask": hint}, {"box": box, "mask_input": hint}),
    ):
        for many in (True, False):
            result = predictor.decode(image, **ours, multimask=many)
            masks, quality, low_res = face.predict(**theirs, multimask_output=many)
            assert np.array_equal(masks, result.masks)
            np.testing.assert_allclose(quality, result.predicted_iou, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(low_res, result.low_res_logits, rtol=1e-5, atol=1e-4)


def test_predict_torch_on_a_batch_equals_one_by_one(face: SamPredictor) -> None:
    boxes = torch.tensor([[10, 12, 70, 55], [0, 0, 20, 20], [30, 30, 79, 59.5]])
    on_canvas = face.transform.apply_boxes_torch(boxes, (90, 130))
    masks, quality, low_res = face.predict_torch(None, None, on_canvas, multimask_output=False)
    assert masks.shape == (3, 1, 90, 130) and quality.shape == (3, 1) and low_res.shape == (3, 1, SIDE, SIDE)
    for index, box in enumerate(boxes):
        alone = face.predict(box=box.numpy(), multimask_output=False)
        assert (masks[index].numpy() != alone[0]).mean() < 1e-3
        np.testing.assert_allclose(low_res[index].numpy(), alone[2], rtol=0, atol=1e-3)


def test_outputs_can_enter_autograd(face: SamPredictor) -> None:
    """A head trained on embeddings or logits is what people do next."""
    weight = torch.ones((), requires_grad=True)
    torch.autograd.backward((face.get_image_embedding() * weight).sum())
    low_res = face.predict_torch(None, None, torch.tensor([[1.0, 1, 99, 99]]))[2]
    torch.autograd.backward((low_res * weight).sum())
    assert weight.grad is not None and torch.isfinite(weight.grad)


def test_float64_coordinates(face: SamPredictor) -> None:
    expected = face.predict(*CLICK)
    for dtype in (np.float64, np.float32, np.int64):
        assert np.array_equal(face.predict(CLICK[0].astype(dtype), CLICK[1].astype(dtype))[0], expected[0])
    points = face.transform.apply_coords_torch(torch.tensor([[[20.0, 30.0]]], dtype=torch.float64), (90, 130))
    assert points.dtype == torch.float32
    direct = face.predict_torch(points.double(), torch.ones(1, 1, dtype=torch.int64))
    assert np.array_equal(direct[0][0].numpy(), expected[0])


def test_reset_image_leaves_nothing_behind(face: SamPredictor) -> None:
    assert (face.original_size, face.input_size, face.is_image_set) == ((90, 130), (89, 128), True)
    face.reset_image()
    assert face.is_image_set is False and face.features is None
    for stale in ("original_size", "input_size"):
        with pytest.raises(PromptError, match=r"image must be set.*Call set_image\(rgb\) first"):
            getattr(face, stale)
    with pytest.raises(PromptError, match="Call set_image"):
        face.predict(*CLICK)
    with pytest.raises(PromptError, match="Call set_image"):
        face.predict_torch(None, None, torch.ones(1, 4))
    with pytest.raises(PromptError, match="Call set_image"):
        face.get_image_embedding()
    face.set_image(photo(40, 50))
    assert face.original_size == (40, 50) and face.predict(*CLICK)[0].shape == (3, 40, 50)


def test_a_failed_set_image_keeps_the_old_one(face: SamPredictor) -> None:
    with pytest.raises(ImageError):
        face.set_image(np.zeros((4, 4, 7), np.uint8))
    assert face.original_size == (90, 130)


def test_bgr_is_flipped(face: SamPredictor) -> None:
    expected = face.get_image_embedding()
    face.set_image(photo()[..., ::-1], "BGR")
    assert torch.equal(face.get_image_embedding(), expected)
    with pytest.raises(ImageError, match="must be RGB or BGR; got 'HSV'"):
        face.set_image(photo(), image_format="HSV")


def test_set_torch_image(face: SamPredictor) -> None:
    expected = face.predict(*CLICK)
    resized = face.transform.apply_image(photo())
    assert resized.shape == (89, 128, 3) and resized.dtype == np.uint8
    face.set_torch_image(torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None], (90, 130))
    for got, wanted in zip(face.predict(*CLICK), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
    by_torch = face.transform.apply_image_torch(torch.from_numpy(photo()).permute(2, 0, 1)[None].float())
    assert by_torch.shape == (1, 3, 89, 128)
    assert float((by_torch[0].permute(1, 2, 0) - torch.from_numpy(np.array(resized))).abs().mean()) < 1.0
    for wrong in (torch.zeros(3, 89, 128), torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 128, 128)):
        with pytest.raises(ImageError, match=r"takes \(1, 3, h, w\) with longest side 128; got .*apply_image_torch"):
            face.set_torch_image(wrong, (90, 130))


def test_the_transform(face: SamPredictor) -> None:
    transform = face.transform
    assert transform.get_preprocess_shape(1500, 2250, 1024) == (683, 1024)
    points = transform.apply_coords(np.array([[130, 90], [0, 0]]), (90, 130))
    np.testing.assert_allclose(points, [[128, 89], [0, 0]])
    boxes = transform.apply_boxes(np.array([0, 0, 130, 90]), (90, 130))
    assert boxes.shape == (1, 4)
    np.testing.assert_allclose(boxes, transform.apply_boxes_torch(torch.tensor([0, 0, 130, 90]), (90, 130)).numpy())
    given = np.array([[10, 20]])
    transform.apply_coords(given, (90, 130))
    assert given.tolist() == [[10, 20]], "what was given stays as it was"


BAD: tuple[tuple[dict[str, Any], str], ...] = (
    ({"point_coords": np.ones((1, 2))}, "go together"),
    ({"point_labels": np.ones(1)}, "go together"),
    ({"point_coords": np.ones((2, 2)), "point_labels": np.ones(3)}, r"point_coords \(2, 2\)"),
    ({"point_coords": np.ones((1, 1, 2)), "point_labels": np.ones((1, 1))}, r"point_coords \(1, 1, 2\)"),
    ({"point_coords": np.ones((1, 3)), "point_labels": np.ones(1)}, r"point_coords \(1, 3\)"),
    ({"box": np.ones((2, 4))}, r"box \(2, 4\)"),
    ({"box": np.ones(3)}, r"box \(3,\)"),
    ({"mask_input": np.ones((SIDE, SIDE))}, r"mask_input \(32, 32\)"),
    ({"mask_input": np.ones((3, SIDE, SIDE))}, r"mask_input \(3, 32, 32\)"),
    ({"mask_input": np.ones((1, 90, 130))}, r"\(B, 1, 32, 32\)"),
)


@pytest.mark.parametrize(("arguments", "came"), BAD)
def test_prompts_that_cannot_be(face: SamPredictor, arguments: dict[str, Any], came: str) -> None:
    with pytest.raises(PromptError, match=f"(?s){came}") as caught:
        face.predict(**arguments)
    assert "got" in str(caught.value) and str(caught.value).rstrip().endswith(".")


def test_wrong_prompts_leave_the_image_set(face: SamPredictor) -> None:
    with pytest.raises(PromptError):
        face.predict(box=np.ones(3))
    masks: NDArray[np.bool_] = face.predict(*CLICK)[0]
    assert masks.any()
