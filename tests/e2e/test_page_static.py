"""The page on a server that only hands out files: no service, no network after loading, the model in the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from segany.masks.rle import decode, rle_iou
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.records.annotation import AnnotationDocument

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor


@pytest.fixture
def page(desk: Callable[..., Any], site: str) -> Any:
    return desk(site, color_scheme="light")


def test_only_files_are_asked_for_and_everything_works(page: Any, site: str, photos: dict[str, Path]) -> None:
    requests: list[tuple[str, str, int | None]] = []

    def answered(response: Any) -> None:
        requests.append((response.request.method, response.url.removeprefix(site), response.status))

    page.page.on("response", answered)
    page.visit()
    page.open(photos["wide.png"])
    page.click(310, 160)
    page.picture("20-static-light")
    page.accept()
    probe = [entry for entry in requests if entry[1].startswith("api/")]
    assert probe == [("GET", "api/v1/health", 404)], "one look whether there is a service, nothing more"
    assert {method for method, _, _ in requests} == {"GET"}
    assert any(name.startswith("models/tiny/encoder.onnx") for _, name, _ in requests)
    page.find("model").click()
    assert "Photos never leave this browser" in page.find("engine-facts").inner_text()


def test_it_goes_on_without_a_network(page: Any, photos: dict[str, Path]) -> None:
    page.visit()
    page.page.context.set_offline(True)
    page.open(photos["square.jpg"])
    page.click(220, 120)
    page.accept()
    (mask,) = page.annotations(1)
    assert decode(mask["segmentation"])[120, 220]
    assert AnnotationDocument.from_json(page.documents(1)[0]).annotations[0].mask.source == "model"


def test_everything_is_what_python_finds(page: Any, tiny: Predictor, photos: dict[str, Path]) -> None:
    page.visit()
    page.open(photos["wide.png"])
    page.find("model").click()
    page.page.get_by_label("Large things").check()
    page.press("Escape")
    page.find("everything").click()
    page.find("found").wait_for(timeout=90_000)
    page.picture("21-static-everything")
    page.find("keep-all").click()
    page.find("found").wait_for(state="detached")
    (document,) = page.documents()
    ours = [one["segmentation"] for one in document["annotations"]]
    theirs = [
        dict(record.segmentation)
        for record in AutomaticMaskGenerator(tiny, points_per_side=8, **recommended(tiny)).generate(photos["wide.png"])
    ]
    assert len(theirs) >= 4
    best = rle_iou(theirs, ours).max(axis=1)
    print(f"masks: Python {len(theirs)}, page {len(ours)}; IoU of Python's with the page's best {np.round(best, 3)}")
    assert abs(len(ours) - len(theirs)) <= 1
    assert np.mean(best > 0.95) >= 0.8


def recommended(tiny: Predictor) -> dict[str, Any]:
    from segany.predict.automatic.config import recommended_knobs

    return recommended_knobs(tiny.metadata)
