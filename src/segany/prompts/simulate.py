"""What a person would click, simulated on batches during training.

P prompts · S canvas side · s low-res side (S / 4)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BOX_NOISE_SHARE, BOX_NOISE_CAP = 0.1, 20.0


def sample_clicks(region: Tensor, cell: int, *, interior: float, generator: torch.Generator) -> Tensor:
    """One click per prompt inside a region.

    Args:
        region: (P, s, s) bool, where a click may fall; a prompt with an empty region gets a click anywhere.
        cell: canvas pixels per low-res cell.
        interior: share of prompts whose click prefers the inside of the region to its rim.
        generator: randomness.

    Returns:
        (P, 2) x, y in canvas pixels.

    Source: Segment Anything (arXiv 2304.02643), training algorithm (uniform); the preference for the inside follows
    the evaluation, which clicks farthest from the boundary.
    """
    prompts, height, width = region.shape
    weight = region.float()
    share = functional.avg_pool2d(weight.unsqueeze(1), 9, stride=1, padding=4).squeeze(1)
    inside = torch.rand(prompts, 1, 1, generator=generator) < interior
    weight = torch.where(inside, weight * share**4, weight).flatten(1)
    weight = torch.where(weight.sum(dim=1, keepdim=True) > 0, weight, torch.ones_like(weight))
    index = torch.multinomial(weight, 1, generator=generator).squeeze(1)
    corner = torch.stack([index % width, index // width], dim=1).float() * cell
    return corner + torch.rand(prompts, 2, generator=generator) * cell - 0.5


def boxes_of(masks: Tensor, cell: int) -> Tensor:
    """(P, s, s) bool, none empty → (P, 4) XYXY canvas pixels."""
    columns, rows = masks.any(dim=1).float(), masks.any(dim=2).float()
    x0, y0 = columns.argmax(dim=1), rows.argmax(dim=1)
    x1 = columns.shape[1] - columns.flip(1).argmax(dim=1)
    y1 = rows.shape[1] - rows.flip(1).argmax(dim=1)
    return torch.stack([x0, y0, x1, y1], dim=1).float() * cell - torch.tensor([0.0, 0.0, 1.0, 1.0])


def jitter_boxes(boxes: Tensor, canvas: int, *, generator: torch.Generator) -> Tensor:
    """Move every coordinate by a normal deviate of 10 % of its side, at most 20 px, kept on the canvas.

    Source: Segment Anything (arXiv 2304.02643), training algorithm.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.randn(boxes.shape, generator=generator) * sides * BOX_NOISE_SHARE
    return (boxes + noise.clamp(-BOX_NOISE_CAP, BOX_NOISE_CAP)).clamp(0, canvas - 1)


def correction_clicks(
    predicted: Tensor, target: Tensor, cell: int, *, interior: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A click in each prompt's error region: foreground where the mask is missing, background where it spills.

    Args:
        predicted: (P, s, s) bool.
        target: (P, s, s) bool.
        cell: canvas pixels per low-res cell.
        interior: as in `sample_clicks`.
        generator: randomness.

    Returns:
        (P, 2) canvas pixels, (P,) labels. Without any error the click falls outside the mask, as background.
    """
    error = predicted ^ target
    perfect = ~error.flatten(1).any(dim=1)
    region = torch.where(perfect[:, None, None], ~target, error)
    clicks = sample_clicks(region, cell, interior=interior, generator=generator)
    low = ((clicks + 0.5) / cell).long().clamp(0, target.shape[-1] - 1)
    labels = target[torch.arange(len(target)), low[:, 1], low[:, 0]]
    return clicks, labels.long()
