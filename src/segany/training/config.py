"""Every knob of training, as plain values: default, unit, meaning and limit together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from segany.core.errors import OptionError
from segany.prompts.config import SimulationConfig
from segany.transforms.config import AS_IS, LARGE_SCALE_JITTER, ViewConfig

Precision = Literal["float32", "bfloat16"]
Sharding = Literal["ddp", "fsdp"]


def reject(where: str, problems: Iterable[str | bool]) -> None:
    """Raise every problem of a config at once.

    Args:
        where: the part of the config, for the message.
        problems: messages; False stands for none.

    Raises:
        OptionError: at least one message.
    """
    if found := [problem for problem in problems if problem]:
        raise OptionError(f"{where}: " + "; ".join(str(problem) for problem in found) + ". Change these knobs.")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What a mask is judged by.

    Source: Segment Anything (arXiv 2304.02643), losses; focal loss's α and γ as in SAM 2's code.
    """

    focal: float = 20.0
    """Weight of the focal loss. 0 or more."""
    focal_alpha: float = 0.25
    """Weight of mask cells in the focal loss against 1 − α for the ground; below 0 switches it off."""
    focal_gamma: float = 2.0
    """How strongly the focal loss forgets what is easy. 0 or more."""
    dice: float = 1.0
    """Weight of the Dice loss. 0 or more."""
    cross_entropy: float = 0.0
    """Weight of the balanced cross-entropy. Small models trained from scratch collapse to empty masks without it."""
    balance: float = 0.5
    """Class balance of the cross-entropy: 1 full, 0 none."""
    iou: float = 1.0
    """Weight of the predicted IoU's squared error. 0 or more."""
    iou_on: Literal["winner", "all"] = "winner"
    """Whether the predicted IoU is taught on the mask that is trained, or on every output, so that they rank."""
    choice: float = 0.0
    """Weight of the IoU that is lost when the predicted IoU chooses among the masks of an ambiguous prompt. 0 or more;
    the paper has none."""
    losers: float = 0.0
    """Weight of the mean of the three masks beside the best one, so that none of them dies; the paper has none."""
    single_first: float = 0.0
    """Weight of the single-mask token after an ambiguous first prompt; the paper trains it on several prompts only."""
    first: float = 1.0
    """Weight of the first prompt's round against any later one. 0 or more; the paper weighs all alike."""
    over_rounds: Literal["mean", "sum"] = "mean"
    """How a mask's rounds add up; unstated in the paper."""

    def __post_init__(self) -> None:
        names = ("focal", "focal_gamma", "dice", "cross_entropy", "iou", "choice", "losers", "single_first", "first")
        reject(
            "losses",
            [
                *(getattr(self, name) < 0 and f"{name} must be 0 or more" for name in names),
                not 0 <= self.balance <= 1 and f"balance must be 0 to 1; got {self.balance}",
                self.focal + self.dice + self.cross_entropy <= 0
                and "one of focal, dice and cross_entropy must be above 0",
            ],
        )


@dataclass(frozen=True, kw_only=True)
class InteractiveConfig:
    """One training step of the promptable task."""

    simulation: SimulationConfig = field(default_factory=SimulationConfig)
    """What is prompted."""
    loss: LossConfig = field(default_factory=LossConfig)
    """What is judged."""
    max_logit: float = 32.0
    """Magnitude at which fed-back logits are cut. Above 0."""
    recompute_decoder: bool = False
    """Forget each round's activations and compute them again backwards: memory of one round instead of all."""

    def __post_init__(self) -> None:
        reject("interaction", [self.max_logit <= 0 and f"max_logit must be above 0; got {self.max_logit}"])


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimiser and what goes with it.

    Source: Segment Anything (arXiv 2304.02643), training recipe; ViTDet (arXiv 2203.16527) for layer-wise decay.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    """The paper's AdamW, or Muon for matrices and AdamW for the rest, at the same rates. Muon needs whole weights in
    every process."""
    only: tuple[str, ...] = ()
    """Beginnings of the names of the parameters that learn, such as `mask_decoder`; all that a recipe trains when
    empty."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Memory of AdamW's two moments."""
    weight_decay: float = 0.1
    """Of matrices and kernels; biases, norms and learned positions have none. 0 or more."""
    layer_decay: float = 1.0
    """Factor on the learning rate per encoder layer, counted from the last; 1 switches it off. Above 0, at most 1."""
    drop_path: float = 0.0
    """Chance of leaving out the last block's branches; grows linearly from 0 at the first block. Below 1."""
    clip: float | None = None
    """Largest gradient norm; None never cuts. Above 0."""
    average: float | None = None
    """Decay of the exponential moving average of the weights, the one that is saved; None keeps none. Below 1."""

    def __post_init__(self) -> None:
        reject(
            "optimiser",
            [
                self.kind not in ("adamw", "muon") and f"kind must be adamw or muon; got {self.kind!r}",
                self.weight_decay < 0 and f"weight_decay must be 0 or more; got {self.weight_decay}",
                not 0 < self.layer_decay <= 1 and f"layer_decay must be above 0, at most 1; got {self.layer_decay}",
                not 0 <= self.drop_path < 1 and f"drop_path must be 0 or more, below 1; got {self.drop_path}",
                self.clip is not None and self.clip <= 0 and f"clip must be above 0 or None; got {self.clip}",
                self.average is not None
                and not 0 < self.average < 1
                and f"average must be between 0 and 1 or None; got {self.average}",
            ],
        )


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The learning rate over the steps.

    Source: Segment Anything (arXiv 2304.02643), training recipe (steps).
    """

    rate: float = 8e-4
    """Learning rate after warm-up. Above 0."""
    steps: int = 90_000
    """Optimiser steps. 1 or more."""
    warm_up: int = 250
    """Steps of linear warm-up. 0 or more."""
    shape: Literal["steps", "cosine", "constant", "phases"] = "steps"
    """After warm-up: times `factor` at every milestone, half a cosine down to `final`, no change, or what the
    phases of the recipe say."""
    milestones: tuple[int, ...] = (60_000, 86_666)
    """Steps at which the rate falls."""
    factor: float = 0.1
    """What it falls by."""
    final: float = 0.0
    """Where the cosine ends, as a share of `rate`."""

    def __post_init__(self) -> None:
        reject(
            "schedule",
            [
                self.rate <= 0 and f"rate must be above 0; got {self.rate}",
                self.steps < 1 and f"steps must be 1 or more; got {self.steps}",
                self.warm_up < 0 and f"warm_up must be 0 or more; got {self.warm_up}",
                list(self.milestones) != sorted(self.milestones) and f"milestones must grow; got {self.milestones}",
            ],
        )


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The loop, whatever the task."""

    precision: Precision = "float32"
    """bfloat16 runs matrix products at half precision (autocast); weights stay float32."""
    recompute: bool = False
    """Forget the encoder blocks' activations and compute them again backwards: less memory, a third more time."""
    channels_last: bool = False
    """Memory order that convolutions like on CPUs and GPUs."""
    sharding: Sharding = "ddp"
    """Several processes: every one holds the model (ddp), or each a shard of it (fsdp, for what does not fit)."""
    save_every: int = 250
    """Steps between checkpoints; one more at the end and when stopped. 1 or more."""
    keep: int = 2
    """Checkpoints that stay on disk, the newest ones. 1 or more."""
    look_every: int = 1000
    """Steps between looks at the model (evaluation, sample pictures); one more at the end. 1 or more."""
    workers: int = 0
    """Processes per training process that prepare batches ahead; 0 prepares them in between. 0 or more."""

    def __post_init__(self) -> None:
        least = {"save_every": 1, "keep": 1, "look_every": 1, "workers": 0}
        reject(
            "loop",
            (getattr(self, n) < k and f"{n} must be {k} or more; got {getattr(self, n)}" for n, k in least.items()),
        )


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """What goes into a step of the promptable task.

    Source: Segment Anything (arXiv 2304.02643): at most 64 masks per device, none above 90 % of its image.
    """

    images: int = 8
    """Views per optimiser step, over all processes together. 1 or more."""
    masks_per_image: int = 64
    """Most masks drawn of a view. 1 or more."""
    masks_per_device: int = 64
    """Most masks that a process decodes at once; more views than fit are accumulated. At least masks_per_image."""
    min_share: float = 0.0
    """Smallest mask, as a share of its view; the paper names no limit. 0 or more."""
    max_share: float = 0.9
    """Largest mask, as a share of its view. At most 1."""
    mask_stride: int = 4
    """Canvas pixels per cell of the masks that losses see: 4 is the decoder's own grid, 1 full resolution."""
    synthetic: float = 0.0
    """Share of painted scenes among the views. 0 to 1."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """How often a view comes from each set of photos, by name; one without a weight gets the mean of the others.
    When empty, every photo of every set is as likely as any other."""
    view: ViewConfig = LARGE_SCALE_JITTER
    """Views of photos whose masks people drew."""
    automatic_view: ViewConfig = AS_IS
    """Views of photos whose masks a model made (SA-1B); the paper does not augment them."""

    def __post_init__(self) -> None:
        reject(
            "batches",
            [
                *(getattr(self, n) < 1 and f"{n} must be 1 or more" for n in ("images", "masks_per_image")),
                self.masks_per_device < self.masks_per_image
                and f"masks_per_device must be at least masks_per_image ({self.masks_per_image}); "
                f"got {self.masks_per_device}",
                not 0 <= self.min_share < self.max_share <= 1
                and f"0 ≤ min_share < max_share ≤ 1 must hold; got {self.min_share} and {self.max_share}",
                self.mask_stride not in (1, 2, 4) and f"mask_stride must be 1, 2 or 4; got {self.mask_stride}",
                not 0 <= self.synthetic <= 1 and f"synthetic must be 0 to 1; got {self.synthetic}",
                any(w < 0 for w in self.weights.values()) and f"weights must be 0 or more; got {dict(self.weights)}",
            ],
        )

    @property
    def images_per_device(self) -> int:
        """Views that a process takes at once."""
        return max(1, self.masks_per_device // self.masks_per_image)
