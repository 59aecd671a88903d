"""Automatic masks: every object of a photo, without a prompt from a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segany.core.budget import MemoryBudget
from segany.core.errors import EmbeddingError, OptionError
from segany.core.identity import fingerprint
from segany.core.progress import CancelCheck, Progress, check_cancelled
from segany.geometry.crops import crop_boxes
from segany.geometry.grids import layered_grids
from segany.predict.automatic.candidates import Box, Candidates
from segany.predict.automatic.config import SweepConfig, recommended_knobs
from segany.predict.automatic.merge import clean_up, merge_crops
from segany.predict.automatic.sweep import CropSweep, clicks_at_once
from segany.predict.automatic.tally import MASKS, OVERLAP_OF_CROPS, note_overlap
from segany.predict.embedding import ImageEmbedding
from segany.predict.predictor import Predictor
from segany.predict.upscale import Upscaler
from segany.records.record import MaskRecord
from segany.transforms.image import read_image
from segany.transforms.resize import ImageTransform

CROPS_AT_ONCE = 4
"""Crops encoded together on a GPU; a CPU is no faster for it."""


class AutomaticMaskGenerator:
    """A mask source: photo in, records out. Keeps no state between photos, so it serves many threads and pickles.

    Args:
        predictor: any predictor.
        config: all knobs at once; None takes the reference's defaults and what the weights recommend.
        memory: what the process may hold in all, such as "4GB"; bounds how much is done at once, changes no mask.
        **knobs: single knobs of `SweepConfig` instead of `config`.

    Raises:
        OptionError: an unknown knob, an impossible value, or both a config and knobs.

    Source: Segment Anything (arXiv 2304.02643), automatic mask generation, and its released code.
    """

    def __init__(
        self,
        predictor: Predictor,
        config: SweepConfig | None = None,
        *,
        memory: str | int | MemoryBudget | None = None,
        **knobs: Any,
    ) -> None:
        if config is not None and knobs:
            raise OptionError(
                f"give either a config or single knobs; got both ({', '.join(sorted(knobs))}). "
                "Use dataclasses.replace(config, …)."
            )
        self.predictor = predictor
        self.config = config or SweepConfig.of(**{**recommended_knobs(predictor.metadata), **knobs})
        self.memory = MemoryBudget.of(memory)

    @property
    def fingerprint(self) -> str:
        """sha256 over the model and every knob: equal ones make equal masks of equal photos."""
        return fingerprint({"model": self.predictor.fingerprint, "sweep": self.config.to_dict()})

    def sharing(self, workers: int) -> AutomaticMaskGenerator:
        """The same source, bounded so that so many threads may use it at once."""
        return AutomaticMaskGenerator(self.predictor, self.config, memory=self.memory.shared(workers))

    def __call__(
        self, rgb: Any, *, progress: Progress | None = None, cancelled: CancelCheck | None = None
    ) -> list[MaskRecord]:
        """As a mask source; see `generate`."""
        return self.generate(rgb, progress=progress, cancelled=cancelled)

    def crops(self, size_hw: tuple[int, int]) -> list[Box]:
        """XYXY boxes that are encoded, the whole photo first."""
        return crop_boxes(size_hw, self.config.crop_n_layers, self.config.crop_overlap_ratio)[0]

    def embed(self, image: Any) -> list[ImageEmbedding]:
        """Embeddings of the photo and its crops, to be kept and handed to `generate` later."""
        rgb = read_image(image)
        return [self._encode(rgb, crop) for crop in self.crops((rgb.shape[0], rgb.shape[1]))]

    def generate(
        self,
        image: Any,
        *,
        progress: Progress | None = None,
        cancelled: CancelCheck | None = None,
        embeddings: Sequence[ImageEmbedding] | None = None,
        tally: Counter[str] | None = None,
    ) -> list[MaskRecord]:
        """Masks of everything in a photo.

        Args:
            image: a path, PIL image, array or tensor.
            progress: called with (clicks done, clicks in all).
            cancelled: asked between batches.
            embeddings: from `embed`, one per crop; saves encoding.
            tally: gains the number of candidates, of masks, and of those each filter dropped; see `tally`.

        Returns:
            records in the order of the last suppression; the same photo always gives the same list.

        Raises:
            ImageError: no usable image.
            EmbeddingError: embeddings of another photo, model or number of crops.
            Cancelled: `cancelled` said so.
        """
        rgb = read_image(image)
        size_hw = (rgb.shape[0], rgb.shape[1])
        crops, layers = crop_boxes(size_hw, self.config.crop_n_layers, self.config.crop_overlap_ratio)
        grids = self._grids()
        if embeddings is not None:
            self._check(embeddings, crops, rgb)
        work = self.memory.work()
        clicks = clicks_at_once(self.predictor, self.config, work)
        upscaler_of = lru_cache(maxsize=None)(Upscaler)
        total, done = sum(len(grids[layer]) for layer in layers), 0
        found, counts = Candidates(), Counter() if tally is None else tally
        encoded = self._encoded(rgb, crops) if embeddings is None else iter(embeddings)
        for crop, layer in zip(crops, layers, strict=True):
            check_cancelled(cancelled)
            embedding = next(encoded)
            upscaler = upscaler_of(embedding.frame)
            sweep = CropSweep(
                self.predictor,
                self.config,
                embedding,
                crop,
                size_hw,
                upscaler,
                work=work,
                cancelled=cancelled,
                tally=counts,
            )
            points = grids[layer] * [crop[2] - crop[0], crop[3] - crop[1]]
            for start in range(0, len(points), clicks):
                check_cancelled(cancelled)
                batch = points[start : start + clicks]
                sweep.batch(batch)
                done += len(batch)
                if progress is not None:
                    progress(done, total)
            found.extend(sweep.finish())
        note_overlap(counts, len(found))
        if len(crops) > 1:
            before, found = len(found), merge_crops(found, self.config)
            counts[OVERLAP_OF_CROPS] += before - len(found)
        records = clean_up(found, self.config, counts).records()
        counts[MASKS] += len(records)
        return records

    def _grids(self) -> list[NDArray[np.float64]]:
        config = self.config
        if config.point_grids is not None:
            return [np.array(grid, np.float64) for grid in config.point_grids]
        assert config.points_per_side is not None
        return layered_grids(config.points_per_side, config.crop_n_layers, config.crop_n_points_downscale_factor)

    def _encode(self, rgb: NDArray[np.uint8], crop: Box) -> ImageEmbedding:
        x0, y0, x1, y1 = crop
        return self.predictor.encode(rgb[y0:y1, x0:x1])

    def _encoded(self, rgb: NDArray[np.uint8], crops: list[Box]) -> Iterator[ImageEmbedding]:
        """Embeddings of the crops, made when they are asked for; crops are views of the photo, never copies of it."""
        predictor, config = self.predictor, self.predictor.config
        transform = ImageTransform(config.canvas, config.low_res, config.pixel_mean, config.pixel_std)
        together = 1 if predictor.device.type == "cpu" else CROPS_AT_ONCE
        for start in range(0, len(crops), together):
            fitted = [transform(rgb[y0:y1, x0:x1]) for x0, y0, x1, y1 in crops[start : start + together]]
            features = predictor.encode_pixels(torch.stack([pixels for pixels, _ in fitted]))
            for row, (_, frame) in zip(features, fitted, strict=True):
                yield ImageEmbedding(row, frame, predictor.fingerprint)

    def _check(self, embeddings: Sequence[ImageEmbedding], crops: list[Box], rgb: NDArray[np.uint8]) -> None:
        if len(embeddings) != len(crops):
            raise EmbeddingError(
                f"expected one embedding per crop, {len(crops)}; got {len(embeddings)}. Make them with embed(image)."
            )
        for embedding, (x0, y0, x1, y1) in zip(embeddings, crops, strict=True):
            self.predictor.check(embedding)
            if embedding.size_hw != (y1 - y0, x1 - x0):
                raise EmbeddingError(
                    f"expected an embedding of a crop of {(y1 - y0, x1 - x0)} pixels, (H, W); got one of "
                    f"{embedding.size_hw}. Make them with embed(image), from the same photo."
                )
            if not embedding.is_of(rgb[y0:y1, x0:x1]):
                raise EmbeddingError(
                    "expected embeddings of this photo; got those of another one of the same size. Make them with "
                    "embed(image), from the same photo."
                )
