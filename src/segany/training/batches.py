"""Batches for the promptable task: random views of photos and synthetic scenes with a few masks each.

What a view holds follows from the seed and its own number alone, so that neither resuming nor the number of processes
changes a training.

B views · P masks over all views · S canvas side · s side of the masks
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segany.core.errors import DataError, OptionError
from segany.data.photo_sets import PhotoSet, SyntheticSet
from segany.data.sampling import MixingSampler
from segany.prompts.config import SimulationConfig
from segany.training.config import BatchConfig
from segany.transforms.augment import View, make_view

TRIES = 100
"""Photos tried for one view before a set counts as unusable."""
SPARE = 2
"""Masks read per mask wanted: some leave the view or get too small."""


@dataclass(frozen=True)
class PromptableBatch:
    """Views and masks of one forward pass.

    Attributes:
        pixels: (B, 3, S, S) normalised, zero outside the photo.
        masks: (P, s, s) float shares; each has at least one cell above one half.
        image_index: (P,) view of each mask.
        seeds: per view, of the prompts' randomness.
        counts: per view, its masks.
        simulation: how its masks are to be prompted.
    """

    pixels: Tensor
    masks: Tensor
    image_index: Tensor
    seeds: tuple[int, ...]
    counts: tuple[int, ...]
    simulation: SimulationConfig

    @property
    def weight(self) -> float:
        """Number of masks."""
        return float(len(self.masks))

    @property
    def images(self) -> int:
        """Number of views."""
        return len(self.pixels)

    @property
    def canvas(self) -> int:
        """S, pixels."""
        return int(self.pixels.shape[-1])

    def to(self, device: torch.device) -> PromptableBatch:
        """The same on a device."""
        return replace(
            self,
            pixels=self.pixels.to(device, non_blocking=True),
            masks=self.masks.to(device, non_blocking=True),
            image_index=self.image_index.to(device, non_blocking=True),
        )

    def tensors(self) -> dict[str, Any]:
        """Everything in it."""
        names = ("pixels", "masks", "image_index", "seeds", "counts")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Stretch:
    """Steps that are drawn alike.

    Attributes:
        steps: how many.
        canvas: S, pixels.
        batch: sizes, filters, weights.
        simulation: prompts.
    """

    steps: int
    canvas: int
    batch: BatchConfig
    simulation: SimulationConfig


@dataclass(frozen=True)
class _Drawn:
    view: View
    seed: int


class PromptableSource:
    """All batches of a training, as `fit` wants them.

    Args:
        sets: photos to draw from; synthetic scenes are added where a stretch asks for them.
        stretches: the training, one after the other.
        seed: of everything drawn.
        pixel_mean, pixel_std: normalisation of RGB in 0–255.
        rank, world: which share of every step this process takes.

    Raises:
        OptionError: the views of a step cannot be shared out evenly.
        DataError: nothing to draw from.
    """

    def __init__(
        self,
        sets: Sequence[PhotoSet],
        stretches: Sequence[Stretch],
        *,
        seed: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.sets, self.stretches, self.seed = [s for s in sets if len(s)], list(stretches), seed
        self.rank, self.world = rank, world
        self.mean = torch.tensor(list(pixel_mean), dtype=torch.float32).view(1, 3, 1, 1)
        self.std = torch.tensor(list(pixel_std), dtype=torch.float32).view(1, 3, 1, 1)
        self.sampler = None
        if self.sets:
            weights = _set_weights(self.sets, stretches[0].batch)
            self.sampler = MixingSampler([len(s) for s in self.sets], weights, seed=seed)
        self._first_step = [0, *itertools.accumulate(s.steps for s in stretches)]
        self._first_view = [0, *itertools.accumulate(s.steps * s.batch.images for s in stretches)]
        uneven = [s.batch.images for s in stretches if s.batch.images % world]
        if uneven:
            raise OptionError(
                f"the views of a step must be shared out evenly over {world} processes; got {uneven[0]} views. "
                "Change the number of processes, or `images`."
            )
        if not self.sets and any(s.batch.synthetic < 1 for s in stretches):
            raise DataError("training needs labelled photos; none were found. Name a folder that holds some.")

    def __call__(self, step: int) -> list[PromptableBatch]:
        """This process's batches of a step: every `world`-th view of it, as many at once as a device takes."""
        number = self._stretch_of(step)
        stretch = self.stretches[number]
        first = self._first_view[number] + (step - self._first_step[number]) * stretch.batch.images
        views = range(first + self.rank, first + stretch.batch.images, self.world)
        drawn = [self.draw(index, stretch) for index in views]
        size = stretch.batch.images_per_device
        return [self._collate(drawn[at : at + size], stretch) for at in range(0, len(drawn), size)]

    def cost(self, step: int) -> float:
        """Canvas pixels encoded, and as much again for every two decodes of a mask per view."""
        stretch = self.stretches[self._stretch_of(step)]
        per_view = 1 + 0.06 * stretch.batch.masks_per_image * stretch.simulation.rounds
        return stretch.batch.images * stretch.canvas**2 * per_view

    def _stretch_of(self, step: int) -> int:
        for number, end in enumerate(self._first_step[1:]):
            if step < end:
                return number
        return len(self.stretches) - 1

    def draw(self, index: int, stretch: Stretch) -> _Drawn:
        """View `index` of the training."""
        rng = np.random.default_rng([self.seed, index])
        seed = int(rng.integers(2**62))
        painted = self.sampler is None or rng.random() < stretch.batch.synthetic
        chosen, number = (SyntheticSet(), None) if painted else self._place(index)
        for _ in range(TRIES):
            number = int(rng.integers(len(chosen))) if number is None else number
            view = self._view(rng, chosen, number, stretch)
            if len(view.masks):
                return _Drawn(view, seed)
            number = None
        raise DataError(
            f"{TRIES} photos drawn from {chosen.name} showed no mask between {stretch.batch.min_share:g} and "
            f"{stretch.batch.max_share:g} of a view. Check its masks, or change min_share and max_share."
        )

    def _place(self, index: int) -> tuple[PhotoSet, int]:
        """Set and photo of view `index`, from an order in which every photo of a set comes before any comes again."""
        assert self.sampler is not None
        place = self.sampler.at(index)
        return self.sets[place.source], place.index

    def _view(self, rng: np.random.Generator, photos: PhotoSet, number: int, stretch: Stretch) -> View:
        batch = stretch.batch
        photo = photos.photo(number, stretch.canvas)
        wanted = rng.permutation(photo.count)[: SPARE * batch.masks_per_image]
        masks = [photo.mask(int(i)) for i in wanted]
        config = batch.automatic_view if photos.automatic else batch.view
        view = make_view(rng, photo.rgb, masks, stretch.canvas, config, stride=batch.mask_stride)
        return usable(view, batch)

    def _collate(self, drawn: Sequence[_Drawn], stretch: Stretch) -> PromptableBatch:
        views, seeds = [item.view for item in drawn], [item.seed for item in drawn]
        return collate(views, seeds, stretch.simulation, self.mean, self.std)


def collate(
    views: Sequence[View], seeds: Sequence[int], simulation: SimulationConfig, mean: Tensor, std: Tensor
) -> PromptableBatch:
    """One batch of views with their masks; `mean` and `std` are (1, 3, 1, 1)."""
    counts = tuple(len(view.masks) for view in views)
    return PromptableBatch(
        normalised(views, mean, std),
        torch.from_numpy(np.concatenate([view.masks for view in views])),
        torch.repeat_interleave(torch.arange(len(views)), torch.tensor(counts)),
        tuple(seeds),
        counts,
        simulation,
    )


def normalised(views: Sequence[View], mean: Tensor, std: Tensor) -> Tensor:
    """(B, 3, S, S) pixels as the encoder takes them: zero outside the photo."""
    rgb = torch.from_numpy(np.stack([view.rgb for view in views])).permute(0, 3, 1, 2).float()
    pixels = (rgb - mean) / std
    for row, view in zip(pixels, views, strict=True):
        height, width = view.valid_hw
        row[:, height:] = 0
        row[:, :, width:] = 0
    return pixels.contiguous(memory_format=torch.channels_last)


def _set_weights(sets: Sequence[PhotoSet], batch: BatchConfig) -> list[float] | None:
    named = [batch.weights[s.name] for s in sets if s.name in batch.weights]
    if not named:
        return None
    mean = sum(named) / len(named)
    return [batch.weights.get(s.name, mean) for s in sets]


def usable(view: View, batch: BatchConfig) -> View:
    """The masks within the size limits, as many as wanted."""
    if not len(view.masks):
        return view
    cells = view.valid_hw[0] * view.valid_hw[1] / batch.mask_stride**2
    share = view.masks.sum(axis=(1, 2)) / cells
    solid = (view.masks > 0.5).any(axis=(1, 2))
    usable = (share >= batch.min_share) & (share <= batch.max_share) & solid
    return View(view.rgb, view.valid_hw, view.masks[usable][: batch.masks_per_image])
