"""Training behind a frozen encoder: every view is encoded once, kept on disk, and prompted as often as wanted.

B views · C channels · g grid side · S canvas side
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from segany.core.errors import DataError, OptionError
from segany.core.files import atomic_path
from segany.core.progress import Progress
from segany.data.photo_sets import PhotoSet
from segany.modeling.canvas import at_canvas
from segany.modeling.sam import Sam
from segany.prompts.config import SimulationConfig
from segany.training.batches import SPARE, TRIES, PromptableBatch, collate, normalised, usable
from segany.training.config import BatchConfig
from segany.transforms.augment import View, make_view
from segany.transforms.config import AS_IS, ViewConfig

Compute = Callable[[Tensor], Tensor]
"""(1, 3, S, S) normalised pixels → (1, C, g, g) features."""
VIEW, STEP = 1, 2
"""Separate the random numbers of views from those of steps."""


class FeatureStore:
    """Features on disk, one file each, named by what they were computed from; half precision.

    Args:
        folder: made when something is kept.
        fingerprint: of the frozen weights and of what is computed with them.
        compute: the frozen computation.
    """

    def __init__(self, folder: Path, fingerprint: str, compute: Compute) -> None:
        self.folder, self.fingerprint, self.compute = folder, fingerprint, compute

    def ensure(self, pixels: Tensor) -> str:
        """Key of a view's features, computed unless they are there.

        Args:
            pixels: (3, S, S) normalised.
        """
        pixels = pixels.contiguous()
        digest = hashlib.sha256(f"{self.fingerprint}|{tuple(pixels.shape)}|".encode())
        digest.update(pixels.numpy().data)
        key = digest.hexdigest()
        if not self._path(key).is_file():
            with torch.no_grad():
                features = self.compute(pixels.unsqueeze(0))[0]
            with atomic_path(self._path(key)) as part:
                save_file({"features": features.detach().to("cpu", torch.float16).contiguous()}, part)
        return key

    def load(self, key: str) -> Tensor:
        """(C, g, g) float32.

        Raises:
            DataError: the file is damaged.
        """
        try:
            return load_file(self._path(key))["features"].float()
        except (SafetensorError, OSError, KeyError) as error:
            raise DataError(
                f"{self._path(key)} must hold the features of a view; reading it failed: {error}. Remove it: the same "
                "command computes it again."
            ) from error

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


@dataclass(frozen=True)
class FeatureBatch(PromptableBatch):
    """A batch whose views are encoded already.

    Attributes:
        features: (B, C, g, g), the embeddings or what the neck makes them from.
        before_neck: which of the two.
    """

    features: Tensor
    before_neck: bool

    def to(self, device: torch.device) -> Self:
        """The same on a device; pixels stay, nothing computes with them."""
        return replace(
            self,
            masks=self.masks.to(device, non_blocking=True),
            image_index=self.image_index.to(device, non_blocking=True),
            features=self.features.to(device, non_blocking=True),
        )

    def tensors(self) -> dict[str, Any]:
        """Everything in it."""
        return super().tensors() | {"features": self.features}


def embed(model: Sam, batch: PromptableBatch) -> Tensor:
    """(B, C, g, g) image embeddings of a batch's views, with as much of the encoder as still has to run."""
    at_canvas(model, batch.canvas)
    if not isinstance(batch, FeatureBatch):
        return model.encode(batch.pixels)
    if batch.before_neck:
        embeddings: Tensor = cast(nn.Module, model.image_encoder.neck)(batch.features)
        return embeddings
    return batch.features


class FeatureSource:
    """Batches of a training behind a frozen encoder, as `fit` wants them.

    Every photo has a fixed number of views: the whole photo, then random ones. Views and features stay; which views
    and masks come up at a step, and the prompts, follow from seed and step alone.

    Args:
        photos: to draw from.
        batch: sizes, filters, random views.
        simulation: prompts.
        canvas: S, pixels.
        views: of each photo, at least 1.
        seed: of everything drawn.
        pixel_mean, pixel_std: normalisation of RGB in 0–255.
        store: features of the frozen encoder.
        before_neck: whether the neck still has to run.
        rank, world: which share of every step this process takes.

    Raises:
        OptionError: the views of a step cannot be shared out evenly.
    """

    def __init__(
        self,
        photos: PhotoSet,
        batch: BatchConfig,
        simulation: SimulationConfig,
        *,
        canvas: int,
        views: int,
        seed: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        store: FeatureStore,
        before_neck: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch.images % world:
            raise OptionError(
                f"the views of a step must be shared out evenly over {world} processes; got {batch.images} views. "
                "Change the number of processes, or `images`."
            )
        self.photos, self.batch, self.simulation = photos, batch, simulation
        self.canvas, self.views, self.seed = canvas, views, seed
        self.mean = torch.tensor(list(pixel_mean), dtype=torch.float32).view(1, 3, 1, 1)
        self.std = torch.tensor(list(pixel_std), dtype=torch.float32).view(1, 3, 1, 1)
        self.store, self.before_neck = store, before_neck
        self.rank, self.world = rank, world
        self._keys: dict[tuple[int, int], str] = {}

    def prepare(self, progress: Progress | None = None) -> None:
        """Encode every view that is not on disk yet; told (views done, views in all)."""
        total = len(self.photos) * self.views
        for number in range(total):
            self._key(number // self.views, number % self.views)
            if progress is not None:
                progress(number + 1, total)

    def __call__(self, step: int) -> list[FeatureBatch]:
        """This process's batches of a step."""
        first = step * self.batch.images
        indices = list(range(first + self.rank, first + self.batch.images, self.world))
        size = self.batch.images_per_device
        return [self._batch(indices[at : at + size]) for at in range(0, len(indices), size)]

    def cost(self, step: int) -> float:
        """The same at every step."""
        return 1.0

    def _batch(self, indices: Sequence[int]) -> FeatureBatch:
        drawn = [self._draw(index) for index in indices]
        plain = collate(
            [view for view, _, _ in drawn], [seed for _, seed, _ in drawn], self.simulation, self.mean, self.std
        )
        features = torch.stack([self.store.load(key) for _, _, key in drawn])
        known = {name: getattr(plain, name) for name in PromptableBatch.__dataclass_fields__}
        return FeatureBatch(**known, features=features, before_neck=self.before_neck)

    def _draw(self, index: int) -> tuple[View, int, str]:
        rng = np.random.default_rng([self.seed, STEP, index])
        seed = int(rng.integers(2**62))
        for _ in range(TRIES):
            photo, number = int(rng.integers(len(self.photos))), int(rng.integers(self.views))
            source = self.photos.photo(photo, self.canvas)
            wanted = rng.permutation(source.count)[: SPARE * self.batch.masks_per_image]
            view = usable(self._view(photo, number, [int(i) for i in wanted]), self.batch)
            if len(view.masks):
                return view, seed, self._key(photo, number)
        raise DataError(
            f"{TRIES} views drawn from {self.photos.name} showed no mask between {self.batch.min_share:g} and "
            f"{self.batch.max_share:g} of a view. Check its masks, or change min_share and max_share."
        )

    def _view(self, photo: int, number: int, masks: Sequence[int]) -> View:
        """View `number` of a photo; the same at every call but for the masks asked for."""
        source = self.photos.photo(photo, self.canvas)
        config: ViewConfig = self.batch.view if number else AS_IS
        rng = np.random.default_rng([self.seed, VIEW, photo, number])
        chosen = [source.mask(index) for index in masks]
        return make_view(rng, source.rgb, chosen, self.canvas, config, stride=self.batch.mask_stride)

    def _key(self, photo: int, number: int) -> str:
        key = self._keys.get((photo, number))
        if key is None:
            pixels = normalised([self._view(photo, number, [])], self.mean, self.std)[0]
            key = self._keys[photo, number] = self.store.ensure(pixels)
        return key
