"""Run-length encoding: known answers and hostile input."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from segany.core.errors import DataError
from segany.masks import rle


def test_known_answer_runs_down_the_columns() -> None:
    mask = np.array([[0, 1], [1, 1]], bool)
    assert rle.to_uncompressed(rle.encode(mask)) == {"size": [2, 2], "counts": [1, 3]}
    assert rle.encode(mask) == {"size": [2, 2], "counts": "13"}


def test_foreground_first_starts_with_a_zero_run() -> None:
    assert rle.to_uncompressed(rle.encode(np.ones((2, 3), bool)))["counts"] == [0, 6]


def test_encoding_is_ready_for_json() -> None:
    encoded = rle.encode(np.eye(5, dtype=np.uint8))
    assert json.loads(json.dumps(encoded)) == encoded


def test_many_equal_one_by_one_in_any_memory_order() -> None:
    masks = np.random.default_rng(0).random((4, 7, 5)) > 0.5
    expected = [rle.encode(mask) for mask in masks]
    assert rle.encode_many(masks) == expected
    assert rle.encode_many(np.asfortranarray(masks)) == expected
    assert rle.encode_many(masks[::-1]) == expected[::-1]
    assert rle.encode_many(masks[:0]) == []


def test_long_runs_and_negative_differences_are_read() -> None:
    mask = np.zeros((3000, 2000), bool)
    mask[10, 0] = mask[:, 700:1500] = mask[2500, 1900] = True
    counts = rle.to_uncompressed(rle.encode(mask))["counts"]
    assert counts == [
        10,
        1,
        700 * 3000 - 11,
        800 * 3000,
        400 * 3000 + 2500,
        1,
        3000 * 2000 - 1900 * 3000 - 2501,
    ]


def test_area_and_extent_without_decoding() -> None:
    mask = np.zeros((9, 11), bool)
    mask[2:5, 3:9] = True
    encoded = rle.encode(mask)
    assert rle.rle_area(encoded) == 18
    assert rle.rle_exact_box_xywh(encoded) == (3, 2, 6, 3)
    assert rle.rle_exact_box_xywh(rle.encode(np.zeros((4, 4), bool))) == (0, 0, 0, 0)


def test_bytes_counts_are_accepted() -> None:
    assert rle.decode({"size": [2, 2], "counts": b"13"}).tolist() == [[False, True], [True, True]]


def test_overlap_of_run_lengths() -> None:
    a, b, empty = np.zeros((3, 4, 4), bool)
    a[:2], b[1:3] = True, True
    encoded = [rle.encode(mask) for mask in (a, b, empty)]
    assert np.allclose(rle.rle_iou(encoded, encoded), [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]])
    assert rle.rle_iou([], encoded).shape == (0, 3)
    with pytest.raises(DataError, match="one size"):
        rle.rle_iou(encoded, [rle.encode(np.ones((5, 4), bool))])


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"size": [2, 2]},
        {"size": [2], "counts": "13"},
        {"size": [2, 0], "counts": []},
        {"size": [2.0, 2.0], "counts": "13"},
        {"size": [2, -2], "counts": [4]},
        {"size": [1 << 20, 1 << 20], "counts": [1 << 40]},
        {"size": [2, 2], "counts": ""},
        {"size": [2, 2], "counts": "1"},
        {"size": [2, 3], "counts": "13"},
        {"size": [2, 2], "counts": "1\x7f"},
        {"size": [2, 2], "counts": "1é"},
        {"size": [2, 2], "counts": "1 3"},
        {"size": [2, 2], "counts": "13P"},
        {"size": [2, 2], "counts": "oooooooooooooo0"},
        {"size": [2, 2], "counts": [1, 2]},
        {"size": [2, 2], "counts": [5, -1]},
        {"size": [2, 2], "counts": [1.0, 3.0]},
        {"size": [2, 2], "counts": [[1], [3]]},
        {"size": [2, 2], "counts": [[1], 3]},
        {"size": [2, 2], "counts": None},
        {"size": [2, 2], "counts": []},
    ],
)
def test_malformed_is_an_error_in_every_reader(value: Any) -> None:
    for read in (
        rle.decode,
        rle.to_uncompressed,
        rle.from_uncompressed,
        rle.rle_area,
        rle.rle_exact_box_xywh,
    ):
        with pytest.raises(DataError):
            read(value)


@pytest.mark.parametrize("mask", [np.zeros((2, 2, 2), bool), np.zeros((0, 3), bool), np.zeros((2, 2)), 1, "mask"])
def test_only_masks_are_encoded(mask: Any) -> None:
    with pytest.raises(DataError):
        rle.encode(mask)
