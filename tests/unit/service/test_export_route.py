"""Annotation documents out as files, in every format; names of clients never leave their folder."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from segany.records.formats import WRITERS
from segany.records.record import MaskRecord
from segany.records.sa1b import from_sa1b
from segany.service.schemas import Format

from .conftest import MakeClient

ONE_FILE = {"coco": "application/json", "labelstudio": "application/json", "cvat": "application/xml"}
"""Formats that put all documents into one file."""
DAY = "2026-01-01T00:00:00Z"


def document(file_name: str = "photo.jpg", masks: int = 2) -> dict[str, Any]:
    annotations = []
    for number in range(masks):
        mask = np.zeros((20, 30), np.bool_)
        mask[2 + number : 12, 3:15] = True
        interaction = {
            "prompts": [{"kind": "point", "x": 5.0, "y": 5.0, "label": 1, "at": DAY}],
            "created": DAY, "modified": DAY, "active_seconds": 1.5, "chosen": 0, "model": None,
        }  # fmt: skip
        record = MaskRecord.from_mask(mask, label=f"thing {number}").to_dict()
        annotations.append({"id": number, **record, "interaction": interaction})
    image = {"image_id": 7, "width": 30, "height": 20, "file_name": file_name, "sha256": "0" * 64}
    return {
        "format": "segany-annotation 1", "image": image, "created": DAY, "modified": DAY,
        "active_seconds": 3.0, "annotations": annotations,
    }  # fmt: skip


def export(client: TestClient, *documents: dict[str, Any], format: str) -> Any:
    return client.post("/api/v1/export", json={"documents": list(documents), "format": format})


@pytest.mark.parametrize("format", [*WRITERS, "annotations"])
def test_every_format_is_written(client: TestClient, format: str) -> None:
    answer = export(client, document(), document("other.png"), format=format)
    assert answer.status_code == 200, answer.text
    if format in ONE_FILE:
        assert answer.headers["content-type"] == ONE_FILE[format]
        assert "photo.jpg" in answer.text and "other.png" in answer.text
        return
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    names = archive.namelist()
    assert any(name.startswith("photo") for name in names) and any(name.startswith("other") for name in names)
    if format == "sa1b":
        assert names == ["other.json", "photo.json"]
        record = from_sa1b(json.loads(archive.read("photo.json")))
        assert [mask.label for mask in record.annotations] == ["thing 0", "thing 1"]
    if format == "png":
        picture = np.asarray(Image.open(io.BytesIO(archive.read(next(n for n in names if n.endswith(".png"))))))
        assert picture.shape == (20, 30) and picture.any()


def test_one_document_of_one_file_comes_as_that_file(client: TestClient) -> None:
    answer = export(client, document(), format="annotations")
    assert answer.json() == document()
    assert 'filename="photo.json"' in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    ("file_name", "stem"),
    [
        ("../../../etc/passwd", "passwd"),
        ("..\\..\\evil.exe", "evil"),
        ("/", "image"),
        ("...", "image"),
        ("CON.jpg", "image_CON"),
        ("a\0b\r\nc.png", "a_b_c"),
        ("x" * 500 + ".jpg", "x" * 60),
        ("Straße 7.jpg", "Straße_7"),
    ],
)
def test_file_names_become_plain_names(client: TestClient, file_name: str, stem: str) -> None:
    answer = export(client, document(file_name), document(file_name), format="sa1b")
    assert answer.status_code == 200, answer.text
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert sorted(names) == sorted([f"{stem}.json", f"{stem}-2.json"])


def test_nothing_stays_behind(make_client: MakeClient, tmp_path: Any) -> None:
    client = make_client(data_dir=tmp_path / "data")
    assert export(client, document(), document(), format="png").status_code == 200
    assert export(client, {**document(), "image": {}}, format="png").status_code == 422
    assert list((tmp_path / "data" / "passing").iterdir()) == []


def test_limits_hold(make_client: MakeClient) -> None:
    client = make_client(max_documents=2, max_export_pixels=20 * 30 * 5)
    assert export(client, document(), document(), format="sa1b").status_code == 200
    for documents, word in (([document()] * 3, "documents"), ([document(masks=3)] * 2, "pixels")):
        answer = export(client, *documents, format="sa1b")
        assert answer.status_code == 422 and word in answer.json()["error"]["message"]


def test_the_description_names_every_format() -> None:
    assert set(get_args(Format)) == {*WRITERS, "annotations"}
