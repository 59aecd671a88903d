"""`SamPredictor` and `Predictor` give what the official code gave: 36 prompts on three photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segany.masks.iou import mask_iou
from segany.masks.rle import decode
from segany.predict.predictor import Predictor
from segany.predict.sam_predictor import SamPredictor
from segany.transforms.image import read_image

TOLERANCE = 1e-4
PHOTOS = ("dog", "bsds", "coco")


@pytest.fixture(scope="module")
def predictor(shared: Path) -> Predictor:
    return Predictor.from_pretrained(shared / "golden" / "toy_official.pth", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def cases(shared: Path) -> list[dict[str, Any]]:
    return list(json.loads((shared / "golden" / "predictor.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def arrays(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "golden" / "predictor.npz") as file:
        return {name: file[name] for name in file.files}


def assert_close(ours: np.ndarray, official: np.ndarray) -> None:
    assert ours.shape == official.shape
    assert float(np.abs(ours - official).max()) <= TOLERANCE * float(np.abs(official).max())


def assert_same_masks(ours: np.ndarray, case: dict[str, Any]) -> None:
    assert len(ours) == len(case["masks"])
    for mask, rle in zip(ours, case["masks"], strict=True):
        official = decode(rle)
        assert mask.dtype == np.bool_ and mask.shape == official.shape
        assert np.array_equal(mask, official) or mask_iou(mask, official) >= 0.999


def test_there_are_36_cases_of_every_kind(cases: list[dict[str, Any]]) -> None:
    kinds = {(case["kind"], case["multimask_output"]) for case in cases}
    names = ("point", "points", "box", "box+point", "mask", "point+mask")
    assert len(cases) == 36 and kinds == {(name, many) for name in names for many in (True, False)}


@pytest.mark.parametrize("photo", PHOTOS)
def test_sam_predictor(
    photo: str, shared: Path, predictor: Predictor, cases: list[dict[str, Any]], arrays: dict[str, np.ndarray]
) -> None:
    face = SamPredictor(predictor)
    face.set_image(read_image(shared / "golden" / f"{photo}.png"))
    assert_close(face.get_image_embedding()[0].numpy(), arrays[f"{photo}.embedding"])
    mine = [case for case in cases if case["image"] == f"{photo}.png"]
    for case in mine:
        masks, iou, low_res = face.predict(
            np.array(case["point_coords"]) if "point_coords" in case else None,
            np.array(case["point_labels"]) if "point_labels" in case else None,
            np.array(case["box"]) if "box" in case else None,
            arrays.get(f"{case['id']}.mask_input"),
            case["multimask_output"],
        )
        assert_close(iou, np.array(case["iou_predictions"]))
        assert_close(low_res, arrays[f"{case['id']}.low_res_logits"])
        assert_same_masks(masks, case)
    assert len(mine) == 12


def test_predictor_decodes_all_36_in_one_call(
    shared: Path, predictor: Predictor, cases: list[dict[str, Any]], arrays: dict[str, np.ndarray]
) -> None:
    images = [shared / "golden" / f"{photo}.png" for photo in PHOTOS]
    embeddings = dict(zip((path.name for path in images), predictor.encode_many(images), strict=True))
    pairs = [
        (
            embeddings[case["image"]],
            {
                "points": case.get("point_coords"),
                "labels": case.get("point_labels"),
                "boxes": case.get("box"),
                "mask": arrays.get(f"{case['id']}.mask_input"),
                "multimask": case["multimask_output"],
            },
        )
        for case in cases
    ]
    for case, result in zip(cases, predictor.decode_many(pairs), strict=True):
        assert_close(result.predicted_iou, np.array(case["iou_predictions"]))
        assert_close(result.low_res_logits, arrays[f"{case['id']}.low_res_logits"])
        assert_same_masks(result.masks, case)
        assert result.best == int(np.argmax(case["iou_predictions"]))
        assert tuple(result.output_index) == ((1, 2, 3) if case["multimask_output"] else (0,))
