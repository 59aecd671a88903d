"""The other spelling beyond its guide: how a model is named, what is refused, every method by its other name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segany.compat.sssegmentation import ResizeLongestSide, SAMAutomaticMaskGenerator, SAMPredictor
from segany.core.errors import CheckpointError, NotAvailableError, OptionError, PromptError
from segany.modeling.checkpoints.save import save_model
from segany.predict.predictor import Predictor
from segany.predict.sam_predictor import SamPredictor

Scene = Callable[[int, int], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def pair(toy_predictor: Predictor, scene: Scene) -> tuple[SAMPredictor, SamPredictor]:
    other, face = SAMPredictor(toy_predictor), SamPredictor(toy_predictor)
    other.setimage(scene(90, 140))
    face.set_image(scene(90, 140))
    return other, face


def test_missing_weights_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEGANY_CACHE", str(tmp_path))
    for arguments in ({"use_default_sam_h": True}, {"use_default_sam_l": True}, {"use_default_sam_b": True}):
        with pytest.raises(CheckpointError, match="segany models download vit_"):
            SAMPredictor(**arguments)
    url = "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth"
    with pytest.raises(CheckpointError, match="segany models download vit_b"):
        SAMPredictor({"backbone": {"depth": 12}, "ckptpath": url})
    with pytest.raises(CheckpointError, match="segany models download vit_h"):
        SAMAutomaticMaskGenerator(use_default_sam_h=True)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"use_default_sam_h": True, "use_default_sam_b": True}, {"sam_cfg": "a.pth", "use_default_sam_h": True}],
)
def test_exactly_one_model(arguments: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="exactly one model"):
        SAMPredictor(**arguments)


def test_other_refusals(toy_predictor: Predictor) -> None:
    with pytest.raises(OptionError, match="ckptpath"):
        SAMPredictor({"backbone": {"depth": 12}})
    with pytest.raises(NotAvailableError, match="load_ckpt_strict"):
        SAMPredictor(toy_predictor, load_ckpt_strict=False)
    with pytest.raises(PromptError, match="set_image"):
        SAMPredictor(toy_predictor).predict(np.array([[1, 1]]), np.array([1]))
    with pytest.raises(OptionError, match="output_mode"):
        SAMAutomaticMaskGenerator(sam_cfg=toy_predictor, output_mode="png")  # type: ignore[arg-type]


def test_a_model_and_a_checkpoint_do_as_well(toy_predictor: Predictor, tmp_path: Path) -> None:
    config = toy_predictor.config
    path = save_model(toy_predictor.model.state_dict(), config, tmp_path / "toy.safetensors")
    for cfg in (toy_predictor.model, path, str(path), {"ckptpath": str(path)}):
        assert SAMPredictor(cfg, device="cpu").predictor.fingerprint == toy_predictor.fingerprint


def test_methods_by_their_other_names(pair: tuple[SAMPredictor, SamPredictor], scene: Scene) -> None:
    other, face = pair
    assert torch.equal(other.getimageembedding(), face.get_image_embedding())
    boxes = torch.tensor([[10, 10, 60, 50], [5, 20, 130, 80]])
    canvas = other.transform.applyboxestorch(boxes, (90, 140))
    assert torch.equal(canvas, face.transform.apply_boxes_torch(boxes, (90, 140)))
    mine, theirs = other.predicttorch(None, None, boxes=canvas), face.predict_torch(None, None, boxes=canvas)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    fresh = SAMPredictor(other.predictor)
    pixels = torch.from_numpy(other.transform.applyimage(scene(90, 140))).permute(2, 0, 1)[None]
    fresh.settorchimage(pixels, (90, 140))
    assert fresh.is_image_set and torch.allclose(fresh.getimageembedding(), face.get_image_embedding(), atol=1e-5)
    fresh.resetimage()
    assert not fresh.is_image_set and fresh.features is None


def test_the_transform(scene: Scene) -> None:
    transform = ResizeLongestSide(128)
    assert transform.getpreprocessshape(90, 140, 128) == (82, 128)
    assert transform.applyimage(scene(90, 140)).shape == (82, 128, 3)
    points = np.array([[140, 90], [0, 0]])
    assert transform.applycoords(points, (90, 140)).tolist() == [[128, 82], [0, 0]]
    assert transform.applycoordstorch(torch.from_numpy(points), (90, 140)).tolist() == [[128, 82], [0, 0]]
    assert transform.applyboxes(np.array([[0, 0, 140, 90]]), (90, 140)).tolist() == [[0, 0, 128, 82]]
    assert transform.applyimagetorch(torch.zeros(1, 3, 90, 140)).shape == (1, 3, 82, 128)


def test_inference_says_what_an_image_lacks(pair: tuple[SAMPredictor, SamPredictor]) -> None:
    image = torch.zeros(3, 82, 128)
    for item in ({"image": image}, {"image": image, "original_size": (90, 140), "point_coords": torch.zeros(1, 1, 2)}):
        with pytest.raises(PromptError, match="image 0 has"):
            pair[0].inference([item])


def test_inference_is_predicttorch_and_keeps_no_gradients(toy_predictor: Predictor, scene: Scene) -> None:
    model = copy.deepcopy(toy_predictor.model)
    model.image_encoder.register_forward_hook(lambda *_: None)  # keeps to the modules: these weights blow rounding up
    other = SAMPredictor(Predictor(model, device="cpu"))
    other.setimage(scene(90, 140))
    pixels = torch.from_numpy(other.transform.applyimage(scene(90, 140))).permute(2, 0, 1)
    boxes = other.transform.applyboxestorch(torch.tensor([[10, 10, 60, 50]]), (90, 140))
    item = {"image": pixels, "original_size": (90, 140), "boxes": boxes}
    (output,) = other.inference([item], multimask_output=True)
    masks, iou, low_res = other.predicttorch(None, None, boxes=boxes)
    assert not output["low_res_logits"].requires_grad
    torch.testing.assert_close(output["low_res_logits"], low_res, atol=1e-3, rtol=0)
    torch.testing.assert_close(output["iou_predictions"], iou, atol=1e-4, rtol=0)
    assert bool((output["masks"] != masks).float().mean() < 1e-3)


def test_a_ready_predictor_makes_the_generator(pair: tuple[SAMPredictor, SamPredictor], scene: Scene) -> None:
    generator = SAMAutomaticMaskGenerator(
        4, pred_iou_thresh=0.5, stability_score_thresh=0, user_defined_sam_predictor=pair[0], output_mode="coco_rle"
    )
    found = generator.generate(scene(40, 60))
    assert found and {tuple(record["segmentation"]["size"]) for record in found} == {(40, 60)}
