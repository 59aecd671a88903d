"""What a person would click, simulated on batches during training.

P prompts · K tokens per prompt · T rounds · S canvas side · s side of the target masks (S / cell)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from segany.prompts.clicks import first_click_center
from segany.prompts.config import SimulationConfig

BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT, PADDING = 0, 1, 2, 3, -1
INTERIOR_WINDOW, INTERIOR_POWER = 9, 4
"""Clicks that prefer the inside weigh a cell by the share of its neighbourhood that belongs to the region."""


class Draws:
    """Random numbers for P prompts, so arranged that a prompt's numbers depend on nothing but its own generator.

    Prompts come in groups (the masks of one view), one generator each; how groups are spread over batches and
    machines changes no number.

    Args:
        generators: CPU generators, one per group.
        counts: prompts of each group.
        device: where the numbers are wanted.
    """

    def __init__(
        self, generators: Sequence[torch.Generator], counts: Sequence[int], device: torch.device | str = "cpu"
    ) -> None:
        self._groups = list(zip(generators, counts, strict=True))
        self.device = torch.device(device)
        self.prompts = sum(counts)

    @classmethod
    def from_seeds(cls, seeds: Sequence[int], counts: Sequence[int], device: torch.device | str = "cpu") -> Draws:
        """One fresh generator per group."""
        return cls([torch.Generator().manual_seed(seed) for seed in seeds], counts, device)

    def uniform(self, *shape: int) -> Tensor:
        """(P, *shape) in [0, 1)."""
        parts = [torch.rand(count, *shape, generator=generator) for generator, count in self._groups]
        return torch.cat(parts).to(self.device)

    def normal(self, *shape: int) -> Tensor:
        """(P, *shape) of deviation 1."""
        parts = [torch.randn(count, *shape, generator=generator) for generator, count in self._groups]
        return torch.cat(parts).to(self.device)


@dataclass(frozen=True)
class TokenPrompt:
    """Prompts of different kinds side by side, spelled out token by token.

    Attributes:
        points: (P, K, 2) x, y in canvas pixels.
        labels: (P, K); 1 foreground, 0 background, 2 and 3 box corners, −1 padding that belongs to the model.
        real: (P, K), False where a token only fills the batch.
    """

    points: Tensor
    labels: Tensor
    real: Tensor

    def with_clicks(self, clicks: Tensor, labels: Tensor, added: Tensor) -> TokenPrompt:
        """The same prompts and one more click each, where `added` (P,) says so."""
        if not bool(added.any()):
            return self
        return TokenPrompt(
            torch.cat([self.points, torch.where(added[:, None], clicks, 0.0).unsqueeze(1)], dim=1),
            torch.cat([self.labels, torch.where(added, labels, PADDING).unsqueeze(1)], dim=1),
            torch.cat([self.real, added.unsqueeze(1)], dim=1),
        )

    @property
    def token_mask(self) -> Tensor | None:
        """`real`, or None when every token is."""
        return None if bool(self.real.all()) else self.real


def sample_clicks(region: Tensor, cell: int, *, interior: float, draws: Draws) -> Tensor:
    """One click per prompt inside a region.

    Args:
        region: (P, s, s) bool, where a click may fall; a prompt with an empty region gets a click anywhere.
        cell: canvas pixels per cell.
        interior: share of prompts whose click prefers the inside of the region to its rim; 0 is uniform.
        draws: randomness.

    Returns:
        (P, 2) x, y in canvas pixels, from −0.5 to S − 0.5: pixel centres are whole numbers.

    Source: Segment Anything (arXiv 2304.02643), training algorithm (uniform); the preference for the inside follows
    the evaluation, which clicks farthest from the boundary.
    """
    height, width = region.shape[1:]
    region = torch.where(region.flatten(1).any(dim=1)[:, None, None], region, True)
    # The largest of random keys wins: a cell more or less in the region then leaves nearly every other draw as it was.
    keys = draws.uniform(height, width)
    if interior > 0:
        share = _share_around(region)
        inside = draws.uniform(1, 1) < interior
        weight = torch.where(inside, share**INTERIOR_POWER, torch.ones_like(share))
        keys = keys.clamp(min=1e-8).log() / weight.clamp(min=1e-6)
    index = torch.where(region, keys, -torch.inf).flatten(1).argmax(dim=1)
    corner = torch.stack([index % width, index // width], dim=1).float() * cell
    return corner + draws.uniform(2) * cell - 0.5


def _share_around(region: Tensor) -> Tensor:
    """(P, s, s) bool → share of the square window around each cell that belongs to the region."""
    window, margin = INTERIOR_WINDOW, INTERIOR_WINDOW // 2
    rows = functional.avg_pool2d(region.float(), (window, 1), stride=1, padding=(margin, 0))
    return functional.avg_pool2d(rows, (1, window), stride=1, padding=(0, margin))


def centres_of(masks: Tensor, cell: int) -> Tensor:
    """(P, s, s) bool, none empty → (P, 2) canvas pixels, the middle of the cell farthest from the mask's rim."""
    found = [first_click_center(mask) for mask in masks.cpu().numpy()]
    return (torch.tensor(found, dtype=torch.float32, device=masks.device) + 0.5) * cell - 0.5


def boxes_of(masks: Tensor, cell: int) -> Tensor:
    """(P, s, s) bool, none empty → (P, 4) XYXY canvas pixels."""
    columns, rows = masks.any(dim=1).float(), masks.any(dim=2).float()
    x0, y0 = columns.argmax(dim=1), rows.argmax(dim=1)
    x1 = columns.shape[1] - columns.flip(1).argmax(dim=1)
    y1 = rows.shape[1] - rows.flip(1).argmax(dim=1)
    corners = torch.stack([x0, y0, x1, y1], dim=1).float() * cell
    return corners - corners.new_tensor([0.0, 0.0, 1.0, 1.0])


def jitter_boxes(boxes: Tensor, canvas: int, *, draws: Draws, share: float = 0.1, cap: float = 20.0) -> Tensor:
    """Move every coordinate by a normal deviate, cut at the cap, kept on the canvas.

    Args:
        boxes: (P, 4) XYXY canvas pixels.
        canvas: S, pixels.
        draws: randomness.
        share: deviation, as a share of the box's side along the coordinate.
        cap: largest shift, canvas pixels.

    Returns:
        (P, 4) XYXY canvas pixels.

    Source: Segment Anything (arXiv 2304.02643), training algorithm: 10 % of the side, at most 20 pixels.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = (draws.normal(4) * sides * share).clamp(-cap, cap)
    return (boxes + noise).clamp(0, canvas - 1)


def first_prompt(target: Tensor, cell: int, config: SimulationConfig, draws: Draws) -> TokenPrompt:
    """A click or a box for every mask, drawn mask by mask.

    Both kinds are two tokens long: a click brings its padding point, a box its two corners.

    Args:
        target: (P, s, s) bool, none empty.
        cell: canvas pixels per cell.
        config: shares and noise.
        draws: randomness.
    """
    click = sample_clicks(target, cell, interior=config.interior, draws=draws)
    if config.centre > 0:
        click = torch.where(draws.uniform(1) < config.centre, centres_of(target, cell), click)
    canvas = target.shape[-1] * cell
    noise = {"share": config.box_noise, "cap": config.box_noise_cap}
    corners = jitter_boxes(boxes_of(target, cell), canvas, draws=draws, **noise).reshape(-1, 2, 2)
    is_point = draws.uniform(1) < config.point_share
    padded_click = torch.stack([click, torch.zeros_like(click)], dim=1)
    labels = torch.where(
        is_point,
        torch.tensor([FOREGROUND, PADDING], device=target.device),
        torch.tensor([TOP_LEFT, BOTTOM_RIGHT], device=target.device),
    )
    points = torch.where(is_point[:, :, None], padded_click, corners)
    return TokenPrompt(points, labels, torch.ones_like(labels, dtype=torch.bool))


def click_schedule(config: SimulationConfig, draws: Draws) -> Tensor:
    """Which rounds add a click to which prompt.

    Args:
        config: numbers of clicks and refinements.
        draws: randomness.

    Returns:
        (P, T) bool; round 0 (the first prompt) and the closing refinements are False, and `refine_inside` rounds at
        random places between.
    """
    between = config.clicks + config.refine_inside
    order = draws.uniform(between).argsort(dim=1) if between else draws.uniform(0)
    adds = order >= config.refine_inside
    none = adds.new_zeros(draws.prompts, 1)
    return torch.cat([none, adds, none.expand(-1, config.refine_last)], dim=1)


def correction_clicks(
    predicted: Tensor, target: Tensor, cell: int, *, interior: float, draws: Draws
) -> tuple[Tensor, Tensor]:
    """A click in each prompt's error region: foreground where the mask is missing, background where it spills.

    Args:
        predicted: (P, s, s) bool.
        target: (P, s, s) bool.
        cell: canvas pixels per cell.
        interior: as in `sample_clicks`.
        draws: randomness.

    Returns:
        (P, 2) canvas pixels, (P,) labels. Without any error the click falls outside the mask, as background; a mask
        that fills the canvas gets a foreground click.

    Source: Segment Anything (arXiv 2304.02643), training algorithm; the click without error as in SAM 2's code.
    """
    error = predicted ^ target
    perfect = ~error.flatten(1).any(dim=1)
    region = torch.where(perfect[:, None, None], ~target, error)
    clicks = sample_clicks(region, cell, interior=interior, draws=draws)
    low = ((clicks + 0.5) / cell).long().clamp(0, target.shape[-1] - 1)
    labels = target[torch.arange(len(target), device=target.device), low[:, 1], low[:, 0]]
    return clicks, labels.long()
