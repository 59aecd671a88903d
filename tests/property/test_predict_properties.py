"""What must hold for every photo size and every logits: upscaling and its windows."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from segany.geometry.frames import Frame
from segany.predict.upscale import Upscaler

SIDE = 16
sizes = st.tuples(st.integers(1, 150), st.integers(1, 150))


def drawn(seed: int, sparse: bool) -> torch.Tensor:
    low_res = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 10
    return torch.where(low_res > 12, low_res, -20.0) if sparse else low_res


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(0, 10_000), st.booleans(), st.floats(-3, 3))
def test_upscaling_is_two_interpolations_and_windows_lose_nothing(
    size_hw: tuple[int, int], seed: int, sparse: bool, above: float
) -> None:
    frame, low_res = Frame.of(size_hw, 64, SIDE), drawn(seed, sparse)
    upscaler = Upscaler(frame)
    whole = upscaler.logits(low_res)
    on_canvas = functional.interpolate(low_res.double()[None, None], (64, 64), mode="bilinear", align_corners=False)
    cut = on_canvas[..., : frame.resized_hw[0], : frame.resized_hw[1]]
    expected = functional.interpolate(cut, size_hw, mode="bilinear", align_corners=False)[0, 0]
    assert float((whole - expected).abs().max()) <= 1e-5 * float(low_res.abs().max())
    y0, y1, x0, x1 = window = upscaler.window(low_res, above)
    beyond = whole > above + 1e-4
    beyond[y0:y1, x0:x1] = False
    assert not beyond.any()
    torch.testing.assert_close(upscaler.logits(low_res, window), whole[y0:y1, x0:x1], rtol=0, atol=1e-4)
    if y1 > y0 and x1 > x0:
        columns = np.concatenate([block for _, block in upscaler.columns_of(low_res, window)])
        rows = np.concatenate([block for _, block in upscaler.rows_of(low_res, window)])
        np.testing.assert_allclose(columns.T, whole[y0:y1, x0:x1], rtol=0, atol=1e-4)
        np.testing.assert_allclose(rows, whole[y0:y1, x0:x1], rtol=0, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(0, 10_000))
def test_masks_never_overshoot(size_hw: tuple[int, int], seed: int) -> None:
    """Bilinear mixing stays between the smallest and the largest logit; raising logits never removes a pixel."""
    upscaler, low_res = Upscaler(Frame.of(size_hw, 64, SIDE)), drawn(seed, sparse=False)
    whole = upscaler.logits(low_res)
    assert float(low_res.min()) - 1e-4 <= float(whole.min()) and float(whole.max()) <= float(low_res.max()) + 1e-4
    mask, raised = upscaler.mask(low_res, 0.0), upscaler.mask(low_res + 1, 0.0)
    assert np.all(raised | ~mask)
