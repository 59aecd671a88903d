"""SA-1B files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segany.core.errors import DataError
from segany.records.record import ImageRecord, MaskRecord
from segany.records.sa1b import from_sa1b, read_sa1b, to_sa1b, write_sa1b


def image(**changes: Any) -> ImageRecord:
    mask = np.zeros((6, 9), bool)
    mask[2:4, 3:8] = True
    record = MaskRecord.from_mask(mask, predicted_iou=1.02, stability_score=0.98, point_coords=[(4.5, 2.5)])
    known = {"image_id": 5, "width": 9, "height": 6, "file_name": "sa_5.jpg", "annotations": (record, record)}
    return ImageRecord(**{**known, **changes})


def test_the_schema() -> None:
    document = to_sa1b(image())
    assert set(document) == {"image", "annotations"}
    assert document["image"] == {"image_id": 5, "width": 9, "height": 6, "file_name": "sa_5.jpg"}
    assert [annotation["id"] for annotation in document["annotations"]] == [0, 1]
    assert set(document["annotations"][0]) == {
        "id",
        "segmentation",
        "bbox",
        "area",
        "predicted_iou",
        "stability_score",
        "crop_box",
        "point_coords",
    }


def test_given_ids_stay_and_are_not_given_again() -> None:
    mask = np.ones((6, 9), bool)
    records = tuple(MaskRecord.from_mask(mask, id=number) for number in (1, None, None, 0))
    assert [a["id"] for a in to_sa1b(image(annotations=records))["annotations"]] == [1, 2, 3, 0]


def test_reading_what_was_written(tmp_path: Path) -> None:
    path = write_sa1b(image(), tmp_path / "sa_5.json")
    again = read_sa1b(path)
    assert to_sa1b(again) == to_sa1b(image())
    assert again.annotations[0].point_coords == ((4.5, 2.5),)
    assert [file.name for file in tmp_path.iterdir()] == ["sa_5.json"]


def test_unknown_keys_live_on_at_every_level(tmp_path: Path) -> None:
    document = to_sa1b(image())
    document["licence"] = "mine"
    document["image"]["camera"] = {"lens": 50}
    document["annotations"][0]["note"] = [1, 2]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    assert to_sa1b(read_sa1b(path)) == document


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write_sa1b(image(), tmp_path / "a.json")
    before = path.read_bytes()
    with pytest.raises(DataError, match="JSON"):
        write_sa1b(image(extra={"odd": object()}), path)
    with pytest.raises(DataError, match="JSON"):
        write_sa1b(image(extra={"odd": float("nan")}), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff\xfe\x00", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"[]", "object"),
        (b"{}", "image, annotations"),
        (b'{"image": 3, "annotations": []}', "image"),
        (b'{"image": {"width": 3}, "annotations": []}', "missing: image_id"),
        (b'{"image": {"image_id": 1, "width": 3, "height": 3, "file_name": "a"}, "annotations": {}}', "list"),
        (
            b'{"image": {"image_id": 1, "width": 3, "height": 3, "file_name": "a"}, "annotations": [1]}',
            "annotation 0",
        ),
        (
            b'{"image": {"image_id": 1, "width": -3, "height": 3, "file_name": "a"}, "annotations": []}',
            "width",
        ),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read_sa1b(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is none"):
        read_sa1b(tmp_path / "none.json")
    with pytest.raises(DataError):
        read_sa1b(tmp_path)


def test_the_bad_annotation_is_named() -> None:
    document = to_sa1b(image())
    document["annotations"][1]["area"] = 3
    with pytest.raises(DataError, match="annotation 1: area"):
        from_sa1b(document)
