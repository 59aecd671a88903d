"""Every kind of offence is found, and sound data has none."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segany.data.sample import Sample, StoredDocument, given_bytes, given_document
from segany.data.shard_format import MANIFEST
from segany.data.shards import ShardWriter
from segany.data.validate import MEANINGS, Validator, check_manifest
from segany.masks.rle import encode
from segany.records.record import ImageRecord, MaskRecord
from segany.records.sa1b import to_sa1b

Change = Callable[[dict[str, Any]], None]


def png(width: int = 9, height: int = 6) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, format="PNG")
    return file.getvalue()


def document() -> dict[str, Any]:
    mask = np.zeros((6, 9), bool)
    mask[1:4, 2:7] = True
    masks = (MaskRecord.from_mask(mask), MaskRecord.from_mask(~mask))
    return to_sa1b(ImageRecord(image_id=3, width=9, height=6, file_name="sa_3.png", annotations=masks))


def checked(content: dict[str, Any], layout: Any = "sa1b", photo: bytes | None = None) -> dict[str, int]:
    validator = Validator("made")
    validator.add(
        Sample(
            source="made",
            key="sa_3",
            file_name="sa_3.png",
            load_bytes=partial(given_bytes, png() if photo is None else photo),
            load_record=StoredDocument(layout=layout, load=partial(given_document, content)),
        )
    )
    return dict(validator.report.counts)


def set_mask(key: str, value: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["annotations"][1][key] = value

    return change


def set_image(key: str, value: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["image"][key] = value

    return change


OFFENCES: list[tuple[str, Change]] = [
    ("unreadable", lambda content: content.pop("image")),
    ("schema", set_image("image_id", "three")),
    ("schema", set_image("file_name", None)),
    ("schema", set_image("width", 0)),
    ("schema", set_mask("predicted_iou", None)),
    ("schema", set_mask("crop_box", [1, 2])),
    ("schema", lambda content: content["annotations"].append([])),
    ("rle", set_mask("segmentation", {"size": [6, 9], "counts": "damaged"})),
    ("rle_size", set_mask("segmentation", encode(np.ones((9, 6), bool)))),
    ("area", set_mask("area", 5)),
    ("bbox", set_mask("bbox", [3, 0, 5, 5])),
    ("duplicate_id", set_mask("id", 0)),
]


def test_sound_data_is_good() -> None:
    assert checked(document()) == {}


@pytest.mark.parametrize(("kind", "change"), OFFENCES)
def test_each_offence_is_found_alone(kind: str, change: Change) -> None:
    content = document()
    change(content)
    assert checked(content) == {kind: 1}
    assert kind in MEANINGS


def test_boxes_may_be_counted_with_the_last_pixel_or_without() -> None:
    content = document()
    x, y, w, h = content["annotations"][0]["bbox"]
    content["annotations"][0]["bbox"] = [x, y, w + 1, h + 1]
    assert checked(content) == {}


def test_empty_masks_and_photos() -> None:
    content = document()
    empty = MaskRecord.from_mask(np.zeros((6, 9), bool)).to_dict()
    content["annotations"].append({"id": 9, **empty})
    assert checked(content) == {"empty_mask": 1}
    assert checked(document(), photo=png(8, 6)) == {"image_size": 1}
    assert checked(document(), photo=b"no picture") == {"image": 1}


def test_two_images_of_one_number() -> None:
    validator = Validator("made", images=False)
    for key in ("a", "b"):
        load = StoredDocument(layout="sa1b", load=partial(given_document, document()))
        validator.add(
            Sample(
                source="made",
                key=key,
                file_name="a.png",
                load_bytes=partial(given_bytes, b"never decoded"),
                load_record=load,
            )
        )
    assert dict(validator.report.counts) == {"duplicate_image": 1}
    assert validator.report.first["duplicate_image"] == ["3: a and b"]


def coco(**changes: Any) -> dict[str, Any]:
    triangle = {"id": 1, "image_id": 3, "segmentation": [[1, 1, 8, 1, 8, 5]], "area": 14.0, "bbox": [1, 1, 7, 4]}
    image = {"id": 3, "width": 9, "height": 6, "file_name": "a.png"}
    return {"images": [image], "annotations": [{**triangle, **changes}]}


def test_coco_outlines_agree_about() -> None:
    assert checked(coco(), "coco") == {}
    assert checked(coco(area=60.0), "coco") == {"area": 1}
    assert checked(coco(area=60.0, iscrowd=1), "coco") == {}
    assert checked(coco(bbox=[1, 1, 2, 2]), "coco") == {"bbox": 1}
    assert checked(coco(bbox=[1, 1]), "coco") == {"bbox": 1}
    assert checked(coco(segmentation="none"), "coco") == {"rle": 1}
    assert checked(coco(segmentation=encode(np.ones((5, 5), bool))), "coco") == {"rle_size": 1}


def test_only_the_first_offenders_are_named() -> None:
    validator = Validator("made")
    validator.missing(tuple(f"image {number}" for number in range(25)))
    row = validator.report.to_json()["offences"]["missing"]
    assert row["count"] == 25 and row["first"] == [f"image {number}" for number in range(10)]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    with ShardWriter(tmp_path, max_images=1) as writer:
        for number in (1, 2):
            writer.add(ImageRecord(image_id=0, width=9, height=6, file_name=f"sa_{number}.png"), png())
    return tmp_path


def edit_manifest(folder: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content["shards"])
    (folder / MANIFEST).write_text(json.dumps(content))


def test_manifest_and_shards(shards: Path) -> None:
    assert list(check_manifest(shards)) == []
    edit_manifest(shards, lambda rows: rows[0].update(ids=[7], images=1))
    assert [line.split(" ")[0] for line in check_manifest(shards)] == ["sa_000000.tar"]
    edit_manifest(shards, lambda rows: rows[0].update(ids=[2]))
    assert any("image 2 is listed 2 times" in line for line in check_manifest(shards))
    edit_manifest(shards, lambda rows: rows.pop(0))
    assert list(check_manifest(shards)) == ["sa_000000.tar is there, but not listed"]
    with (shards / "sa_000001.tar").open("r+b") as file:
        file.seek(600)
        file.write(b"x")
    assert any("SHA-256" in line for line in check_manifest(shards))
    (shards / "sa_000001.tar").unlink()
    assert any("not there" in line for line in check_manifest(shards))
    (shards / MANIFEST).write_text("{")
    assert len(list(check_manifest(shards))) == 1
    (shards / MANIFEST).unlink()
    assert list(check_manifest(shards)) == []
