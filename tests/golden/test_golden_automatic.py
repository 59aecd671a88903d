"""Automatic masks are those of the official code: three photos under four configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segany.masks.iou import mask_iou
from segany.masks.rle import decode
from segany.predict.automatic.face import SamAutomaticMaskGenerator
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.predictor import Predictor
from segany.transforms.image import read_image

RUNS = range(12)


@pytest.fixture(scope="module")
def predictor(shared: Path) -> Predictor:
    return Predictor.from_pretrained(shared / "golden" / "toy_official.pth", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def runs(shared: Path) -> list[dict[str, Any]]:
    return list(json.loads((shared / "golden" / "automatic.json").read_text(encoding="utf-8")))


def test_the_golden_runs_cover_what_they_should(runs: list[dict[str, Any]]) -> None:
    assert len(runs) == len(RUNS)
    assert {run["config"].get("crop_n_layers", 0) for run in runs} == {0, 1, 2}
    assert any(run["config"].get("min_mask_region_area") for run in runs)
    assert min(len(run["records"]) for run in runs) > 50


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("index", RUNS)
def test_same_count_boxes_points_and_masks(
    index: int, exact: bool, shared: Path, predictor: Predictor, runs: list[dict[str, Any]]
) -> None:
    run = runs[index]
    image = read_image(shared / "golden" / run["image"])
    records = AutomaticMaskGenerator(predictor, **run["config"], exact=exact).generate(image)
    assert len(records) == len(run["records"])
    for record, official in zip(records, run["records"], strict=True):
        assert list(record.bbox) == official["bbox"]
        assert [list(point) for point in record.point_coords] == official["point_coords"]
        assert list(record.crop_box) == official["crop_box"]
        assert record.predicted_iou == pytest.approx(official["predicted_iou"], abs=1e-4)
        assert record.stability_score == pytest.approx(official["stability_score"], abs=1e-3)
        assert record.area == pytest.approx(official["area"], rel=1e-3)
        assert record.output_index in (1, 2, 3)
        assert mask_iou(record.mask, decode(official["segmentation"])) >= 0.999


def test_the_face_gives_the_reference_dictionaries(
    shared: Path, predictor: Predictor, runs: list[dict[str, Any]]
) -> None:
    run = runs[3]
    generator = SamAutomaticMaskGenerator(predictor, output_mode="coco_rle", **run["config"])
    found = generator.generate(read_image(shared / "golden" / run["image"]))
    assert [list(item) for item in found] == [list(item) for item in run["records"]]
    assert [item["bbox"] for item in found] == [item["bbox"] for item in run["records"]]
    sizes = [item["segmentation"]["size"] for item in found]
    assert sizes == [item["segmentation"]["size"] for item in run["records"]]
