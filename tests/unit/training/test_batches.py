"""What steps hold: sizes, filters, shares, and independence of the number of processes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segany.core.errors import DataError, OptionError
from segany.data.photo_sets import MemoryPhoto, MemorySet
from segany.prompts.config import SimulationConfig
from segany.training.batches import PromptableSource, Stretch
from segany.training.config import BatchConfig
from segany.transforms.augment import random_window
from segany.transforms.config import AS_IS, LARGE_SCALE_JITTER

CANVAS = 64


def disc(radius: int, side: int = 80) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:side, :side]
    return np.asarray((columns - side // 2) ** 2 + (rows - side // 2) ** 2 <= radius**2)


def photos(name: str, level: int, count: int = 3, *, automatic: bool = False) -> MemorySet:
    rgb = np.full((80, 80, 3), level, np.uint8)
    masks = [disc(radius) for radius in (3, 8, 12, 20, 30)] + [np.ones((80, 80), bool)]
    return MemorySet(name=name, photos=[MemoryPhoto(rgb, masks)] * count, automatic=automatic)


def source(
    *sets: MemorySet, batch: BatchConfig | None = None, steps: int = 50, rank: int = 0, world: int = 1
) -> PromptableSource:
    config = batch or BatchConfig(images=4, masks_per_image=3, view=AS_IS)
    stretch = Stretch(steps, CANVAS, config, SimulationConfig())
    return PromptableSource(sets, [stretch], seed=5, pixel_mean=(0, 0, 0), pixel_std=(1, 1, 1), rank=rank, world=world)


def test_a_batch_is_what_was_asked_for() -> None:
    (batch,) = source(photos("grey", 100))(0)
    assert batch.pixels.shape == (4, 3, CANVAS, CANVAS)
    assert batch.masks.shape[1:] == (CANVAS // 4, CANVAS // 4)
    assert all(0 < count <= 3 for count in batch.counts)
    assert torch.bincount(batch.image_index).tolist() == list(batch.counts)
    assert float(batch.masks.min()) >= 0 and float(batch.masks.max()) <= 1
    assert bool((batch.masks > 0.5).flatten(1).any(dim=1).all())
    assert batch.weight == sum(batch.counts) and batch.images == 4


def test_masks_outside_the_limits_never_come() -> None:
    config = BatchConfig(images=4, masks_per_image=6, view=AS_IS, min_share=0.02, max_share=0.3)
    batches = [part for step in range(5) for part in source(photos("grey", 100), batch=config)(step)]
    shares = torch.cat([batch.masks.mean(dim=(1, 2)) for batch in batches])
    assert float(shares.min()) >= 0.02 and float(shares.max()) <= 0.3
    assert len(shares) == 5 * 4 * 3, "the radii 8, 12 and 20 pass, the others do not"


def test_no_usable_mask_is_an_error_with_advice() -> None:
    config = BatchConfig(images=1, min_share=0.95, max_share=0.96, view=AS_IS)
    with pytest.raises(DataError, match=r"grey.*min_share"):
        source(photos("grey", 100), batch=config)(0)


def test_processes_share_the_same_views() -> None:
    whole = source(photos("grey", 100))
    halves = [source(photos("grey", 100), rank=rank, world=2) for rank in range(2)]
    for step in (0, 7):
        (alone,) = whole(step)
        parts = [half(step)[0] for half in halves]
        assert alone.seeds == tuple(s for pair in zip(parts[0].seeds, parts[1].seeds, strict=True) for s in pair)
        assert torch.equal(alone.pixels[1::2], parts[1].pixels)
        assert torch.equal(alone.masks[alone.image_index % 2 == 0], parts[0].masks)


def test_a_step_depends_on_its_number_alone() -> None:
    first, second = source(photos("grey", 100)), source(photos("grey", 100))
    first(0), first(1)
    assert torch.equal(first(2)[0].masks, second(2)[0].masks)
    assert not torch.equal(first(3)[0].masks[:3], second(2)[0].masks[:3])


def test_uneven_shares_are_refused() -> None:
    with pytest.raises(OptionError, match="shared out evenly over 3"):
        source(photos("grey", 100), world=3)


def test_more_masks_than_a_device_takes_are_accumulated() -> None:
    config = BatchConfig(images=4, masks_per_image=3, masks_per_device=6, view=AS_IS)
    parts = source(photos("grey", 100), batch=config)(0)
    assert [part.images for part in parts] == [2, 2]
    (together,) = source(photos("grey", 100))(0)
    assert torch.equal(torch.cat([part.masks for part in parts]), together.masks)
    with pytest.raises(OptionError, match="masks_per_device"):
        BatchConfig(masks_per_image=65)


def test_weights_and_synthetic_share() -> None:
    config = BatchConfig(
        images=8, masks_per_image=1, view=AS_IS, weights={"dark": 3.0, "light": 1.0}, synthetic=0.25, max_share=0.9
    )
    made = source(photos("dark", 10), photos("light", 200), batch=config, steps=100)
    levels = [float(row[0, 0, 0]) for step in range(60) for part in made(step) for row in part.pixels]
    dark, light = (sum(level == value for level in levels) / len(levels) for value in (10, 200))
    assert abs(dark - 0.75 * 0.75) < 0.09
    assert abs(light - 0.75 * 0.25) < 0.07


def test_sets_without_weights_count_by_their_photos() -> None:
    config = BatchConfig(images=8, masks_per_image=1, view=AS_IS)
    made = source(photos("dark", 10, count=9), photos("light", 200, count=1), batch=config)
    levels = [float(row[0, 0, 0]) for step in range(30) for part in made(step) for row in part.pixels]
    assert abs(sum(level == 10 for level in levels) / len(levels) - 0.9) < 0.08


def test_jitter_is_for_masks_drawn_by_people() -> None:
    config = BatchConfig(images=4, masks_per_image=3)
    for automatic in (True, False):
        made = source(photos("grey", 100, automatic=automatic), batch=config)
        filled = [float((row[0] != 0).float().mean()) for step in range(4) for p in made(step) for row in p.pixels]
        assert (min(filled) == 1.0) == automatic


def test_large_scale_jitter_spans_its_range() -> None:
    rng = np.random.default_rng(0)
    windows = [random_window(rng, (300, 400), CANVAS, LARGE_SCALE_JITTER) for _ in range(2000)]
    scales = np.array([window.scale * 400 / CANVAS for window in windows])
    assert scales.min() < 0.15 and scales.max() > 1.95 and abs(scales.mean() - 1.05) < 0.05
    for window in windows:
        x0, y0, x1, y1 = window.crop_xyxy
        assert 0 <= x0 < x1 <= 400 and 0 <= y0 < y1 <= 300
        assert max(x1 - x0, y1 - y0) * window.scale <= CANVAS + window.scale
        if window.scale * 400 <= CANVAS:
            assert (x0, y0, x1, y1) == (0, 0, 400, 300)


def test_masks_at_full_resolution() -> None:
    config = BatchConfig(images=2, masks_per_image=3, mask_stride=1, view=AS_IS)
    (batch,) = source(photos("grey", 100), batch=config)(0)
    assert batch.masks.shape[1:] == (CANVAS, CANVAS)
    assert replace(config, mask_stride=4).mask_stride == 4
