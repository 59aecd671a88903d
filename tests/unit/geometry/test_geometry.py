from __future__ import annotations

import numpy as np
import pytest
import torch

from segany.core.errors import OptionError
from segany.geometry.boxes import box_iou_xyxy, clip_xyxy, near_crop_edge, xywh_to_xyxy, xyxy_to_xywh
from segany.geometry.crops import crop_boxes
from segany.geometry.frames import Frame, longest_side_size
from segany.geometry.grids import layered_grids, point_grid


@pytest.mark.parametrize(
    ("size", "canvas", "expected"),
    [
        ((1200, 1800), 1024, (683, 1024)),
        ((1, 4000), 512, (1, 512)),
        ((481, 321), 512, (512, 342)),
        ((512, 512), 512, (512, 512)),
        ((3, 2), 1024, (1024, 683)),
    ],
)
def test_longest_side(size: tuple[int, int], canvas: int, expected: tuple[int, int]) -> None:
    assert longest_side_size(size, canvas) == expected


def test_frame_scales_each_axis_by_its_own_rounding() -> None:
    frame = Frame.of((481, 321), 512, 128)
    assert frame.scale_xy == (342 / 321, 512 / 481)
    assert np.allclose(frame.to_canvas(np.array([[321, 481]])), [[342, 512]])
    assert frame.low_res_cut == (128, 86)


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (0, 0), (-1, 5)])
def test_sizes_without_pixels_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(OptionError, match=r"at least one pixel; got \(.*not empty"):
        Frame.of(size, 1024, 256)


def test_coordinates_in_half_precision_are_widened() -> None:
    frame = Frame.of((3000, 4001), 1024, 256)
    for dtype in (torch.float16, torch.bfloat16, torch.int64, torch.uint8):
        assert frame.to_canvas(torch.tensor([[8, 4]], dtype=dtype)).dtype is torch.float32
    for kind in (np.float16, np.int64, np.uint8):
        assert frame.to_canvas(np.array([[8, 4]], dtype=kind)).dtype == np.float64


def test_batches_of_points_and_boxes_keep_their_shape() -> None:
    frame = Frame.of((100, 50), 64, 16)
    assert frame.to_canvas(np.zeros((5, 3, 2))).shape == (5, 3, 2)
    assert frame.to_canvas(np.zeros((0, 2))).shape == (0, 2)
    assert frame.boxes_to_canvas(torch.zeros(7, 4)).shape == (7, 4)
    assert frame.boxes_to_canvas(np.array([50, 100, 50, 100])).tolist() == [32, 64, 32, 64]


@pytest.mark.parametrize("size", [(1200, 1800), (1, 4000), (4000, 1), (481, 321), (97, 100), (512, 512)])
def test_upscaling_reads_no_logits_beyond_the_reach(size: tuple[int, int]) -> None:
    frame = Frame.of(size, 512, 128)
    logits = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    height, width = frame.resized_hw

    def on_canvas(part: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(part, scale_factor=4, mode="bilinear", align_corners=False)

    rows, columns = frame.low_res_reach
    whole = on_canvas(logits)[..., :height, :width]
    torch.testing.assert_close(on_canvas(logits[..., :rows, :columns])[..., :height, :width], whole)
    cut_rows, cut_columns = frame.low_res_cut
    assert (cut_rows - 1) * 4 < height <= cut_rows * 4
    assert (cut_columns - 1) * 4 < width <= cut_columns * 4


def test_frame_gives_back_the_kind_it_got() -> None:
    frame = Frame.of((100, 50), 64, 16)
    assert isinstance(frame.to_canvas(torch.tensor([[1, 2]])), torch.Tensor)
    assert frame.to_canvas(torch.tensor([[1.0, 2.0]], dtype=torch.float64)).dtype is torch.float64
    assert isinstance(frame.boxes_to_canvas([[0, 0, 1, 1]]), np.ndarray)
    assert frame.to_canvas(np.zeros((2, 2), np.float32)).dtype == np.float32


def test_crop_oracles() -> None:
    boxes, layers = crop_boxes((1500, 2250), 2, 512 / 1500)
    assert boxes[:5] == [
        (0, 0, 2250, 1500), (0, 0, 1381, 1006), (0, 494, 1381, 1500), (869, 0, 2250, 1006), (869, 494, 2250, 1500)
    ]  # fmt: skip
    assert boxes[-1] == (1497, 933, 2250, 1500)
    assert layers == [0] + [1] * 4 + [2] * 16
    boxes, _ = crop_boxes((480, 640), 2, 512 / 1500)
    assert boxes[4] == (239, 159, 640, 480)
    assert boxes[-1] == (420, 300, 640, 480)


def test_crops_of_tiny_images_hold_pixels() -> None:
    for size in ((1, 1), (1, 9), (3, 2)):
        boxes, layers = crop_boxes(size, 3, 512 / 1500)
        assert len(boxes) == len(layers)
        assert all(x0 < x1 <= size[1] and y0 < y1 <= size[0] for x0, y0, x1, y1 in boxes)


@pytest.mark.parametrize(("layers", "ratio"), [(-1, 0.3), (1, 1.0), (1, -0.1), (1, float("nan"))])
def test_impossible_crops_are_refused(layers: int, ratio: float) -> None:
    with pytest.raises(OptionError, match=r"must be .*; got .*\."):
        crop_boxes((100, 100), layers, ratio)


def test_impossible_grids_are_refused() -> None:
    with pytest.raises(OptionError, match="points per side must be 1 or more; got 0"):
        point_grid(0)
    with pytest.raises(OptionError, match="factor must be 1 or more; got 0"):
        layered_grids(32, 1, 0)
    with pytest.raises(OptionError, match="leave 0 in layer 3"):
        layered_grids(4, 3, 2)


def test_grid_runs_along_x_first() -> None:
    assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert [len(grid) for grid in layered_grids(32, 2, 2)] == [1024, 256, 64]


def test_box_layouts_and_overlap() -> None:
    boxes = np.array([[10, 20, 30, 60]])
    assert xyxy_to_xywh(boxes).tolist() == [[10, 20, 20, 40]]
    assert xywh_to_xyxy(xyxy_to_xywh(boxes)).tolist() == boxes.tolist()
    assert boxes.tolist() == [[10, 20, 30, 60]]
    assert box_iou_xyxy([[0, 0, 10, 10]], [[5, 0, 15, 10], [0, 0, 10, 10], [20, 20, 30, 30]]).tolist() == [
        [pytest.approx(1 / 3), 1.0, 0.0]
    ]
    assert box_iou_xyxy([[5, 5, 5, 9]], [[5, 5, 5, 9]]).tolist() == [[0.0]]
    assert clip_xyxy([[-5, 2, 400, 90]], (50, 100)).tolist() == [[0, 2, 100, 50]]


def test_boxes_at_a_crop_edge_inside_the_image() -> None:
    crop, image = (100, 0, 300, 200), (0, 0, 1000, 200)
    boxes = [[0, 50, 50, 90], [30, 50, 100, 90], [50, 0, 100, 90], [120, 50, 185, 90], [21, 50, 179, 90]]
    assert near_crop_edge(boxes, crop, image).tolist() == [True, False, False, True, False]
    assert near_crop_edge(np.zeros((0, 4)), crop, image).tolist() == []
