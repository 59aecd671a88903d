"""Mask and image records: what they accept, refuse, and write."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from segany.core.errors import DataError
from segany.masks.rle import encode
from segany.records.record import REFERENCE_KEYS, ImageRecord, MaskRecord, inclusive_bbox


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((6, 9), bool)
    mask[2:4, 3:8] = True
    return mask


def good(**changes: Any) -> dict[str, Any]:
    mask = np.zeros((6, 9), bool)
    mask[2:4, 3:8] = True
    return {
        "segmentation": encode(mask),
        "area": 10,
        "bbox": [3, 2, 4, 1],
        "predicted_iou": 1.04,
        "point_coords": [[4.5, 2.5]],
        "stability_score": 0.97,
        "crop_box": [0, 0, 9, 6],
        **changes,
    }


def test_exactly_the_references_keys_in_its_order(mask: np.ndarray) -> None:
    assert tuple(MaskRecord.from_mask(mask).to_dict()) == REFERENCE_KEYS
    assert MaskRecord.from_dict(good()).to_dict() == good()


def test_bbox_is_inclusive_and_exact_bbox_is_not(mask: np.ndarray) -> None:
    record = MaskRecord.from_mask(mask)
    assert record.bbox == (3, 2, 4, 1) == inclusive_bbox(mask)
    assert record.exact_bbox == (3, 2, 5, 2)
    assert record.area == 10
    assert record.crop_box == (0, 0, 9, 6)
    assert record.size_hw == (6, 9)
    assert (record.mask == mask).all()


def test_an_empty_mask_is_a_record() -> None:
    record = MaskRecord.from_mask(np.zeros((4, 4), bool))
    assert (record.area, record.bbox, record.exact_bbox) == (0, (0, 0, 0, 0), (0, 0, 0, 0))


@pytest.mark.parametrize("mode", ["coco_rle", "uncompressed_rle", "binary_mask"])
def test_each_mode_reads_back(mode: Any, mask: np.ndarray) -> None:
    record = MaskRecord.from_mask(mask, predicted_iou=0.9, label="cat", output_index=2)
    assert MaskRecord.from_dict(record.to_dict(mode)) == record


def test_modes_spell_the_mask(mask: np.ndarray) -> None:
    record = MaskRecord.from_mask(mask)
    assert isinstance(record.to_dict("coco_rle")["segmentation"]["counts"], str)
    assert record.to_dict("uncompressed_rle")["segmentation"]["counts"][:3] == [20, 2, 4]
    assert (record.to_dict("binary_mask")["segmentation"] == mask).all()
    with pytest.raises(DataError, match="binary_mask"):
        record.to_dict("mask")  # type: ignore[arg-type]


def test_optional_keys_appear_only_when_set(mask: np.ndarray) -> None:
    optional = {
        "id": 7,
        "output_index": 3,
        "label": "dog",
        "text_score": 0.25,
        "source": "person",
        "attributes": {"truncated": True},
    }
    written = MaskRecord.from_mask(mask, **optional).to_dict()
    assert {key: written[key] for key in optional} == optional
    assert list(written)[7:] == list(optional)


def test_unknown_keys_are_kept_and_written_back() -> None:
    value = good(license=3, note={"by": "someone"})
    record = MaskRecord.from_dict(value)
    assert record.extra == {"license": 3, "note": {"by": "someone"}}
    assert record.to_dict() == value


def test_numpy_values_become_plain(mask: np.ndarray) -> None:
    value = good(
        area=np.int64(10),
        bbox=np.array([3, 2, 4, 1]),
        predicted_iou=np.float32(0.5),
        point_coords=np.array([[4, 2]]),
    )
    written = MaskRecord.from_dict(value).to_dict()
    assert type(written["area"]) is int
    assert [type(side) for side in written["bbox"]] == [int] * 4
    assert type(written["predicted_iou"]) is float
    assert type(written["point_coords"][0][0]) is int


def test_records_do_not_change() -> None:
    record = MaskRecord.from_dict(good())
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.area = 3  # type: ignore[misc]
    written = record.to_dict()
    written["segmentation"]["size"][0] = 99
    assert record.size_hw == (6, 9)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"segmentation": {"size": [6, 9], "counts": "x"}}, "RLE"),
        ({"segmentation": "mask"}, "mask"),
        ({"area": 11}, "10 pixels"),
        ({"area": "10"}, "area"),
        ({"area": True}, "area"),
        ({"bbox": [3, 2, 4]}, "bbox"),
        ({"bbox": [3, 2, 8, 4]}, "inside"),
        ({"bbox": [-1, 2, 4, 1]}, "inside"),
        ({"bbox": [3, 2, float("nan"), 1]}, "finite"),
        ({"bbox": "3241"}, "bbox"),
        ({"predicted_iou": float("inf")}, "finite"),
        ({"predicted_iou": None}, "predicted_iou"),
        ({"point_coords": [1, 2]}, "point_coords"),
        ({"point_coords": None}, "point_coords"),
        ({"stability_score": 1.5}, "stability_score"),
        ({"crop_box": [0, 0, 9]}, "crop_box"),
        ({"id": -1}, "id"),
        ({"id": 2**53}, "id"),
        ({"output_index": 1.5}, "output_index"),
        ({"label": 3}, "label"),
        ({"source": ["x"]}, "source"),
        ({"attributes": [1]}, "attributes"),
        ({"text_score": "high"}, "text_score"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        MaskRecord.from_dict(good(**changes))


@pytest.mark.parametrize("key", REFERENCE_KEYS)
def test_a_missing_key_is_named(key: str) -> None:
    value = good()
    del value[key]
    with pytest.raises(DataError, match=f"missing: {key}"):
        MaskRecord.from_dict(value)


def test_known_keys_do_not_hide_in_extra(mask: np.ndarray) -> None:
    with pytest.raises(DataError, match="area"):
        MaskRecord.from_mask(mask, extra={"area": 3})
    with pytest.raises(DataError, match="width"):
        ImageRecord(image_id=1, width=2, height=2, file_name="a.png", extra={"width": 3})


def test_masks_of_another_size_do_not_belong_to_an_image(mask: np.ndarray) -> None:
    record = MaskRecord.from_mask(mask)
    image = ImageRecord(image_id=1, width=9, height=6, file_name="a.png", annotations=[record])  # type: ignore[arg-type]
    assert image.annotations == (record,)
    with pytest.raises(DataError, match=r"a\.png"):
        ImageRecord(image_id=1, width=6, height=9, file_name="a.png", annotations=(record,))


@pytest.mark.parametrize(
    "changes", [{"image_id": -1}, {"image_id": 2**53}, {"image_id": "1"}, {"width": 0}, {"file_name": None}]
)
def test_bad_images_are_errors(changes: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        ImageRecord(**{"image_id": 1, "width": 2, "height": 2, "file_name": "a.png", **changes})
