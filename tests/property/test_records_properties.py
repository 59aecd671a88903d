"""What must hold for every record."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segany.records.coco import from_coco, to_coco
from segany.records.record import ImageRecord, MaskRecord
from segany.records.sa1b import from_sa1b, to_sa1b

NUMBER = st.integers(-1000, 1000) | st.floats(allow_nan=False, allow_infinity=False, width=32)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
EXTRA = st.dictionaries(st.text(max_size=6).map(lambda key: f"x_{key}"), JSON, max_size=3)
SIZE = (5, 7)


@st.composite
def mask_records(draw: st.DrawFn) -> MaskRecord:
    optional: dict[str, Any] = {
        "output_index": draw(st.none() | st.integers(0, 3)),
        "label": draw(st.none() | st.text(min_size=1, max_size=6)),
        "text_score": draw(st.none() | st.floats(-1, 1)),
        "source": draw(st.none() | st.text(max_size=6)),
        "attributes": draw(st.none() | EXTRA),
    }
    return MaskRecord.from_mask(
        draw(arrays(bool, SIZE)),
        predicted_iou=draw(st.floats(-0.5, 1.5)),
        stability_score=draw(st.floats(0, 1)),
        point_coords=draw(st.lists(st.tuples(NUMBER, NUMBER), max_size=3)),
        crop_box=draw(st.none() | st.tuples(NUMBER, NUMBER, NUMBER, NUMBER)),
        extra=draw(EXTRA),
        **optional,
    )


@st.composite
def image_records(draw: st.DrawFn) -> ImageRecord:
    return ImageRecord(
        image_id=draw(st.integers(0, 2**53 - 1)),
        height=SIZE[0],
        width=SIZE[1],
        file_name=draw(st.text(max_size=8)),
        annotations=tuple(draw(st.lists(mask_records(), max_size=3))),
        extra=draw(EXTRA),
        file_extra=draw(EXTRA),
    )


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


@given(mask_records())
def test_mask_records_survive_json(record: MaskRecord) -> None:
    assert MaskRecord.from_dict(through_json(record.to_dict())) == record
    assert MaskRecord.from_dict(through_json(record.to_dict("uncompressed_rle"))) == record
    assert MaskRecord.from_dict(record.to_dict("binary_mask")) == record


@given(image_records())
def test_image_records_survive_sa1b(record: ImageRecord) -> None:
    document = to_sa1b(record)
    again = from_sa1b(through_json(document))
    assert to_sa1b(again) == document
    assert again.extra == record.extra and again.file_extra == record.file_extra
    assert [mask.area for mask in again.annotations] == [mask.area for mask in record.annotations]


@given(image_records())
def test_masks_survive_coco(record: ImageRecord) -> None:
    (again,) = from_coco(through_json(to_coco([record])))
    assert (again.image_id, again.size_hw, again.file_name) == (
        record.image_id,
        record.size_hw,
        record.file_name,
    )
    assert again.extra == record.extra
    for after, before in zip(again.annotations, record.annotations, strict=True):
        assert {**after.to_dict(), "id": 0, "label": ""} == {**before.to_dict(), "id": 0, "label": ""}
        assert (after.label or "object") == (before.label or "object")
        assert np.array_equal(after.mask, before.mask)
