"""What must hold for every annotation document."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segany.records.annotation import FORMAT, Annotation, AnnotationDocument, Interaction, View
from segany.records.gesture import Gesture
from segany.records.record import MaskRecord
from segany.records.sa1b import from_sa1b

SIZE = (5, 7)
NUMBER = st.integers(-1000, 1000) | st.floats(allow_nan=False, allow_infinity=False, width=32)
POSITIVE = st.floats(0.001, 1000)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
EXTRA = st.dictionaries(st.text(max_size=6).map(lambda key: f"x_{key}"), JSON, max_size=2)
TIME = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC).isoformat()
)


@st.composite
def gestures(draw: st.DrawFn) -> Gesture:
    kind = draw(st.sampled_from(["point", "box", "brush", "erase", "everything", "detector"]))
    fields: dict[str, Any] = {}
    if kind == "point":
        fields = {"x": draw(NUMBER), "y": draw(NUMBER), "label": draw(st.integers(0, 1))}
    elif kind == "box":
        (x0, x1), (y0, y1) = sorted(draw(st.tuples(NUMBER, NUMBER))), sorted(draw(st.tuples(NUMBER, NUMBER)))
        fields = {"xyxy": (x0, y0, x1, y1)}
    elif kind in ("brush", "erase"):
        path = tuple(draw(st.lists(st.tuples(NUMBER, NUMBER), max_size=3)))
        fields = {"radius": draw(POSITIVE), "path": path}
    elif kind == "detector":
        fields = {"score": draw(st.floats(0, 1))}
    return Gesture(kind=kind, at=draw(TIME), extra=draw(EXTRA), **fields)


@st.composite
def annotations(draw: st.DrawFn, number: int) -> Annotation:
    return Annotation(
        mask=MaskRecord.from_mask(
            draw(arrays(bool, SIZE)),
            id=number,
            label=draw(st.none() | st.text(max_size=5)),
            source=draw(st.sampled_from([None, "manual", "model", "automatic", "imported"])),
            extra=draw(EXTRA),
        ),
        interaction=Interaction(
            prompts=tuple(draw(st.lists(gestures(), max_size=3))),
            created=draw(TIME),
            modified=draw(TIME),
            active_seconds=draw(st.floats(0, 1e6)),
            chosen=draw(st.none() | st.integers(0, 3)),
            model=draw(st.none() | st.text(max_size=5)),
            extra=draw(EXTRA),
        ),
        view=draw(st.none() | st.builds(View, colour=st.just("#0a0B0c"), hidden=st.booleans(), extra=EXTRA)),
    )


@st.composite
def documents(draw: st.DrawFn) -> AnnotationDocument:
    numbers = draw(st.lists(st.integers(0, 2**53 - 1), max_size=3, unique=True))
    return AnnotationDocument(
        image_id=draw(st.integers(0, 2**53 - 1)),
        height=SIZE[0],
        width=SIZE[1],
        file_name=draw(st.text(max_size=6)),
        sha256=draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
        created=draw(TIME),
        modified=draw(TIME),
        active_seconds=draw(st.floats(0, 1e6)),
        annotations=tuple(draw(annotations(number)) for number in numbers),
        image_extra=draw(EXTRA),
        extra=draw(EXTRA),
    )


@settings(max_examples=40)
@given(documents())
def test_documents_survive_json(document: AnnotationDocument) -> None:
    spelled = json.loads(json.dumps(document.to_json(), allow_nan=False))
    assert spelled["format"] == FORMAT
    again = AnnotationDocument.from_json(spelled)
    assert again == document
    assert again.to_json() == document.to_json()


@settings(max_examples=40)
@given(documents())
def test_an_sa1b_reader_finds_every_mask(document: AnnotationDocument) -> None:
    record = from_sa1b(document.to_json())
    assert [mask.segmentation for mask in record.annotations] == [
        mask.segmentation for mask in document.to_record().annotations
    ]
    assert [mask.id for mask in record.annotations] == [one.mask.id for one in document.annotations]
