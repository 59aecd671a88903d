"""Looking at a promptable model during training: how good its masks are, and pictures of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from segany.modeling.sam import Sam
from segany.pictures.grid import contact_sheet
from segany.pictures.overlay import draw_overlay
from segany.pictures.save import save_picture
from segany.prompts.config import SimulationConfig
from segany.prompts.simulate import Draws, sample_clicks
from segany.training.batches import PromptableBatch
from segany.training.config import InteractiveConfig
from segany.training.contract import Moment
from segany.training.features import embed
from segany.training.interactive import InteractiveStep

PICTURES = "pictures"
TRUE, FOUND = (255, 255, 255), (31, 119, 180)


@dataclass(frozen=True)
class WatchPrompts:
    """Mean IoU on a few batches that never train, from clicks and from boxes, at once and after corrections.

    Args:
        name: of the photos, in front of every number.
        batches: what to look at.
        config: as in training; prompts are drawn towards the inside of regions, as people click.
        clicks: corrections.
    """

    name: str
    batches: Sequence[PromptableBatch]
    config: InteractiveConfig
    clicks: int = 2

    def __call__(self, moment: Moment) -> Mapping[str, float]:
        """`NAME/point_1`, `NAME/point_3`, `NAME/box_1`, `NAME/box_3`: mean IoU after so many prompts."""
        numbers: dict[str, float] = {}
        step = InteractiveStep(self.config)
        for kind, share in (("point", 1.0), ("box", 0.0)):
            simulation = SimulationConfig(
                point_share=share, clicks=self.clicks, refine_inside=0, refine_last=0, interior=1.0
            )
            first = last = weight = 0.0
            for batch in self.batches:
                parts = step(cast(Sam, moment.model), replace(batch, simulation=simulation).to(moment.device)).parts
                first, last = first + float(parts["iou_first"]), last + float(parts["iou_last"])
                weight += batch.weight
            numbers[f"{self.name}/{kind}_1"] = first / weight
            numbers[f"{self.name}/{kind}_{1 + self.clicks}"] = last / weight
        return numbers


@dataclass(frozen=True)
class SamplePictures:
    """A sheet of predictions, always on the same photos: true mask in white, found mask in blue, the click.

    Args:
        batch: views to show; one mask of each.
        pixel_mean, pixel_std: undo the normalisation.
        name: of the photos, for the file's name.
        most: views on a sheet.
    """

    batch: PromptableBatch
    pixel_mean: Sequence[float]
    pixel_std: Sequence[float]
    name: str = "sample"
    most: int = 12

    def __call__(self, moment: Moment) -> Mapping[str, float]:
        """Write OUT/pictures/step-N-NAME.jpg."""
        batch = self.batch
        first = np.unique(batch.image_index.numpy(), return_index=True)[1][: self.most]
        target = batch.masks[first] > 0.5
        cell = batch.canvas // target.shape[-1]
        draws = Draws.from_seeds([0], [len(first)])
        clicks = sample_clicks(target, cell, interior=1.0, draws=draws)
        found, iou = _predict(cast(Sam, moment.model), batch, first, clicks, moment.device)
        if moment.is_main:
            tiles = [
                (self._tile(int(batch.image_index[row]), target[i], found[i], clicks[i]), f"predicted IoU {iou[i]:.2f}")
                for i, row in enumerate(first)
            ]
            save_picture(
                moment.out / PICTURES / f"step-{moment.step:09d}-{self.name}.jpg", contact_sheet(tiles, tile_side=320)
            )
        return {}

    def _tile(self, view: int, target: Tensor, found: Tensor, click: Tensor) -> NDArray[np.uint8]:
        mean, std = (torch.tensor(list(values)).view(3, 1, 1) for values in (self.pixel_mean, self.pixel_std))
        rgb = (self.batch.pixels[view] * std + mean).clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
        side = self.batch.canvas
        true = functional.interpolate(target[None, None].float(), (side, side))[0, 0] > 0.5
        shown = draw_overlay(
            rgb, [found.numpy(), true.numpy()], colors=[FOUND, TRUE], points=click[None].numpy(), labels=np.ones(1)
        )
        return shown


def _predict(
    model: Sam, batch: PromptableBatch, rows: NDArray[np.intp], clicks: Tensor, device: torch.device
) -> tuple[Tensor, list[float]]:
    """Best mask of each row at canvas size, and its predicted IoU, from one click."""
    embeddings = embed(model, batch.to(device))
    low_res, iou = model.decode(
        embeddings,
        points=clicks.unsqueeze(1).to(device),
        labels=torch.ones(len(rows), 1, dtype=torch.long, device=device),
        image_index=batch.image_index[rows].to(device),
    )
    best = iou[:, 1:].argmax(dim=1) + 1
    chosen = low_res[torch.arange(len(best), device=device), best].float()
    large = functional.interpolate(chosen.unsqueeze(1), (batch.canvas, batch.canvas), mode="bilinear")
    return (large[:, 0] > 0).cpu(), iou.gather(1, best[:, None])[:, 0].float().tolist()
