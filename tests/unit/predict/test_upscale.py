"""The two thin matrices are torch's two-step interpolation; windows hold all there is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from segany.geometry.frames import Frame
from segany.predict.upscale import Upscaler

SIZES = {
    "as the canvas": (128, 128),
    "non-square, up": (300, 451),
    "non-square, down": (60, 37),
    "tall": (700, 120),
    "one row": (1, 260),
    "one column": (260, 1),
    "one row after scaling": (3, 2000),
    "one column after scaling": (2000, 3),
    "one pixel": (1, 1),
    "odd": (97, 131),
}


def two_steps(low_res: Tensor, frame: Frame) -> Tensor:
    """Canvas, cut, original, with torch's own bilinear interpolation in double precision."""
    square = (frame.canvas, frame.canvas)
    on_canvas = functional.interpolate(low_res.double()[None, None], square, mode="bilinear", align_corners=False)
    cut = on_canvas[..., : frame.resized_hw[0], : frame.resized_hw[1]]
    return functional.interpolate(cut, frame.original_hw, mode="bilinear", align_corners=False)[0, 0]


def random_logits(side: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(side, side, generator=torch.Generator().manual_seed(seed)) * 10


@pytest.mark.parametrize("name", SIZES)
def test_equals_two_interpolations(name: str) -> None:
    frame = Frame.of(SIZES[name], 128, 32)
    low_res = random_logits()
    expected = two_steps(low_res, frame)
    got = Upscaler(frame).logits(low_res)
    assert got.dtype == torch.float32 and got.shape == SIZES[name]
    assert float((got - expected).abs().max()) <= 1e-5 * float(low_res.abs().max())


def test_canvas_need_not_be_four_low_res() -> None:
    for canvas, side in ((1024, 256), (512, 128), (96, 24), (128, 64)):
        frame = Frame.of((77, 190), canvas, side)
        low_res = random_logits(side)
        error = (Upscaler(frame).logits(low_res) - two_steps(low_res, frame)).abs().max()
        assert float(error) <= 1e-5 * float(low_res.abs().max())


def test_batches_of_any_depth() -> None:
    upscaler = Upscaler(Frame.of((60, 90), 128, 32))
    stack = torch.stack([random_logits(seed=seed) for seed in range(6)]).reshape(2, 3, 32, 32)
    got = upscaler.logits(stack)
    assert got.shape == (2, 3, 60, 90)
    torch.testing.assert_close(got[1, 2], upscaler.logits(stack[1, 2]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SIZES)
def test_windows_are_exact(name: str) -> None:
    """Nothing above the cut lies outside the window, and inside it the values are those of the whole."""
    frame = Frame.of(SIZES[name], 128, 32)
    upscaler = Upscaler(frame)
    rng = np.random.default_rng(1)
    for above in (-1.0, 0.0, 1.0):
        for _ in range(5):
            low_res = torch.full((32, 32), -20.0)
            y, x = rng.integers(0, 30, 2)
            low_res[y : y + int(rng.integers(1, 9)), x : x + int(rng.integers(1, 9))] = 15.0
            whole = upscaler.logits(low_res)
            y0, y1, x0, x1 = window = upscaler.window(low_res, above)
            outside = (whole > above).clone()
            outside[y0:y1, x0:x1] = False
            assert not outside.any()
            torch.testing.assert_close(upscaler.logits(low_res, window), whole[y0:y1, x0:x1], rtol=0, atol=1e-4)
            assert np.array_equal(upscaler.mask(low_res, above), (whole > above).numpy())


def test_a_window_is_tight_enough_to_pay() -> None:
    low_res = torch.full((32, 32), -20.0)
    low_res[10:12, 20:22] = 15.0
    y0, y1, x0, x1 = Upscaler(Frame.of((1280, 1280), 128, 32)).window(low_res, 0.0)
    assert (y1 - y0) * (x1 - x0) < (6 * 40) ** 2


def test_nothing_above_the_cut_is_an_empty_window() -> None:
    upscaler = Upscaler(Frame.of((60, 90), 128, 32))
    nothing = torch.full((32, 32), -1.0)
    assert upscaler.window(nothing, 0.0) == (0, 0, 0, 0)
    assert not upscaler.mask(nothing, 0.0).any() and upscaler.mask(nothing, 0.0).shape == (60, 90)
    below = nothing.clone()
    below[25:] = 30.0
    assert not upscaler.mask(below, 0.0).any(), "the padding below the photo is cut off"
    assert upscaler.window(torch.zeros(32, 32), 0.0) == (0, 0, 0, 0), "strictly above"
