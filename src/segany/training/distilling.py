"""One training step of distillation: a student repeats a teacher's embeddings and its answers to prompts.

B views · P prompts over all views · M mask tokens · C channels · g grid side · S canvas side · s low-res side
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from segany.core.errors import OptionError
from segany.core.progress import Progress
from segany.data.photo_sets import PhotoSet, SyntheticSet
from segany.modeling.config import ModelConfig
from segany.modeling.sam import Sam
from segany.prompts.config import SimulationConfig
from segany.prompts.simulate import Draws, TokenPrompt, click_schedule, correction_clicks, first_prompt, sample_clicks
from segany.training.batches import normalised
from segany.training.contract import Moment, StepResult
from segany.training.features import STEP, VIEW, FeatureStore
from segany.training.losses import dice_loss, true_iou
from segany.transforms.augment import View, make_view
from segany.transforms.config import AS_IS, ViewConfig


class Distillation(nn.Module):
    """The student, and the projection of its embedding to the teacher's channels; the latter is dropped afterwards.

    Args:
        student: learns.
        teacher: config of the model it learns from. Fine features of either are left to the answers.
    """

    def __init__(self, student: Sam, teacher: ModelConfig) -> None:
        super().__init__()
        self.student = student
        self.width = teacher.width
        same = student.config.width == teacher.width
        self.projection = nn.Identity() if same else nn.Conv2d(student.config.width, teacher.width, kernel_size=1)
        self.grid = teacher.grid

    def projected(self, embeddings: Tensor) -> Tensor:
        """(B, C, g, g) of the student → the teacher's channels and grid."""
        wide: Tensor = self.projection(embeddings[:, : self.student.config.width])
        if wide.shape[-1] == self.grid:
            return wide
        return functional.interpolate(wide, (self.grid, self.grid), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class DistillBatch:
    """Views of one forward pass.

    Attributes:
        pixels: (B, 3, S, S) normalised for the student.
        valid_hw: (B, 2) filled part of each canvas, pixels.
        features: (B, C, g, g) embeddings of the teacher.
        seeds: per view, of the prompts' randomness.
    """

    pixels: Tensor
    valid_hw: Tensor
    features: Tensor
    seeds: tuple[int, ...]

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
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in ("pixels", "valid_hw", "features")}
        return replace(self, **moved)

    def tensors(self) -> dict[str, Any]:
        """Everything in it."""
        return {"pixels": self.pixels, "valid_hw": self.valid_hw, "features": self.features, "seeds": self.seeds}


class DistillSource:
    """Views of photos for student and teacher, as `fit` wants them; each is embedded by the teacher once.

    Every photo has a fixed number of views: the whole photo, then random ones. Painted scenes stand in for photos
    when there are none.

    Args:
        sets: photos; masks are not looked at.
        images: views per step, over all processes.
        per_device: views that a process takes at once.
        views: of each photo, at least 1.
        view: how random views may stray.
        student, teacher: canvas and normalisation of both.
        store: embeddings of the teacher.
        seed: of everything drawn.
        painted: scenes that stand in for photos.
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
        views: int,
        view: ViewConfig,
        student: ModelConfig,
        teacher: ModelConfig,
        store: FeatureStore,
        seed: int,
        painted: int = 1000,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if images % world:
            raise OptionError(
                f"the views of a step must be shared out evenly over {world} processes; got {images} views. Change the "
                "number of processes, or `images`."
            )
        self.images, self.per_device, self.views, self.view = images, per_device, views, view
        self.student, self.teacher, self.store, self.seed = student, teacher, store, seed
        self.rank, self.world = rank, world
        held = [s for s in sets if len(s)]
        self._places: list[tuple[PhotoSet, int]] = [(s, i) for s in held for i in range(len(s))]
        if not held:
            self._places = [(SyntheticSet(), seed * painted + number) for number in range(painted)]
        self._keys: dict[tuple[int, int], str] = {}

    def __len__(self) -> int:
        """Number of different views."""
        return len(self._places) * self.views

    def prepare(self, progress: Progress | None = None) -> None:
        """Let the teacher see every view that it has not seen yet; told (views done, views in all)."""
        for number in range(len(self)):
            self._key(number // self.views, number % self.views)
            if progress is not None:
                progress(number + 1, len(self))

    def __call__(self, step: int) -> list[DistillBatch]:
        """This process's batches of a step."""
        first = step * self.images
        indices = list(range(first + self.rank, first + self.images, self.world))
        return [self._batch(indices[at : at + self.per_device]) for at in range(0, len(indices), self.per_device)]

    def cost(self, step: int) -> float:
        """The same at every step."""
        return 1.0

    def _batch(self, indices: Sequence[int]) -> DistillBatch:
        places, seeds = [], []
        for index in indices:
            rng = np.random.default_rng([self.seed, STEP, index])
            seeds.append(int(rng.integers(2**62)))
            places.append((int(rng.integers(len(self._places))), int(rng.integers(self.views))))
        seen = [self._view(photo, number, self.student.canvas) for photo, number in places]
        return DistillBatch(
            _pixels(seen, self.student),
            torch.tensor([view.valid_hw for view in seen]),
            torch.stack([self.store.load(self._key(photo, number)) for photo, number in places]),
            tuple(seeds),
        )

    def _view(self, photo: int, number: int, canvas: int) -> View:
        """View `number` of a photo: the same part and colours on every canvas."""
        photos, index = self._places[photo]
        rng = np.random.default_rng([self.seed, VIEW, photo, number])
        rgb = photos.photo(index, self.student.canvas).rgb
        return make_view(rng, rgb, [], canvas, self.view if number else AS_IS)

    def _key(self, photo: int, number: int) -> str:
        key = self._keys.get((photo, number))
        if key is None:
            pixels = _pixels([self._view(photo, number, self.teacher.canvas)], self.teacher)[0]
            key = self._keys[photo, number] = self.store.ensure(pixels)
        return key


def _pixels(views: Sequence[View], config: ModelConfig) -> Tensor:
    mean, std = (torch.tensor(list(v)).view(1, 3, 1, 1) for v in (config.pixel_mean, config.pixel_std))
    return normalised(views, mean, std)


@dataclass(frozen=True)
class DistillStep:
    """The student repeats the teacher: (model, batch) → losses summed over the batch's views.

    For answers to prompts, clicks at random places make the teacher mark something; its best mask is then prompted
    and corrected as in promptable training, on the student's errors, and after every prompt all mask tokens and
    predicted IoUs are compared.

    Args:
        teacher: decodes its cached embeddings; stays as it is.
        embedding: weight of the squared error between embeddings.
        masks: weight of the answers to prompts; 0 leaves prompts out.
        prompts: of each view.
        simulation: first prompts and corrections.
    """

    teacher: Sam
    embedding: float
    masks: float
    prompts: int
    simulation: SimulationConfig

    def __call__(self, model: Distillation, batch: DistillBatch) -> StepResult:
        """Losses of all views."""
        embeddings = model.student.encode(batch.pixels)
        meant = batch.features[:, : model.width]
        error = ((model.projected(embeddings).float() - meant) ** 2).mean(dim=(1, 2, 3)).sum()
        loss = self.embedding * error
        parts = {"embedding_loss": error.detach()}
        if self.masks:
            answers, agreement = self._answers(model.student, embeddings, batch)
            loss = loss + self.masks * answers
            parts |= {"answer_loss": answers.detach(), "agreement": agreement}
        return StepResult(loss, parts)

    def _answers(self, student: Sam, embeddings: Tensor, batch: DistillBatch) -> tuple[Tensor, Tensor]:
        """Mean loss over prompts and rounds, and mean IoU of shown masks after one prompt, summed over views."""
        device, canvas = embeddings.device, student.config.canvas
        side = student.config.low_res
        draws = Draws.from_seeds(batch.seeds, [self.prompts] * len(batch.seeds), device)
        image_index = torch.arange(len(batch.seeds), device=device).repeat_interleave(self.prompts)
        with torch.no_grad():
            target = self._marked(batch, draws, image_index, side, canvas)
        found = target.flatten(1).any(dim=1)
        target = torch.where(found[:, None, None], target, _middle(target))
        prompt = first_prompt(target, canvas // side, self.simulation, draws)
        adds = click_schedule(self.simulation, draws).to(device)
        own_logits: Tensor | None = None
        teacher_logits: Tensor | None = None
        total, agreement = embeddings.new_zeros(()).float(), embeddings.new_zeros(()).float()
        for turn in range(self.simulation.rounds):
            low_res, iou = _decode(student, embeddings, prompt, own_logits, image_index, 1.0)
            with torch.no_grad():
                ratio = self.teacher.config.canvas / canvas
                meant, meant_iou = _decode(self.teacher, batch.features, prompt, teacher_logits, image_index, ratio)
            wanted = _at(meant, side)
            losses = _difference(low_res, iou, wanted, meant_iou) * found
            total = total + losses.sum() / self.prompts / self.simulation.rounds
            rows, best = torch.arange(len(iou), device=device), _shown(meant_iou, turn)
            if turn == 0:
                own = _shown(iou, turn)
                agreed = true_iou(low_res.detach()[rows, own], (wanted[rows, best] > 0).float())
                agreement = (agreed * found).sum() / self.prompts
            own_logits = low_res.detach()[rows, best].clamp(-32, 32).unsqueeze(1)
            teacher_logits = meant[rows, best].clamp(-32, 32).unsqueeze(1)
            if turn + 1 < self.simulation.rounds:
                click, label = correction_clicks(
                    own_logits[:, 0] > 0, target, canvas // side, interior=self.simulation.interior, draws=draws
                )
                prompt = prompt.with_clicks(click, label, adds[:, turn + 1])
        return total, agreement

    def _marked(self, batch: DistillBatch, draws: Draws, image_index: Tensor, side: int, canvas: int) -> Tensor:
        """(P, s, s) bool: what the teacher marks at a random place of each view."""
        cell = canvas // side
        rows = torch.arange(side, device=image_index.device) * cell
        height, width = batch.valid_hw[image_index].unbind(1)
        valid = (rows[None, :, None] < height[:, None, None]) & (rows[None, None, :] < width[:, None, None])
        clicks = sample_clicks(valid, cell, interior=0.0, draws=draws)
        ratio = self.teacher.config.canvas / canvas
        low_res, iou = self.teacher.decode(
            batch.features,
            points=_scaled(clicks, ratio).unsqueeze(1),
            labels=torch.ones(len(clicks), 1, dtype=torch.long, device=clicks.device),
            image_index=image_index,
        )
        best = _shown(iou, 0)
        return (_at(low_res.float(), side)[torch.arange(len(best), device=best.device), best] > 0) & valid


def _decode(
    model: Sam, embeddings: Tensor, prompt: TokenPrompt, logits: Tensor | None, image_index: Tensor, ratio: float
) -> tuple[Tensor, Tensor]:
    low_res, iou = model.decode(
        embeddings,
        points=_scaled(prompt.points, ratio),
        labels=prompt.labels,
        masks=logits,
        image_index=image_index,
        token_mask=prompt.token_mask,
        pad_points=False,
    )
    return low_res.float(), iou.float()


def _scaled(points: Tensor, ratio: float) -> Tensor:
    """Canvas pixels of one model → those of another; pixel centres are whole numbers."""
    return points if ratio == 1 else (points + 0.5) * ratio - 0.5


def _at(logits: Tensor, side: int) -> Tensor:
    if logits.shape[-1] == side:
        return logits
    return functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False)


def _shown(iou: Tensor, turn: int) -> Tensor:
    """(P, M) → (P,) token that is shown: the best of three after one prompt, then the single mask."""
    return iou[:, 1:].argmax(dim=1) + 1 if turn == 0 else torch.zeros(len(iou), dtype=torch.long, device=iou.device)


def _difference(low_res: Tensor, iou: Tensor, wanted: Tensor, wanted_iou: Tensor) -> Tensor:
    """(P,) cross-entropy with the teacher's shares, Dice loss, and squared error of predicted IoU, mean over tokens."""
    share = wanted.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(low_res, share, reduction="none").mean(dim=(-2, -1))
    return (entropy + dice_loss(low_res, share) + (iou - wanted_iou) ** 2).mean(dim=1)


def _middle(target: Tensor) -> Tensor:
    """A mask of the middle cell, for prompts at which the teacher marks nothing; they do not count."""
    mask = torch.zeros_like(target)
    mask[:, target.shape[1] // 2, target.shape[2] // 2] = True
    return mask


@dataclass(frozen=True)
class WatchTeacher:
    """How far the student still is from the teacher, on views that never train."""

    batches: Sequence[DistillBatch]
    step: DistillStep

    def __call__(self, moment: Moment) -> Mapping[str, float]:
        """`watched/embedding_loss`, and with prompts `watched/answer_loss` and `watched/agreement` (mean IoU)."""
        totals: dict[str, float] = {}
        for batch in self.batches:
            for name, value in self.step(cast(Distillation, moment.model), batch.to(moment.device)).parts.items():
                totals[name] = totals.get(name, 0.0) + float(value)
        weight = sum(batch.weight for batch in self.batches)
        return {f"watched/{name}": value / weight for name, value in totals.items()}
