"""One training step of the promptable task: encode once, prompt, correct, correct.

B images · P prompts (masks) over all images · M mask tokens · s low-res side
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from segany.modeling.sam import Sam
from segany.prompts.simulate import boxes_of, correction_clicks, jitter_boxes, sample_clicks
from segany.training.losses import balanced_cross_entropy, dice_loss, true_iou


@dataclass(frozen=True, kw_only=True)
class InteractiveConfig:
    """How prompts are simulated and masks are judged."""

    rounds: int = 3
    """Decodes per mask: the first prompt and rounds − 1 corrections; the paper uses 11."""
    point_first: float = 0.5
    """Share of steps that start from a click; the others start from a noisy box."""
    interior: float = 0.5
    """Share of clicks drawn towards the inside of their region instead of uniformly."""
    balance: float = 0.5
    """Class balance of the cross-entropy, 1 full, 0 none. Without any, small models collapse to empty masks."""
    cross_entropy_weight: float = 2.0
    """Weight of the cross-entropy beside Dice."""
    iou_weight: float = 1.0
    """Weight of the predicted IoU's squared error, taken on all outputs so that they rank one another."""
    others: float = 0.05
    """Weight of the two losing masks of three, so that none of them dies."""
    single_first: float = 0.25
    """Weight of the single-mask token after an ambiguous first prompt."""
    max_logit: float = 20.0
    """Magnitude at which fed-back logits are cut."""


MaskLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class StepResult:
    """Loss with gradient, and plain numbers about it."""

    loss: Tensor
    numbers: dict[str, float]


class InteractiveStep:
    """Callable training step.

    Args:
        config: simulation and loss.
        generator: randomness of prompts.
    """

    def __init__(self, config: InteractiveConfig, generator: torch.Generator) -> None:
        self.config = config
        self.generator = generator

    def __call__(self, model: Sam, pixels: Tensor, masks: Tensor, image_index: Tensor) -> StepResult:
        """Loss of all prompts of a batch.

        Args:
            model: any promptable model.
            pixels: (B, 3, S, S) normalised.
            masks: (P, s, s) float shares; each has at least one cell above one half.
            image_index: (P,) image of each mask.
        """
        embeddings = model.encode(pixels)
        cell = model.config.canvas // masks.shape[-1]
        target = masks > 0.5
        points, labels, boxes = self._first_prompt(target, cell, model.config.canvas)
        logits: Tensor | None = None
        total = masks.new_zeros(())
        numbers: dict[str, float] = {"from_point": float(boxes is None)}
        for turn in range(self.config.rounds):
            low_res, iou = model.decode(
                embeddings, points=points, labels=labels, boxes=boxes, masks=logits, image_index=image_index
            )
            low_res, iou = low_res.float(), iou.float()
            ambiguous = turn == 0
            loss, quality = self._judge(low_res, iou, masks, ambiguous)
            total = total + loss.mean()
            numbers[f"iou_{turn}"] = float(quality.mean())
            if turn + 1 < self.config.rounds:
                best = iou[:, 1:].argmax(dim=1) + 1 if ambiguous else torch.zeros_like(image_index)
                chosen = low_res.detach()[torch.arange(len(best)), best]
                logits = chosen.clamp(-self.config.max_logit, self.config.max_logit).unsqueeze(1)
                click, label = correction_clicks(
                    chosen > 0, target, cell, interior=self.config.interior, generator=self.generator
                )
                points, labels = _append(points, labels, click, label)
        return StepResult(total / self.config.rounds, numbers | {"loss": float(total.detach()) / self.config.rounds})

    def _first_prompt(
        self, target: Tensor, cell: int, canvas: int
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        if float(torch.rand(1, generator=self.generator)) < self.config.point_first:
            points = sample_clicks(target, cell, interior=self.config.interior, generator=self.generator)
            return points.unsqueeze(1), torch.ones(len(target), 1, dtype=torch.long), None
        return None, None, jitter_boxes(boxes_of(target, cell), canvas, generator=self.generator)

    def _judge(self, low_res: Tensor, iou: Tensor, masks: Tensor, ambiguous: bool) -> tuple[Tensor, Tensor]:
        outputs = slice(0, None) if ambiguous else slice(0, 1)
        logits, predicted = low_res[:, outputs], iou[:, outputs]
        target = masks.unsqueeze(1).expand_as(logits)
        losses = self.config.cross_entropy_weight * balanced_cross_entropy(
            logits, target, balance=self.config.balance
        ) + dice_loss(logits, target)
        actual = true_iou(logits, target)
        calibration = self.config.iou_weight * (predicted - actual) ** 2
        if not ambiguous:
            return losses[:, 0] + calibration[:, 0], actual[:, 0]
        three = losses[:, 1:]
        winner = three.min(dim=1).values
        mask_loss = winner + self.config.others * three.mean(dim=1) + self.config.single_first * losses[:, 0]
        best = predicted[:, 1:].argmax(dim=1, keepdim=True)
        return mask_loss + calibration.mean(dim=1), actual[:, 1:].gather(1, best).squeeze(1)


def _append(
    points: Tensor | None, labels: Tensor | None, click: Tensor, label: Tensor
) -> tuple[Tensor, Tensor]:
    click, label = click.unsqueeze(1), label.unsqueeze(1)
    if points is None or labels is None:
        return click, label
    return torch.cat([points, click], dim=1), torch.cat([labels, label], dim=1)
