"""One training step of the promptable task: encode once, prompt, correct, correct.

B images · P prompts (masks) over all images · M mask tokens · s side of the target masks
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from segany.modeling.folded_decoder import FoldedImages, decode, fold
from segany.modeling.sam import Sam
from segany.prompts.simulate import Draws, TokenPrompt, click_schedule, correction_clicks, first_prompt
from segany.training.batches import PromptableBatch
from segany.training.config import InteractiveConfig
from segany.training.contract import StepResult
from segany.training.features import embed
from segany.training.losses import judge


class InteractiveStep:
    """The promptable task, as `fit` wants it: (model, batch) → losses summed over the batch's masks.

    Gradients reach the encoder once, through all rounds of all masks.

    Args:
        config: simulation and losses; a batch may carry its own simulation.
    """

    def __init__(self, config: InteractiveConfig) -> None:
        self.config = config

    def __call__(self, model: Sam, batch: PromptableBatch) -> StepResult:
        """Losses of all prompts of a batch, each started and corrected by its own random numbers."""
        images = fold(model.mask_decoder, embed(model, batch), batch.image_index)
        target = batch.masks > 0.5
        cell = batch.canvas // target.shape[-1]
        simulation = batch.simulation
        draws = Draws.from_seeds(batch.seeds, batch.counts, target.device)
        prompt = first_prompt(target, cell, simulation, draws)
        adds = click_schedule(simulation, draws).to(target.device)
        sums: dict[str, Tensor] = {}
        logits: Tensor | None = None
        for turn in range(simulation.rounds):
            low_res, iou = self._decode(model, images, prompt, logits)
            at_target = _resized(low_res, target.shape[-1])
            verdict = judge(at_target, iou, batch.masks, self.config.loss, ambiguous=turn == 0)
            _add(sums, "loss", verdict.loss * (self.config.loss.first if turn == 0 else 1.0))
            _add(sums, "mask_loss", verdict.mask.detach())
            _add(sums, "iou_loss", verdict.iou.detach())
            if turn in (0, simulation.rounds - 1):
                _add(sums, "iou_first" if turn == 0 else "iou_last", verdict.quality)
            if turn + 1 == simulation.rounds:
                break
            best = _shown(iou, ambiguous=turn == 0)
            rows = torch.arange(len(best), device=best.device)
            limit = self.config.max_logit
            logits = low_res.detach()[rows, best].clamp(-limit, limit).unsqueeze(1)
            shown = at_target.detach()[rows, best] > 0
            for _ in range(simulation.falling(turn + 1)):
                click, label = correction_clicks(shown, target, cell, interior=simulation.interior, draws=draws)
                prompt = prompt.with_clicks(click, label, adds[:, turn + 1])
        rounds = simulation.rounds if self.config.loss.over_rounds == "mean" else 1
        parts = {key: value / rounds for key, value in sums.items() if key in ("mask_loss", "iou_loss")}
        quality = {key: value for key, value in sums.items() if key.startswith("iou_") and key != "iou_loss"}
        return StepResult(sums["loss"] / rounds, parts | quality)

    def _decode(
        self, model: Sam, images: FoldedImages, prompt: TokenPrompt, logits: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        def run() -> tuple[Tensor, Tensor]:
            return decode(
                model,
                images,
                points=prompt.points,
                labels=prompt.labels,
                masks=logits,
                token_mask=prompt.token_mask,
            )

        if self.config.recompute_decoder and torch.is_grad_enabled():
            low_res, iou = checkpoint(run, use_reentrant=False)
        else:
            low_res, iou = run()
        return low_res.float(), iou.float()


def _add(sums: dict[str, Tensor], key: str, values: Tensor) -> None:
    """Add values over all prompts to a running sum."""
    sums[key] = sums[key] + values.sum() if key in sums else values.sum()


def _resized(low_res: Tensor, side: int) -> Tensor:
    """Logits at the resolution of the target masks."""
    if low_res.shape[-1] == side:
        return low_res
    return functional.interpolate(low_res, (side, side), mode="bilinear", align_corners=False)


def _shown(iou: Tensor, *, ambiguous: bool) -> Tensor:
    """(P, M) predicted IoU → (P,) token whose mask is shown and fed back."""
    if not ambiguous:
        return torch.zeros(len(iou), dtype=torch.long, device=iou.device)
    return iou[:, 1:].argmax(dim=1) + 1
