"""Eight photos, one mask each: training must be able to learn them by heart, and prediction to use what was learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from segany.data.photo_sets import MemoryPhoto, MemorySet
from segany.data.synthetic import synthetic_scene
from segany.predict.predictor import Predictor
from segany.prompts.clicks import first_click_center
from segany.prompts.config import SimulationConfig
from segany.recipes.presets import PROMPTABLE
from segany.recipes.train_promptable import run
from segany.training.config import LoopConfig, ScheduleConfig
from segany.transforms.config import AS_IS

SIDE = 96


def eight_photos() -> list[MemoryPhoto]:
    """Scenes with their largest shape below a third of the picture."""
    photos = []
    for seed in range(8):
        scene = synthetic_scene(np.random.default_rng(seed), SIDE)
        areas = [mask.sum() * (mask.mean() < 0.33) for mask in scene.masks]
        photos.append(MemoryPhoto(scene.rgb, [scene.masks[int(np.argmax(areas))]]))
    return photos


def test_eight_masks_are_learnt_by_heart(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    photos = eight_photos()
    small = PROMPTABLE["tiny"].shrunk()
    encoder = replace(small.model.encoder, widths=(16, 24, 32, 48))
    config = replace(
        small,
        model=replace(small.model, canvas=SIDE, encoder=encoder),
        phases=(),
        schedule=ScheduleConfig(rate=3e-3, steps=200, warm_up=20, shape="cosine", final=0.05, milestones=()),
        batch=replace(
            small.batch, images=8, masks_per_image=1, masks_per_device=8, synthetic=0.0, weights={}, view=AS_IS
        ),
        optimizer=replace(small.optimizer, average=None, layer_decay=1.0, weight_decay=0.0),
        step=replace(
            small.step,
            simulation=SimulationConfig(point_share=1.0, clicks=0, refine_inside=0, refine_last=0, interior=0.5),
        ),
        loop=LoopConfig(save_every=1000, look_every=1000, channels_last=True),
    )
    run(config, tmp_path, sets=[MemorySet(name="eight", photos=photos)], device="cpu", board=False)

    predictor = Predictor.from_pretrained(tmp_path)
    overlaps = []
    for photo in photos:
        true = photo.mask(0)
        result = predictor.decode(predictor.encode(photo.rgb), points=[first_click_center(true)], labels=[1])
        found = np.asarray(result.masks[int(result.best)])
        overlaps.append((found & true).sum() / (found | true).sum())
    assert np.mean(overlaps) > 0.9, overlaps
