"""Work on runs is work on the bitmap: the same texts, boxes, holes and islands."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segany.masks.boxes import masks_to_boxes
from segany.masks.components import fill_small_holes, largest_component_area, remove_small_islands
from segany.masks.rle import encode
from segany.masks.run_components import fill_small_run_holes, largest_run_component_area, remove_small_run_islands
from segany.masks.runs import Runs, runs_of_columns

Mask = NDArray[np.bool_]


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    filled = draw(st.sampled_from([0.0, 0.15, 0.35, 0.5, 0.65, 0.85, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    return rng.random((height, width)) < filled


@settings(max_examples=200)
@given(masks())
def test_runs_are_the_mask(mask: Mask) -> None:
    runs = Runs.of_mask(mask)
    assert runs.rle() == encode(mask), "the text pycocotools gives"
    assert np.array_equal(runs.mask(), mask)
    assert runs.area == mask.sum()
    assert runs.inclusive_box() == tuple(masks_to_boxes(mask[None])[0].tolist())
    assert np.array_equal(runs.complement().mask(), ~mask)
    again = Runs.of_rle(encode(mask))
    assert np.array_equal(again.starts, runs.starts) and np.array_equal(again.ends, runs.ends)


@settings(max_examples=200)
@given(masks(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(1, 5))
def test_a_window_in_its_place(mask: Mask, above: int, below: int, left: int, right: int, columns: int) -> None:
    """A window cut into blocks of columns, set into a larger photo, is the bitmap set into it."""
    whole = np.pad(mask, ((above, below), (left, right)))
    size = (whole.shape[0], whole.shape[1])
    blocks = [(left + x, mask[:, x : x + columns].T) for x in range(0, mask.shape[1], columns)]
    assert runs_of_columns(blocks, above, size).rle() == encode(whole)
    assert Runs.of_mask(mask).placed((above, left), size).rle() == encode(whole)


@settings(max_examples=300)
@given(masks(), st.integers(0, 14))
def test_holes_and_islands_are_those_of_the_bitmap(mask: Mask, area: int) -> None:
    runs = Runs.of_mask(mask)
    filled, some = fill_small_run_holes(runs, area)
    expected, expected_some = fill_small_holes(mask, area)
    assert some == expected_some and np.array_equal(filled.mask(), expected)
    cleared, some = remove_small_run_islands(runs, area)
    expected, expected_some = remove_small_islands(mask, area)
    assert some == expected_some and np.array_equal(cleared.mask(), expected)
    assert largest_run_component_area(runs) == largest_component_area(mask)
