"""Training behind a frozen encoder: encoded once, the same numbers, the same order after any interruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from segany.core.errors import DataError, OptionError
from segany.data.photo_sets import MemoryPhoto, MemorySet
from segany.data.synthetic import synthetic_scene
from segany.modeling.build import build_model
from segany.modeling.presets import TOY
from segany.modeling.sam import Sam
from segany.prompts.config import SimulationConfig
from segany.training.config import BatchConfig
from segany.training.features import FeatureSource, FeatureStore, embed

BATCH = BatchConfig(images=4, masks_per_image=2, masks_per_device=4, min_share=0.005)


@pytest.fixture(scope="module")
def photos() -> MemorySet:
    scenes = [synthetic_scene(np.random.default_rng(seed), 96) for seed in range(3)]
    return MemorySet(name="painted", photos=[MemoryPhoto(scene.rgb, scene.masks) for scene in scenes])


@pytest.fixture
def model() -> Sam:
    torch.manual_seed(0)
    return build_model(TOY).eval()


def source(
    photos: MemorySet, model: Sam, folder: Path, *, neck: bool = False, **more: int
) -> tuple[FeatureSource, list[int]]:
    calls: list[int] = []

    def compute(pixels: Tensor) -> Tensor:
        calls.append(len(pixels))
        return model.image_encoder.trunk(pixels) if neck else model.encode(pixels)  # type: ignore[operator,no-any-return]

    made = FeatureSource(
        photos,
        BATCH,
        SimulationConfig(),
        canvas=TOY.canvas,
        views=2,
        seed=5,
        pixel_mean=TOY.pixel_mean,
        pixel_std=TOY.pixel_std,
        store=FeatureStore(folder, f"toy {neck}", compute),
        before_neck=neck,
        **more,
    )
    return made, calls


@pytest.mark.parametrize("neck", [False, True])
def test_embeddings_are_those_of_the_pixels(photos: MemorySet, model: Sam, tmp_path: Path, neck: bool) -> None:
    made, _ = source(photos, model, tmp_path, neck=neck)
    with torch.no_grad():
        for batch in made(0):
            torch.testing.assert_close(embed(model, batch), model.encode(batch.pixels), atol=5e-3, rtol=5e-3)


def test_every_view_is_encoded_once(photos: MemorySet, model: Sam, tmp_path: Path) -> None:
    made, calls = source(photos, model, tmp_path)
    told: list[tuple[int, int]] = []
    made.prepare(lambda done, total: told.append((done, total)))
    assert len(calls) == 6 and told[-1] == (6, 6)
    for step in range(5):
        made(step)
    again, more = source(photos, model, tmp_path)
    again.prepare()
    assert len(calls) == 6 and not more


def test_a_step_depends_on_nothing_before_it(photos: MemorySet, model: Sam, tmp_path: Path) -> None:
    one, _ = source(photos, model, tmp_path)
    two, _ = source(photos, model, tmp_path)
    for step in range(3):
        two(step)
    for a, b in zip(one(7), two(7), strict=True):
        assert torch.equal(a.features, b.features) and torch.equal(a.masks, b.masks) and a.seeds == b.seeds


def test_processes_share_a_step(photos: MemorySet, model: Sam, tmp_path: Path) -> None:
    alone, _ = source(photos, model, tmp_path)
    ranks = [source(photos, model, tmp_path, rank=rank, world=2)[0] for rank in range(2)]
    seeds = [seed for batch in alone(3) for seed in batch.seeds]
    shared = [[seed for batch in rank(3) for seed in batch.seeds] for rank in ranks]
    assert seeds == [seed for pair in zip(*shared, strict=True) for seed in pair]
    with pytest.raises(OptionError, match="shared out evenly over 3"):
        source(photos, model, tmp_path, world=3)


def test_other_weights_have_other_features(tmp_path: Path) -> None:
    pixels = torch.ones(3, 8, 8)
    one = FeatureStore(tmp_path, "one", lambda x: x[:, :1])
    two = FeatureStore(tmp_path, "two", lambda x: 2 * x[:, :1])
    keys = one.ensure(pixels), two.ensure(pixels)
    assert float(one.load(keys[0]).max()) == 1 and float(two.load(keys[1]).max()) == 2


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "one", lambda x: x)
    key = store.ensure(torch.ones(3, 8, 8))
    path = next(tmp_path.rglob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DataError, match=path.name):
        store.load(key)
