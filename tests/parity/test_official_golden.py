"""Against outputs of the official implementation on a small trained checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from segany.geometry.frames import Frame
from segany.modeling.checkpoints.load import load_model
from segany.modeling.config import DecoderConfig, ModelConfig, ViTConfig
from segany.modeling.sam import Sam

from ._oracle import TOLERANCE, difference

PHOTOS = ("dog", "bsds", "coco")
CASES = range(12)


@pytest.fixture(scope="module")
def golden(shared: Path) -> Path:
    return shared / "golden"


@pytest.fixture(scope="module")
def official(golden: Path) -> Sam:
    return load_model(golden / "toy_official.pth").model


@pytest.fixture(scope="module")
def arrays(golden: Path) -> Mapping[str, np.ndarray]:
    with np.load(golden / "predictor.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def cases(golden: Path) -> dict[str, dict[str, Any]]:
    return {case["id"]: case for case in json.loads((golden / "predictor.json").read_text())}


def frame_of(golden: Path, photo: str, model: Sam) -> Frame:
    with Image.open(golden / f"{photo}.png") as image:
        return model.frame((image.height, image.width))


def canvas_pixels(golden: Path, photo: str, model: Sam) -> Tensor:
    height, width = frame_of(golden, photo, model).resized_hw
    with Image.open(golden / f"{photo}.png") as image:
        small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1).float()
    return model.preprocess(pixels).unsqueeze(0)


def prompt_tensors(case: Mapping[str, Any], frame: Frame, mask: np.ndarray | None) -> dict[str, Tensor]:
    """A case's prompt in the canvas frame, as `Sam.decode` takes it."""
    out: dict[str, Tensor] = {}
    if "point_coords" in case:
        points = np.asarray(frame.to_canvas(np.asarray(case["point_coords"], dtype=np.float64)))
        out["points"] = torch.from_numpy(points.astype(np.float32)).unsqueeze(0)
        out["labels"] = torch.tensor(case["point_labels"]).unsqueeze(0)
    if "box" in case:
        box = np.asarray(frame.boxes_to_canvas(np.asarray([case["box"]], dtype=np.float64)))
        out["boxes"] = torch.from_numpy(box.astype(np.float32))
    if mask is not None:
        out["masks"] = torch.from_numpy(mask).unsqueeze(0)
    return out


def test_config_is_told_from_shapes(official: Sam) -> None:
    assert official.config == ModelConfig(
        name="custom",
        encoder=ViTConfig(width=96, depth=4, heads=3, window=7, global_blocks=(1, 3)),
        canvas=256,
        width=128,
        decoder=DecoderConfig(mlp_width=512, iou_head_width=128),
    )


@pytest.mark.parametrize("photo", PHOTOS)
def test_embedding(photo: str, golden: Path, official: Sam, arrays: Mapping[str, np.ndarray]) -> None:
    with torch.no_grad():
        embedding = official.encode(canvas_pixels(golden, photo, official))[0]
    assert difference(embedding, torch.from_numpy(arrays[f"{photo}.embedding"])) <= TOLERANCE


@pytest.mark.parametrize("name", [f"{photo}.{index:02d}" for photo in PHOTOS for index in CASES])
def test_decode(
    name: str,
    golden: Path,
    official: Sam,
    arrays: Mapping[str, np.ndarray],
    cases: Mapping[str, Mapping[str, Any]],
) -> None:
    case, photo = cases[name], name.split(".")[0]
    prompt = prompt_tensors(case, frame_of(golden, photo, official), arrays.get(f"{name}.mask_input"))
    with torch.no_grad():
        embedding = official.encode(canvas_pixels(golden, photo, official))
        logits, iou = official.decode(embedding, **prompt)
    chosen = slice(1, None) if case["multimask_output"] else slice(0, 1)
    assert difference(logits[0, chosen], torch.from_numpy(arrays[f"{name}.low_res_logits"])) <= TOLERANCE
    assert difference(iou[0, chosen], torch.tensor(case["iou_predictions"])) <= TOLERANCE


def test_every_case_is_compared(cases: Mapping[str, Mapping[str, Any]]) -> None:
    assert sorted(cases) == sorted(f"{photo}.{index:02d}" for photo in PHOTOS for index in CASES)
