from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segany.geometry.crops import crop_boxes
from segany.geometry.frames import Frame
from segany.geometry.grids import point_grid

sizes = st.tuples(st.integers(1, 5000), st.integers(1, 5000))


@given(sizes, st.sampled_from([64, 512, 1024]), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_points_come_back_from_the_canvas(size: tuple[int, int], canvas: int, unit: list[tuple[float, float]]) -> None:
    frame = Frame.of(size, canvas, canvas // 4)
    points = np.array(unit) * [size[1], size[0]]
    on_canvas = frame.to_canvas(points)
    assert (on_canvas >= 0).all() and (on_canvas <= canvas + 1e-6).all()
    assert np.allclose(frame.to_original(on_canvas), points, rtol=1e-9, atol=1e-6)
    boxes = np.concatenate([points, points], axis=1)
    assert np.allclose(frame.boxes_to_original(frame.boxes_to_canvas(boxes)), boxes, rtol=1e-9, atol=1e-6)


@given(sizes, st.integers(64, 2048))
def test_the_longest_side_fills_the_canvas(size: tuple[int, int], canvas: int) -> None:
    frame = Frame.of(size, canvas, canvas // 4)
    assert max(frame.resized_hw) == canvas
    assert min(frame.resized_hw) >= 1
    assert max(frame.low_res_cut) <= frame.low_res


@given(sizes, st.integers(0, 3), st.floats(0, 0.99))
def test_crops_of_a_layer_cover_the_image(size: tuple[int, int], layers: int, overlap: float) -> None:
    boxes, of_layer = crop_boxes(size, layers, overlap)
    if min(size) >= 64:
        assert len(boxes) == sum(4**layer for layer in range(layers + 1))
    for layer in range(layers + 1):
        mine = [box for box, other in zip(boxes, of_layer, strict=True) if other == layer]
        for axis, side in ((0, size[1]), (1, size[0])):
            spans = sorted({(box[axis], box[axis + 2]) for box in mine})
            assert spans[0][0] == 0 and max(end for _, end in spans) == side
            assert all(start < end for start, end in spans)
            assert all(b[0] <= a[1] for a, b in itertools.pairwise(spans))


@given(st.integers(1, 64))
def test_grids_are_symmetric(n: int) -> None:
    grid = point_grid(n)
    assert len(grid) == n * n
    assert np.allclose(grid + grid[::-1], 1)
    assert np.allclose(grid[:n, 0], np.linspace(1 / (2 * n), 1 - 1 / (2 * n), n))
