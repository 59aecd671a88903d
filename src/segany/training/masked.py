"""One training step of masked pre-training, its batches, and pictures of what the model completes.

B views · H×W grid of cells · p side of a cell, pixels · S canvas side
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segany.core.errors import OptionError
from segany.data.photo_sets import PhotoSet, SyntheticSet
from segany.data.sampling import MixingSampler
from segany.modeling.mae import MaskedAutoencoder, patch_statistics, patches_of, pixels_of, random_visible
from segany.pictures.grid import contact_sheet
from segany.pictures.save import save_picture
from segany.training.contract import Moment, StepResult
from segany.training.looks import PICTURES
from segany.transforms.augment import square_crop

GREY = 0.0
"""What hidden cells look like in pictures: the mean colour, in normalised pixels."""


@dataclass(frozen=True)
class MaskedBatch:
    """Views of one forward pass.

    Attributes:
        pixels: (B, 3, S, S) normalised.
        keys: (B, U, U) random numbers; they order the units that are hidden.
    """

    pixels: Tensor
    keys: Tensor

    @property
    def weight(self) -> float:
        """Number of views."""
        return float(len(self.pixels))

    @property
    def images(self) -> int:
        """Number of views."""
        return len(self.pixels)

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return replace(self, pixels=self.pixels.to(device, non_blocking=True))

    def tensors(self) -> dict[str, Any]:
        """Everything in it."""
        return {"pixels": self.pixels, "keys": self.keys}


class CropSource:
    """Square crops of photos, as `fit` wants them; what a view holds follows from the seed and its number alone.

    Args:
        sets: photos; painted scenes when there are none.
        images: views per step, over all processes.
        per_device: views that a process takes at once.
        canvas: S, pixels.
        units: U, units along a side that are hidden or shown as a whole.
        min_area: smallest crop, as a share of its photo.
        seed: of everything drawn.
        pixel_mean, pixel_std: normalisation of RGB in 0–255.
        rank, world: which share of every step this process takes.

    Raises:
        OptionError: the views of a step cannot be shared out evenly.
    """

    def __init__(
        self,
        sets: Sequence[PhotoSet],
        *,
        images: int,
        per_device: int,
        canvas: int,
        units: int,
        min_area: float,
        seed: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if images % world:
            raise OptionError(
                f"the views of a step must be shared out evenly over {world} processes; got {images} views. Change the "
                "number of processes, or `images`."
            )
        self.sets: list[PhotoSet] = [s for s in sets if len(s)] or [SyntheticSet()]
        self.images, self.per_device, self.canvas, self.units = images, per_device, canvas, units
        self.min_area, self.seed = min_area, seed
        self.mean = torch.tensor(list(pixel_mean), dtype=torch.float32).view(1, 3, 1, 1)
        self.std = torch.tensor(list(pixel_std), dtype=torch.float32).view(1, 3, 1, 1)
        self.rank, self.world = rank, world
        painted = any(isinstance(s, SyntheticSet) for s in self.sets)
        self._sampler = None if painted else MixingSampler([len(s) for s in self.sets], None, seed=seed)

    def __call__(self, step: int) -> list[MaskedBatch]:
        """This process's batches of a step."""
        first = step * self.images
        drawn = [self._draw(index) for index in range(first + self.rank, first + self.images, self.world)]
        return [self._collate(drawn[at : at + self.per_device]) for at in range(0, len(drawn), self.per_device)]

    def cost(self, step: int) -> float:
        """The same at every step."""
        return 1.0

    def _draw(self, index: int) -> tuple[NDArray[np.uint8], Tensor]:
        rng = np.random.default_rng([self.seed, index])
        if self._sampler is None:
            photos, number = self.sets[0], int(rng.integers(len(self.sets[0])))
        else:
            place = self._sampler.at(index)
            photos, number = self.sets[place.source], place.index
        crop = square_crop(rng, photos.photo(number, self.canvas).rgb, self.canvas, min_area=self.min_area)
        return crop, torch.from_numpy(rng.random((self.units, self.units)))

    def _collate(self, drawn: Sequence[tuple[NDArray[np.uint8], Tensor]]) -> MaskedBatch:
        rgb = torch.from_numpy(np.stack([crop for crop, _ in drawn])).permute(0, 3, 1, 2).float()
        pixels = ((rgb - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return MaskedBatch(pixels, torch.stack([keys for _, keys in drawn]))


@dataclass(frozen=True)
class MaskedStep:
    """Hide cells, paint them, compare: (model, batch) → losses summed over the batch's views.

    Args:
        hidden: share of the units that are hidden.
        normalise: compare each cell's pixels after removing their own mean and deviation.

    Source: Masked autoencoders (arXiv 2111.06377): squared error over hidden patches, normalised pixels.
    """

    hidden: float
    normalise: bool

    def __call__(self, model: MaskedAutoencoder, batch: MaskedBatch) -> StepResult:
        """Mean squared error over the hidden cells of every view."""
        visible = visible_cells(model, batch, self.hidden)
        painted = model(batch.pixels, visible).float()
        target = patches_of(batch.pixels, model.cell)
        if self.normalise:
            mean, deviation = patch_statistics(target)
            target = (target - mean) / deviation
        error = ((painted - target) ** 2).mean(dim=-1)
        hidden = (~visible).float()
        losses = (error * hidden).sum(dim=(1, 2)) / hidden.sum(dim=(1, 2)).clamp(min=1)
        return StepResult(losses.sum(), {})


def visible_cells(model: MaskedAutoencoder, batch: MaskedBatch, hidden: float) -> Tensor:
    """(B, H, W) bool."""
    side = batch.pixels.shape[-1] // model.cell
    return random_visible(batch.keys, hidden, side // batch.keys.shape[-1], batch.pixels.device)


@dataclass(frozen=True)
class WatchPainting:
    """Loss on a few views that never train."""

    batches: Sequence[MaskedBatch]
    step: MaskedStep

    def __call__(self, moment: Moment) -> Mapping[str, float]:
        """`watched/loss`."""
        model = cast(MaskedAutoencoder, moment.model)
        total = sum(float(self.step(model, batch.to(moment.device)).loss) for batch in self.batches)
        return {"watched/loss": total / sum(batch.weight for batch in self.batches)}


@dataclass(frozen=True)
class PaintedPictures:
    """A sheet of views as they are, as the encoder sees them, and as the model completes them.

    Args:
        batch: views to show.
        step: how much is hidden, and in what the model paints.
        pixel_mean, pixel_std: undo the normalisation.
        most: views on a sheet.
    """

    batch: MaskedBatch
    step: MaskedStep
    pixel_mean: Sequence[float]
    pixel_std: Sequence[float]
    most: int = 6

    def __call__(self, moment: Moment) -> Mapping[str, float]:
        """Write OUT/pictures/step-N-painted.jpg."""
        if moment.is_main:
            views = self.paint(cast(MaskedAutoencoder, moment.model), moment.device)
            captions = ("photo", "what is shown", "completed")
            tiles = [(picture, caption) for row in views for picture, caption in zip(row, captions, strict=True)]
            path = moment.out / PICTURES / f"step-{moment.step:09d}-painted.jpg"
            save_picture(path, contact_sheet(tiles, columns=3, tile_side=256))
        return {}

    def paint(self, model: MaskedAutoencoder, device: torch.device) -> list[tuple[NDArray[np.uint8], ...]]:
        """Photo, what is shown of it, and the completed photo, (S, S, 3) uint8 each."""
        batch = MaskedBatch(self.batch.pixels[: self.most].to(device), self.batch.keys[: self.most])
        visible = visible_cells(model, batch, self.step.hidden)
        patches = patches_of(batch.pixels, model.cell)
        painted = model(batch.pixels, visible).float()
        if self.step.normalise:
            mean, deviation = patch_statistics(patches)
            painted = painted * deviation + mean
        seen = visible.unsqueeze(-1)
        rows = (patches, torch.where(seen, patches, GREY), torch.where(seen, patches, painted))
        return list(zip(*(self._rgb(pixels_of(row, model.cell)) for row in rows), strict=True))

    def _rgb(self, pixels: Tensor) -> list[NDArray[np.uint8]]:
        mean, std = (
            torch.tensor(list(v), device=pixels.device).view(1, 3, 1, 1) for v in (self.pixel_mean, self.pixel_std)
        )
        rgb = (pixels * std + mean).clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().contiguous().numpy()
        return list(rgb)
