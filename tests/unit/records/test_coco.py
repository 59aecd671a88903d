"""COCO datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from segany.core.errors import DataError
from segany.records.coco import finish, from_coco, read_coco, to_coco, write, write_coco
from segany.records.record import ImageRecord, MaskRecord


def image(number: int, *labels: str | None, **changes: Any) -> ImageRecord:
    mask = np.zeros((6, 9), bool)
    mask[2:4, 3:8] = True
    records = tuple(
        MaskRecord.from_mask(mask, predicted_iou=0.9, point_coords=[(4, 2)], crop_box=(1, 1, 8, 5), label=label)
        for label in labels
    )
    known = {
        "image_id": number,
        "width": 9,
        "height": 6,
        "file_name": f"{number}.jpg",
        "annotations": records,
    }
    return ImageRecord(**{**known, **changes})


def test_exact_boxes_one_class_and_ids_over_the_dataset() -> None:
    dataset = to_coco([image(1, None, None), image(2, None)])
    assert dataset["categories"] == [{"id": 1, "name": "object"}]
    assert [a["id"] for a in dataset["annotations"]] == [1, 2, 3]
    assert [a["image_id"] for a in dataset["annotations"]] == [1, 1, 2]
    first = dataset["annotations"][0]
    assert (first["bbox"], first["area"], first["iscrowd"], first["category_id"]) == ([3, 2, 5, 2], 10, 0, 1)
    assert isinstance(first["segmentation"]["counts"], str)
    assert to_coco([])["categories"] == [{"id": 1, "name": "object"}]


def test_labels_become_classes_and_come_back() -> None:
    dataset = to_coco([image(1, "dog", "cat"), image(2, None)])
    assert [c["name"] for c in dataset["categories"]] == ["cat", "dog", "object"]
    again = from_coco(dataset)
    assert [mask.label for mask in again[0].annotations] == ["dog", "cat"]


def test_reading_brings_everything_back(tmp_path: Path) -> None:
    record = image(4, None, extra={"licence": 2})
    (again,) = read_coco(write_coco([record], tmp_path / "coco.json"))
    assert again.extra == {"licence": 2}
    (mask,), (before,) = again.annotations, record.annotations
    assert mask.id == 1
    assert mask.to_dict() == {**before.to_dict(), "id": 1}


def test_the_coco_tools_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_coco([image(1, "cat"), image(2, None)], tmp_path / "coco.json")
    dataset = COCO(str(path))
    annotation = dataset.loadAnns(dataset.getAnnIds(imgIds=[2]))[0]
    assert (dataset.annToMask(annotation) > 0).sum() == 10


def test_polygons_run_lengths_and_crowds_are_read() -> None:
    base = {"image_id": 1, "category_id": 18}
    dataset = {
        "images": [{"id": 1, "width": 5, "height": 4, "file_name": "a.jpg", "coco_url": "x"}],
        "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}],
        "annotations": [
            {**base, "id": 3, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]], "area": 5.7, "bbox": [1, 1, 3, 2]},
            {
                **base,
                "id": 9,
                "segmentation": {"size": [4, 5], "counts": [5, 2, 13]},
                "iscrowd": 1,
                "score": 0.5,
            },
        ],
    }
    (record,) = from_coco(dataset)
    polygon, crowd = record.annotations
    assert (polygon.area, polygon.bbox, polygon.exact_bbox, polygon.label, polygon.id) == (
        6,
        (1, 1, 2, 1),
        (1, 1, 3, 2),
        "dog",
        3,
    )
    assert crowd.extra == {"score": 0.5, "iscrowd": 1}
    assert [a["iscrowd"] for a in to_coco([record])["annotations"]] == [0, 1]
    assert to_coco([record])["images"][0]["coco_url"] == "x"


def test_parts_merge_again_and_again(tmp_path: Path) -> None:
    write(image(2, "dog"), tmp_path, "b")
    assert finish(tmp_path) == [tmp_path / "annotations.json"]
    write(image(1, "cat", "dog"), tmp_path, "folder/a")
    finish(tmp_path)
    records = read_coco(tmp_path / "annotations.json")
    assert [[mask.label for mask in record.annotations] for record in records] == [["cat", "dog"], ["dog"]]
    assert [mask.id for record in records for mask in record.annotations] == [1, 2, 3]


def test_a_photo_present_twice_does_not_stop_the_merge(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(image(7, None, file_name=f"{name}.jpg"), tmp_path, name)
    finish(tmp_path)
    records = read_coco(tmp_path / "annotations.json")
    assert [(r.file_name, r.image_id) for r in records] == [("a.jpg", 7), ("b.jpg", 8), ("c.jpg", 9)]
    with pytest.raises(DataError, match="different ids"):
        to_coco([image(7), image(7)])


def test_a_run_without_images_is_an_empty_dataset(tmp_path: Path) -> None:
    finish(tmp_path)
    assert read_coco(tmp_path / "annotations.json") == []


IMAGE = {"id": 1, "width": 5, "height": 4, "file_name": "a.jpg"}
RLE = {"size": [4, 5], "counts": [20]}


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        ({}, "missing: images, annotations"),
        ({"images": {}, "annotations": []}, "images must be a list"),
        ({"images": [{"id": 1}], "annotations": []}, "image 0"),
        ({"images": [IMAGE, IMAGE], "annotations": []}, "twice"),
        ({"images": [{**IMAGE, "id": "x"}], "annotations": []}, "image 0: id"),
        (
            {"images": [IMAGE], "annotations": [{"image_id": 2, "segmentation": RLE}]},
            "annotation 0: image_id",
        ),
        ({"images": [IMAGE], "annotations": [{"image_id": 1}]}, "missing: segmentation"),
        ({"images": [IMAGE], "annotations": [{"image_id": 1, "segmentation": "x"}]}, "annotation 0"),
        ({"images": [IMAGE], "annotations": [{"image_id": 1, "segmentation": [1, 2]}]}, "annotation 0"),
        (
            {"images": [{**IMAGE, "width": 6}], "annotations": [{"image_id": 1, "segmentation": RLE}]},
            "image's size",
        ),
        (
            {
                "images": [IMAGE],
                "categories": [{"id": 1, "name": "a"}],
                "annotations": [{"image_id": 1, "segmentation": RLE, "category_id": 2}],
            },
            "category_id",
        ),
        ({"images": [], "annotations": [], "categories": [{"id": 1}]}, "category 0"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, dataset: dict[str, Any], says: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(dataset))
    with pytest.raises(DataError, match=says) as caught:
        read_coco(path)
    assert str(path) in str(caught.value)
