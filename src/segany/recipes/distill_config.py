"""Distillation as plain values, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from segany.prompts.config import SimulationConfig
from segany.training.config import LoopConfig, OptimizerConfig, ScheduleConfig, reject
from segany.transforms.config import ViewConfig

SHRUNK_STEPS = 30


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Teaching a small model what a large one knows.

    Source: MobileSAM (arXiv 2306.14289) for embeddings alone; EdgeSAM (arXiv 2312.06660) for prompts in the loop.
    """

    name: str
    """Preset, shown to people."""
    seed: int = 0
    """Of weights, views and prompts."""
    embedding: float = 1.0
    """Weight of the squared error between embeddings. 0 or more."""
    masks: float = 1.0
    """Weight of the answers to prompts: masks of every token and their predicted IoU. 0 leaves prompts out."""
    prompts: int = 8
    """Prompts of each view. 1 or more."""
    simulation: SimulationConfig = field(
        default_factory=lambda: SimulationConfig(clicks=1, refine_inside=0, refine_last=0, interior=0.5)
    )
    """First prompts and corrections."""
    images: int = 8
    """Views per step, over all processes together. 1 or more."""
    per_device: int = 8
    """Views that a process takes at once. 1 or more."""
    views: int = 2
    """Views of every photo, the whole photo first; the teacher sees each once. 1 or more."""
    view: ViewConfig = field(default_factory=lambda: ViewConfig(whole=0.0))
    """How the further views may stray from the photo."""
    painted: int = 1000
    """Painted scenes that stand in for photos when there are none. 1 or more."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(weight_decay=0.05, clip=1.0, average=0.998)
    )
    """Optimiser, regularisation, averaging."""
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(rate=1e-3, steps=20_000, warm_up=200, shape="cosine", milestones=())
    )
    """Learning rate and length."""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(precision="bfloat16"))
    """Precision, memory, saving, looking."""

    def __post_init__(self) -> None:
        least = ("prompts", "images", "per_device", "views", "painted")
        reject(
            f"recipe {self.name}",
            [
                *(getattr(self, n) < 1 and f"{n} must be 1 or more; got {getattr(self, n)}" for n in least),
                *(getattr(self, n) < 0 and f"{n} must be 0 or more" for n in ("embedding", "masks")),
                self.embedding + self.masks <= 0 and "one of embedding and masks must be above 0",
            ],
        )

    def shrunk(self) -> DistillConfig:
        """The same training in seconds, for trying out and for tests."""
        return replace(
            self,
            name=f"{self.name}-shrunk",
            prompts=2,
            images=4,
            per_device=4,
            views=1,
            painted=12,
            schedule=replace(self.schedule, rate=1e-2, steps=SHRUNK_STEPS, warm_up=3),
            optimizer=replace(self.optimizer, average=None),
            loop=replace(self.loop, precision="float32", save_every=SHRUNK_STEPS, look_every=SHRUNK_STEPS),
        )


BOTH = DistillConfig(name="both")
DISTILL: dict[str, DistillConfig] = {
    config.name: config
    for config in (
        BOTH,
        replace(BOTH, name="embedding", masks=0.0),
        replace(BOTH, name="masks", embedding=0.0),
    )
}
"""Distillations, by name: embeddings and answers to prompts, or one of them."""
