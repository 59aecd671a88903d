"""Finding and blurring what should not be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data as photos

from segany.core.errors import DataError
from segany.engine.privacy.blur import blur_regions
from segany.engine.privacy.detectors import Detection, YuNetFaces, default_detectors

FACES, PLATES = default_detectors()


def middle_lies_in(detections: Any, x: float, y: float) -> bool:
    def holds(one: Detection) -> bool:
        (x0, y0), _, (x1, y1), _ = one.outline
        return x0 < x < x1 and y0 < y < y1

    return any(holds(one) for one in detections)


def test_a_face_is_found_whatever_the_photos_size() -> None:
    portrait = photos.astronaut()
    assert middle_lies_in(FACES(portrait), 225, 115)
    large = cv2.resize(portrait, (2048, 2048), interpolation=cv2.INTER_CUBIC)
    found = FACES(large)
    assert middle_lies_in(found, 4 * 225, 4 * 115), "outlines are in the photo's own pixels"


def test_a_plate_is_found() -> None:
    street = photos.rocket().copy()
    cv2.rectangle(street, (200, 300), (330, 328), (245, 245, 245), -1)
    cv2.putText(street, "AB 123 CD", (205, 322), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (10, 10, 10), 2)
    assert middle_lies_in(PLATES(street), 260, 314)
    assert not middle_lies_in(PLATES(photos.rocket()), 260, 314)


@pytest.mark.parametrize("detector", [FACES, PLATES])
@pytest.mark.parametrize("size", [(1, 1), (3, 400), (400, 3), (30, 30)])
def test_tiny_photos_do_no_harm(detector: Any, size: tuple[int, int]) -> None:
    assert list(detector(np.full((*size, 3), 90, np.uint8))) == []


def test_names_are_different_and_stable() -> None:
    assert [one.name for one in default_detectors()] == [FACES.name, PLATES.name]
    assert FACES.name != PLATES.name


def test_a_model_file_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="zoo"):
        YuNetFaces(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(DataError, match="ONNX"):
        YuNetFaces(tmp_path / "bad.onnx")(np.zeros((50, 50, 3), np.uint8))


def test_blurring_leaves_a_few_blocks_and_the_rest_alone() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 100, 3), dtype=np.uint8)
    before = noise.copy()
    outline = [(20, 10), (70, 10), (70, 60), (20, 60)]
    blurred = blur_regions(noise, [outline])
    assert (noise == before).all(), "the photo itself is not touched"
    outside = np.ones((80, 100), bool)
    outside[10:61, 20:71] = False
    assert (blurred[outside] == noise[outside]).all()
    inside = blurred[10:60, 20:70].astype(float)
    assert inside.std() < 0.15 * noise.astype(float).std()


def test_a_face_blurred_is_no_face() -> None:
    portrait = photos.astronaut()
    found = FACES(portrait)
    assert not middle_lies_in(FACES(blur_regions(portrait, [one.outline for one in found])), 225, 115)


def test_regions_outside_or_without_width() -> None:
    rgb = np.full((20, 20, 3), 7, np.uint8)
    outlines = [[(-9, -9), (-2, -9), (-2, -2)], [(5, 5), (5, 5), (5, 5)], [(15, 15), (99, 15), (99, 99), (15, 99)]]
    assert blur_regions(rgb, outlines).shape == rgb.shape
