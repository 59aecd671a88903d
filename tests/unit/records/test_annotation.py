"""Annotation documents."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from segany.core.errors import DataError
from segany.records.annotation import AnnotationDocument, Interaction, View, read_annotation, write_annotation
from segany.records.gesture import Gesture
from segany.records.sa1b import read_sa1b

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "web"
NOW = "2026-01-31T12:00:00Z"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_annotation", GOLDEN / "make_annotation.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def golden() -> Any:
    return json.loads((GOLDEN / "annotation.json").read_text(encoding="utf-8"))


def test_the_golden_file_is_what_its_script_makes(maker: ModuleType) -> None:
    assert (GOLDEN / "annotation.json").read_text(encoding="utf-8") == maker.text()


def test_reading_and_writing_changes_nothing(golden: Any, tmp_path: Path) -> None:
    document = AnnotationDocument.from_json(golden)
    assert document.to_json() == golden
    assert read_annotation(write_annotation(document, tmp_path / "a.json")) == document


def test_unknown_keys_live_on_at_every_level(golden: Any) -> None:
    golden["annotations"][0]["review"] = {"by": 3}
    golden["annotations"][0]["interaction"]["pauses"] = 2
    golden["annotations"][0]["interaction"]["prompts"][0]["pressure"] = 0.5
    golden["annotations"][0]["view"]["outline"] = "dashed"
    assert AnnotationDocument.from_json(golden).to_json() == golden


def test_a_document_is_an_sa1b_file(golden: Any, tmp_path: Path, maker: ModuleType) -> None:
    record = read_sa1b(write_annotation(AnnotationDocument.from_json(golden), tmp_path / "a.json"))
    assert [mask.area for mask in record.annotations] == [one.mask.area for one in maker.document().annotations]


def test_a_record_has_the_masks_alone(maker: ModuleType) -> None:
    record = maker.document().to_record()
    assert [mask.label for mask in record.annotations] == ["Apfel, größer", None, None]
    assert all("interaction" not in mask.to_dict() for mask in record.annotations)


def test_clicks_are_points_and_boxes(maker: ModuleType) -> None:
    assert [one.interaction.clicks for one in maker.document().annotations] == [3, 0, 0]
    assert maker.document().clicks == 3


def changed(golden: Any, path: tuple[Any, ...], value: Any) -> Any:
    place = golden
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return golden


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("format",), "segany-annotation 2", "newer release"),
        (("created",), "2026-01-31T12:00:00", "UTC"),
        (("modified",), "2026-01-31T12:00:00+02:00", "UTC"),
        (("created",), "yesterday", "ISO 8601"),
        (("active_seconds",), -1, "0 or more"),
        (("active_seconds",), "5", "number"),
        (("image", "sha256"), "0123", "64 small hexadecimal"),
        (("image", "sha256"), None, "sha256"),
        (("image", "width"), 63, "annotation|size"),
        (("annotations", 0, "id"), None, "annotation 0.*id"),
        (("annotations", 1, "id"), 0, "0 comes twice"),
        (("annotations", 0, "source"), "guess", "annotation 0.*source"),
        (("annotations", 0, "interaction"), None, "annotation 0.*interaction"),
        (("annotations", 0, "interaction", "chosen"), -1, "chosen"),
        (("annotations", 0, "interaction", "model"), 5, "model"),
        (("annotations", 0, "interaction", "prompts", 0, "kind"), "wink", "prompt 0.*kind"),
        (("annotations", 0, "interaction", "prompts", 0, "label"), 2, "prompt 0.*label"),
        (("annotations", 0, "interaction", "prompts", 0, "x"), None, "prompt 0.*x"),
        (("annotations", 0, "interaction", "prompts", 2, "xyxy"), [25, 5, 5, 25], "prompt 2.*x0 <= x1"),
        (("annotations", 1, "interaction", "prompts", 0, "radius"), 0, "prompt 0.*radius"),
        (("annotations", 1, "interaction", "prompts", 0, "path"), [[1]], "prompt 0.*path"),
        (("annotations", 0, "view", "colour"), "red", "#rrggbb"),
        (("annotations", 0, "view", "hidden"), 1, "true or false"),
    ],
)
def test_what_is_wrong_is_told(golden: Any, path: tuple[Any, ...], value: Any, told: str) -> None:
    with pytest.raises(DataError, match=f"(?s){told}"):
        AnnotationDocument.from_json(changed(golden, path, value))


def test_a_prompt_has_its_own_fields_and_no_others() -> None:
    with pytest.raises(DataError, match="look at score"):
        Gesture(kind="point", x=1, y=2, label=1, score=0.5, at=NOW)
    with pytest.raises(DataError, match="unknown keys only"):
        Interaction(created=NOW, modified=NOW, extra={"prompts": []})
    with pytest.raises(DataError, match="unknown keys only"):
        View(colour="#000000", extra={"hidden": True})


def test_the_message_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text('{"format": "segany-annotation 1"}', encoding="utf-8")
    with pytest.raises(DataError, match=r"broken\.json.*missing"):
        read_annotation(path)
