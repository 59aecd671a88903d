"""Whatever the masks, a simulated click lands where it says it does."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from segany.prompts.clicks import depth_map, first_click_center, next_click

Mask = NDArray[np.bool_]

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24))
pairs = hnp.array_shapes(min_dims=2, max_dims=2, max_side=24).flatmap(
    lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.bool_, shape))
)


def distance_to_outside(region: Mask) -> NDArray[np.float64]:
    """The definition, spelt out: for each pixel the nearest outside one, the image's frame included."""
    padded = np.pad(region, 1)
    outside = np.argwhere(~padded) - 1
    rows, columns = np.indices(region.shape)
    gaps = (rows[..., None] - outside[:, 0]) ** 2 + (columns[..., None] - outside[:, 1]) ** 2
    return np.asarray(np.where(region, np.sqrt(gaps.min(axis=-1)), 0.0))


@given(masks)
def test_depth_is_the_distance_to_the_nearest_pixel_outside(mask: Mask) -> None:
    np.testing.assert_allclose(depth_map(mask), distance_to_outside(mask), atol=1e-4)


@given(masks)
def test_the_first_click_is_on_the_mask_and_nowhere_is_deeper(mask: Mask) -> None:
    assume(mask.any())
    x, y = first_click_center(mask)
    depth = distance_to_outside(mask)
    assert mask[y, x]
    assert depth[y, x] >= depth.max() - 1e-4


@given(pairs)
def test_the_next_click_is_on_the_error_it_names(pair: tuple[Mask, Mask]) -> None:
    pred, gt = pair
    assume((pred != gt).any())
    (x, y), label = next_click(pred, gt)
    assert pred[y, x] != gt[y, x]
    assert label == int(gt[y, x])
    missing, extra = distance_to_outside(gt & ~pred), distance_to_outside(pred & ~gt)
    assert max(missing[y, x], extra[y, x]) >= max(missing.max(), extra.max()) - 1e-4


@given(masks)
def test_nothing_wrong_is_confirmed_at_the_centre(mask: Mask) -> None:
    assume(mask.any())
    assert next_click(mask, mask) == (first_click_center(mask), 1)


@given(masks, st.integers(0, 5), st.integers(0, 5))
def test_a_shifted_mask_shifts_the_click(mask: Mask, left: int, top: int) -> None:
    assume(mask.any())
    x, y = first_click_center(mask)
    assert first_click_center(np.pad(mask, ((top, 0), (left, 0)))) == (x + left, y + top)
