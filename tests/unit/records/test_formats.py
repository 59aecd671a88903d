"""Every file format: its content, and that nothing half-written remains."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segany.core.errors import DataError
from segany.masks.polygons import Polygon, polygons_to_mask
from segany.records.formats import WRITERS, label_map, png_folder
from segany.records.record import ImageRecord, MaskRecord

COLUMNS = (
    "id,area,bbox_x0,bbox_y0,bbox_w,bbox_h,point_input_x,point_input_y,predicted_iou,stability_score,"
    "crop_box_x0,crop_box_y0,crop_box_w,crop_box_h"
)


@pytest.fixture
def record() -> ImageRecord:
    box, ring, parts = np.zeros((3, 20, 30), bool)
    box[2:4, 3:8] = True
    ring[5:15, 5:15] = True
    ring[8:12, 8:12] = False
    parts[0, 0] = parts[16:19, 20:30] = True
    masks = (
        MaskRecord.from_mask(box, predicted_iou=0.9, stability_score=0.95, point_coords=[(4.5, 2.5)]),
        MaskRecord.from_mask(ring, label="ring"),
        MaskRecord.from_mask(parts),
        MaskRecord.from_mask(np.zeros((20, 30), bool)),
    )
    return ImageRecord(image_id=3, width=30, height=20, file_name="photo.jpg", annotations=masks)


def test_png_folder(tmp_path: Path, record: ImageRecord) -> None:
    paths = WRITERS["png"].write(record, tmp_path, "photo")
    assert {path.name for path in paths} == {"metadata.csv", "0.png", "1.png", "2.png", "3.png"}
    assert set(paths) == set((tmp_path / "photo").iterdir())
    lines = (tmp_path / "photo" / "metadata.csv").read_text().splitlines()
    assert lines[0] == COLUMNS
    assert lines[1] == "0,10,3,2,4,1,4.5,2.5,0.9,0.95,0,0,30,20"
    rows = list(csv.DictReader(lines))
    assert len(rows) == 4
    assert rows[1]["point_input_x"] == ""
    for index, mask in enumerate(record.annotations):
        picture = cv2.imread(str(tmp_path / "photo" / f"{index}.png"), cv2.IMREAD_UNCHANGED)
        assert picture.dtype == np.uint8
        assert (picture == mask.mask * 255).all()


def test_png_folder_replaces_an_older_one(tmp_path: Path, record: ImageRecord) -> None:
    WRITERS["png"].write(record, tmp_path, "photo")
    fewer = ImageRecord(image_id=3, width=30, height=20, file_name="photo.jpg", annotations=record.annotations[:1])
    WRITERS["png"].write(fewer, tmp_path, "photo")
    assert {path.name for path in (tmp_path / "photo").iterdir()} == {"metadata.csv", "0.png"}
    assert [path.name for path in tmp_path.iterdir()] == ["photo"]


def test_png_folder_keeps_the_older_one_when_writing_fails(
    tmp_path: Path, record: ImageRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS["png"].write(record, tmp_path, "photo")
    before = {path.name: path.read_bytes() for path in (tmp_path / "photo").iterdir()}

    def full(picture: Any) -> bytes:
        raise OSError("no space left on device")

    monkeypatch.setattr(png_folder, "png_bytes", full)
    with pytest.raises(OSError, match="no space"):
        WRITERS["png"].write(record, tmp_path, "photo")
    assert {path.name: path.read_bytes() for path in (tmp_path / "photo").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["photo"]


def test_label_map(tmp_path: Path, record: ImageRecord) -> None:
    (path,) = WRITERS["labelmap"].write(record, tmp_path, "photo")
    assert path == tmp_path / "photo_labels.png"
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture.dtype == np.uint16
    assert (picture[2, 3], picture[5, 5], picture[0, 0], picture[10, 10]) == (1, 2, 3, 0)


def test_label_map_of_32_bits(tmp_path: Path, record: ImageRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = np.full((20, 30), 70_000, np.uint32)
    monkeypatch.setattr(label_map, "masks_to_label_map", lambda masks, size_hw: wide)
    (path,) = WRITERS["labelmap"].write(record, tmp_path, "photo.v2")
    assert path.name == "photo.v2_labels.tiff"
    assert (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) == 70_000).all()


def test_polygons(tmp_path: Path, record: ImageRecord) -> None:
    (path,) = WRITERS["polygons"].write(record, tmp_path, "photo")
    document = json.loads(path.read_text())
    assert document["image"]["file_name"] == "photo.jpg"
    assert "segmentation" not in document["annotations"][0]
    assert [a["area"] for a in document["annotations"]] == [10, 84, 31, 0]
    for annotation, mask in zip(document["annotations"], record.annotations, strict=True):
        polygons = [
            Polygon(np.array(p["outer"]), tuple(np.array(hole) for hole in p["holes"])) for p in annotation["polygons"]
        ]
        assert (polygons_to_mask(polygons, (20, 30)) == mask.mask).all()


def _filled(ring: np.ndarray) -> np.ndarray:
    return polygons_to_mask([Polygon(ring)], (20, 30))


def test_yolo(tmp_path: Path, record: ImageRecord) -> None:
    path, classes = WRITERS["yolo"].write(record, tmp_path, "photo")
    assert classes.read_text() == "object\nring\n"
    lines = [line.split() for line in path.read_text().splitlines()]
    assert [line[0] for line in lines] == ["0", "1", "0"]
    rings = [np.array(line[1:], float).reshape(-1, 2) for line in lines]
    assert all((ring >= 0).all() and (ring <= 1).all() for ring in rings)
    assert (rings[0].min(axis=0) * (30, 20)).round(5).tolist() == [3, 2]
    assert (rings[0].max(axis=0) * (30, 20)).round(5).tolist() == [8, 4]
    for ring, mask in zip(rings, record.annotations, strict=False):
        assert (_filled(ring * (30, 20)) == mask.mask).all()


def test_yolo_class_numbers_stay_over_a_run(tmp_path: Path, record: ImageRecord) -> None:
    WRITERS["yolo"].write(record, tmp_path, "a")
    mask = np.ones((20, 30), bool)
    masks = tuple(MaskRecord.from_mask(mask, label=label) for label in ("traffic\nlight", "ring"))
    other = ImageRecord(image_id=4, width=30, height=20, file_name="b.jpg", annotations=masks)
    path, classes = WRITERS["yolo"].write(other, tmp_path, "b")
    assert classes.read_text().splitlines() == ["object", "ring", "traffic light"]
    assert [line.split()[0] for line in path.read_text().splitlines()] == ["2", "1"]


def test_labelme(tmp_path: Path, record: ImageRecord) -> None:
    (path,) = WRITERS["labelme"].write(record, tmp_path, "photo")
    document = json.loads(path.read_text())
    assert (document["imagePath"], document["imageHeight"], document["imageWidth"]) == ("photo.jpg", 20, 30)
    assert document["imageData"] is None
    shapes = document["shapes"]
    assert [shape["label"] for shape in shapes] == ["object", "ring", "object", "object"]
    assert [shape["group_id"] for shape in shapes] == [None, None, 2, 2]
    assert sorted(shapes[0]["points"]) == [[3, 2], [3, 4], [8, 2], [8, 4]]
    assert (_filled(np.array(shapes[1]["points"])) == record.annotations[1].mask).all()
    both = _filled(np.array(shapes[2]["points"])) | _filled(np.array(shapes[3]["points"]))
    assert (both == record.annotations[2].mask).all()


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_every_writer_does_what_the_face_says(tmp_path: Path, record: ImageRecord, name: str) -> None:
    writer = WRITERS[name]
    target = writer.target(tmp_path, "deep/photo")
    assert not target.exists()
    paths = writer(record, tmp_path, "deep/photo")
    assert target.exists()
    assert all(path.is_file() for path in paths)
    assert all(path.is_file() for path in writer.finish(tmp_path))
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("name", sorted(WRITERS))
@pytest.mark.parametrize("stem", ["", "../photo", "/photo"])
def test_no_writer_leaves_its_folder(tmp_path: Path, record: ImageRecord, name: str, stem: str) -> None:
    with pytest.raises(DataError, match="stem"):
        WRITERS[name].write(record, tmp_path / "out", stem)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sa1b", "coco", "polygons"])
def test_a_record_that_is_not_json_leaves_nothing(tmp_path: Path, record: ImageRecord, name: str) -> None:
    odd = ImageRecord(image_id=3, width=30, height=20, file_name="photo.jpg", extra={"odd": {1, 2}})
    with pytest.raises(DataError, match="JSON"):
        WRITERS[name].write(odd, tmp_path, "photo")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_an_image_without_masks_is_written(tmp_path: Path, name: str) -> None:
    empty = ImageRecord(image_id=3, width=30, height=20, file_name="photo.jpg")
    WRITERS[name].write(empty, tmp_path, "photo")
    assert WRITERS[name].target(tmp_path, "photo").exists()
