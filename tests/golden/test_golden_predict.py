"""The predictor and the automatic generator against the official implementation's outputs on a small checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segany.masks.rle import decode, rle_iou
from segany.predict.automatic.face import SamAutomaticMaskGenerator
from segany.predict.predictor import Predictor
from segany.predict.sam_predictor import SamPredictor
from segany.transforms.image import read_image

TOLERANCE = 1e-4
PHOTOS = ("dog", "bsds", "coco")


@pytest.fixture(scope="module")
def golden(shared: Path) -> Path:
    return shared / "golden"


@pytest.fixture(scope="module")
def predictor(golden: Path) -> Predictor:
    return Predictor.from_pretrained(golden / "toy_official.pth", device="cpu")


@pytest.fixture(scope="module")
def faces(golden: Path, predictor: Predictor) -> dict[str, SamPredictor]:
    faces = {}
    for photo in PHOTOS:
        faces[photo] = SamPredictor(predictor)
        faces[photo].set_image(read_image(golden / f"{photo}.png"))
    return faces


@pytest.fixture(scope="module")
def arrays(golden: Path) -> Mapping[str, np.ndarray]:
    with np.load(golden / "predictor.npz") as stored:
        return dict(stored)


def close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return bool(np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max())


@pytest.mark.parametrize("photo", PHOTOS)
def test_embeddings(photo: str, faces: dict[str, SamPredictor], arrays: Mapping[str, np.ndarray]) -> None:
    theirs = arrays[f"{photo}.embedding"]
    assert close(faces[photo].get_image_embedding().numpy().reshape(theirs.shape), theirs)


@pytest.mark.parametrize("index", range(36))
def test_every_case(index: int, golden: Path, faces: dict[str, SamPredictor], arrays: Mapping[str, np.ndarray]) -> None:
    case = json.loads((golden / "predictor.json").read_text())[index]
    face = faces[case["image"].removesuffix(".png")]
    array = lambda key: None if case.get(key) is None else np.array(case[key])  # noqa: E731
    masks, iou, low_res = face.predict(
        array("point_coords"),
        array("point_labels"),
        array("box"),
        arrays.get(f"{case['id']}.mask_input"),
        case["multimask_output"],
    )
    theirs = arrays[f"{case['id']}.low_res_logits"]
    assert close(low_res.reshape(theirs.shape), theirs)
    assert close(iou, np.array(case["iou_predictions"]))
    for ours, rle in zip(masks, case["masks"], strict=True):
        expected = decode(rle)
        union = (ours | expected).sum()
        assert ours.shape == expected.shape
        assert union == 0 or (ours & expected).sum() / union >= 0.999


@pytest.mark.parametrize("index", range(12))
def test_automatic_masks(index: int, golden: Path, predictor: Predictor) -> None:
    case: dict[str, Any] = json.loads((golden / "automatic.json").read_text())[index]
    generator = SamAutomaticMaskGenerator(predictor, **case["config"], output_mode="coco_rle")
    ours, theirs = generator.generate(read_image(golden / case["image"])), case["records"]
    assert len(ours) == len(theirs) > 0
    swapped = 0
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["crop_box"] == other["crop_box"]
        same = mine["point_coords"] == other["point_coords"] and mine["bbox"] == other["bbox"]
        swapped += not same
        if same:
            overlap = rle_iou([mine["segmentation"]], [other["segmentation"]])[0, 0]
            assert overlap >= 0.999
            assert abs(mine["predicted_iou"] - other["predicted_iou"]) <= TOLERANCE
            assert abs(mine["stability_score"] - other["stability_score"]) <= 2e-3
            assert abs(mine["area"] - other["area"]) <= max(2, 1e-3 * other["area"])
    assert swapped == 0
