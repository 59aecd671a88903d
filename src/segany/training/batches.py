"""Batches for the promptable task: random views of photos and synthetic scenes with a few masks each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segany.data.cache import CachedPhoto, PhotoCache
from segany.data.synthetic import synthetic_scene
from segany.transforms.augment import View, ViewConfig, make_view

SYNTHETIC = "synthetic"


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """What goes into a batch."""

    canvas: int = 256
    """Side of the training canvas, pixels."""
    images: int = 8
    """Views per batch."""
    masks_per_image: int = 8
    """Most masks used of a view."""
    min_share: float = 0.003
    """Smallest mask, as a share of the canvas."""
    max_share: float = 0.9
    """Largest mask, as a share of the canvas."""
    weights: Mapping[str, float] = field(
        default_factory=lambda: {
            "bsds500": 0.25,
            "dsb2018": 0.12,
            "camvid": 0.12,
            "coco": 0.22,
            "coco-person": 0.08,
            SYNTHETIC: 0.21,
        }
    )
    """How often a view comes from each pack; `synthetic` scenes are painted on the fly."""
    view: ViewConfig = field(default_factory=ViewConfig)
    """Crops and colours."""


@dataclass(frozen=True)
class PromptableBatch:
    """Tensors of a batch: pixels (B, 3, S, S) normalised, masks (P, S/4, S/4), image_index (P,)."""

    pixels: Tensor
    masks: Tensor
    image_index: Tensor


class BatchMaker:
    """Draws batches.

    Args:
        config: what to draw.
        cache: photos.
        photos: the part of the cache to draw from.
        pixel_mean, pixel_std: normalisation of RGB in 0–255.
        rng: randomness.
    """

    def __init__(
        self,
        config: BatchConfig,
        cache: PhotoCache,
        photos: list[CachedPhoto],
        pixel_mean: tuple[float, ...],
        pixel_std: tuple[float, ...],
        rng: np.random.Generator,
    ) -> None:
        self.config, self.cache, self.rng = config, cache, rng
        self.by_pack: dict[str, list[CachedPhoto]] = {}
        for photo in photos:
            self.by_pack.setdefault(photo.pack, []).append(photo)
        self.mean = torch.tensor(pixel_mean).view(1, 3, 1, 1)
        self.std = torch.tensor(pixel_std).view(1, 3, 1, 1)

    def draw(self) -> PromptableBatch:
        """One batch; every view holds at least one mask."""
        views = [self._draw_view() for _ in range(self.config.images)]
        rgb = torch.from_numpy(np.stack([view.rgb for view in views])).permute(0, 3, 1, 2).float()
        pixels = (rgb - self.mean) / self.std
        for row, view in zip(pixels, views, strict=True):
            height, width = view.valid_hw
            row[:, height:] = 0
            row[:, :, width:] = 0
        counts = torch.tensor([len(view.masks) for view in views])
        masks = torch.from_numpy(np.concatenate([view.masks for view in views]))
        return PromptableBatch(pixels, masks, torch.repeat_interleave(torch.arange(len(views)), counts))

    def _draw_view(self) -> View:
        names = [n for n in self.config.weights if n == SYNTHETIC or self.by_pack.get(n)]
        weights = np.array([self.config.weights[n] for n in names])
        name = str(self.rng.choice(names, p=weights / weights.sum()))
        for _ in range(20):
            view = self._keep_usable(self._view_of(name))
            if len(view.masks):
                return view
        return self._keep_usable(self._view_of(SYNTHETIC))

    def _view_of(self, name: str) -> View:
        config = self.config
        if name == SYNTHETIC:
            scene = synthetic_scene(self.rng, config.canvas)
            return make_view(self.rng, scene.rgb, self._some(scene.masks), config.canvas, config.view)
        photos = self.by_pack[name]
        photo = photos[int(self.rng.integers(len(photos)))]
        chosen = self.rng.permutation(len(photo.rles))[: 2 * config.masks_per_image]
        masks = [photo.mask(int(index)) for index in chosen]
        return make_view(self.rng, self.cache.rgb(photo), masks, config.canvas, config.view)

    def _some(self, masks: list[NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
        return [masks[i] for i in self.rng.permutation(len(masks))[: 2 * self.config.masks_per_image]]

    def _keep_usable(self, view: View) -> View:
        share = view.masks.mean(axis=(1, 2))
        solid = (view.masks > 0.5).any(axis=(1, 2))
        usable = (share >= self.config.min_share) & (share <= self.config.max_share) & solid
        return View(view.rgb, view.valid_hw, view.masks[usable][: self.config.masks_per_image])
