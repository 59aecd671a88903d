"""Fine-tuning as plain values, and its presets: one for each choice of what learns on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from segany.prompts.config import SimulationConfig
from segany.training.config import (
    BatchConfig,
    InteractiveConfig,
    LoopConfig,
    LossConfig,
    OptimizerConfig,
    ScheduleConfig,
    reject,
)
from segany.transforms.config import ViewConfig

STEP = InteractiveConfig(
    simulation=SimulationConfig(clicks=1, refine_inside=0, refine_last=0, interior=0.5),
    loss=LossConfig(iou_on="all", single_first=0.25),
)
"""Losses of the paper; two decodes per mask instead of eleven, clicks as people place them, ranking taught on all."""
BATCH = BatchConfig(images=4, masks_per_image=6, masks_per_device=24, min_share=0.0005, view=ViewConfig(whole=0.3))
SHRUNK_STEPS = 30


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Learning on from trained weights, on one's own photos and masks."""

    name: str
    """Preset, shown to people."""
    trains: Literal["decoder", "decoder+neck", "lora", "all"] = "decoder"
    """What learns on: prompt encoder and mask decoder; the encoder's neck too; the decoder, with low-rank adapters in
    the encoder; or everything."""
    rank: int = 8
    """Of the adapters' updates ("lora" alone). 1 or more."""
    alpha: float = 16.0
    """Scale of the adapters' updates, times the rank."""
    heldout_share: float = 0.2
    """Share of the given photos that never trains: it chooses the best step and measures before and after."""
    heldout_images: int = 64
    """Most photos of it that are looked at. 1 or more."""
    heldout_masks: int = 8
    """Most masks of each that are looked at. 1 or more."""
    patience: int = 4
    """Looks without a new best after which training ends. 1 or more."""
    views: int = 4
    """Views of every photo when the encoder is frozen, the whole photo first; each is encoded once. 1 or more."""
    decoded_once: int = 2000
    """Up to so many photos are decoded once and kept beside the run; more are read anew at every draw."""
    seed: int = 0
    """Of views, prompts and adapters."""
    step: InteractiveConfig = STEP
    """Simulation and losses."""
    batch: BatchConfig = BATCH
    """Views and masks."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(weight_decay=0.05, clip=1.0, average=0.98)
    )
    """Optimiser, regularisation, averaging."""
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(rate=3e-4, steps=300, warm_up=20, shape="cosine", milestones=())
    )
    """Learning rate and length."""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(save_every=50, look_every=50))
    """Precision, memory, saving, looking."""

    def __post_init__(self) -> None:
        least = ("rank", "heldout_images", "heldout_masks", "patience", "views")
        reject(
            f"recipe {self.name}",
            [
                *(getattr(self, n) < 1 and f"{n} must be 1 or more; got {getattr(self, n)}" for n in least),
                not 0 < self.heldout_share < 1 and f"heldout_share must be between 0 and 1; got {self.heldout_share}",
                self.decoded_once < 0 and "decoded_once must be 0 or more",
            ],
        )

    @property
    def frozen_encoder(self) -> bool:
        """Whether views can be encoded once."""
        return self.trains in ("decoder", "decoder+neck")

    def shrunk(self) -> FinetuneConfig:
        """The same training in seconds, for trying out and for tests."""
        return replace(
            self,
            name=f"{self.name}-shrunk",
            rank=2,
            views=2,
            heldout_images=2,
            heldout_masks=2,
            batch=replace(self.batch, images=4, masks_per_image=2, masks_per_device=8, min_share=0.01),
            schedule=replace(self.schedule, rate=3e-3, steps=SHRUNK_STEPS, warm_up=3),
            loop=replace(self.loop, save_every=SHRUNK_STEPS, look_every=SHRUNK_STEPS),
        )


DECODER = FinetuneConfig(name="decoder")
NECK = replace(DECODER, name="decoder+neck", trains="decoder+neck")
LORA = replace(
    DECODER,
    name="lora",
    trains="lora",
    schedule=replace(DECODER.schedule, rate=5e-4),
)
ALL = replace(
    DECODER,
    name="all",
    trains="all",
    optimizer=OptimizerConfig(weight_decay=0.05, layer_decay=0.8, drop_path=0.1, clip=1.0, average=0.98),
    schedule=replace(DECODER.schedule, rate=2e-4),
)
FINETUNE: dict[str, FinetuneConfig] = {config.name: config for config in (DECODER, NECK, LORA, ALL)}
"""Fine-tunings, by name."""
