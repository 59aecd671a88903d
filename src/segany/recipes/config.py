"""Whole trainings as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from segany.modeling.config import ConvConfig, ModelConfig, TinyViTConfig, ViTConfig
from segany.prompts.config import SimulationConfig
from segany.training.config import (
    BatchConfig,
    InteractiveConfig,
    LoopConfig,
    OptimizerConfig,
    ScheduleConfig,
    reject,
)

SHRUNK_STEPS, SHRUNK_VIEWS, SHRUNK_MASKS = 30, 4, 2
SHRUNK_CANVAS = 64


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """A stretch of a training that is drawn in its own way; what stays None is as in the rest of the config."""

    steps: int
    """Optimiser steps. 1 or more."""
    start_rate: float
    """Learning rate at the start; half a cosine leads from it to `end_rate`."""
    end_rate: float
    """Learning rate at the end."""
    canvas: int | None = None
    """Side of the canvas, pixels; only convolutional encoders can leave the model's own."""
    images: int | None = None
    """Views per step."""
    masks_per_image: int | None = None
    """Most masks of a view."""
    clicks: int | None = None
    """Corrections after the first prompt."""
    synthetic: float | None = None
    """Share of painted scenes."""

    def __post_init__(self) -> None:
        reject(
            "phase",
            [
                self.steps < 1 and f"steps must be 1 or more; got {self.steps}",
                min(self.start_rate, self.end_rate) < 0 and "rates must be 0 or more",
            ],
        )


@dataclass(frozen=True, kw_only=True)
class PromptableConfig:
    """A training of the promptable task, from the first weight to the last."""

    name: str
    """Preset, shown to people."""
    model: ModelConfig
    """What is trained."""
    seed: int = 0
    """Of weights, views, prompts and drop path."""
    step: InteractiveConfig = field(default_factory=InteractiveConfig)
    """Simulation and losses."""
    batch: BatchConfig = field(default_factory=BatchConfig)
    """Views and masks."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser, regularisation, averaging."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """Learning rate and length; with phases, only its warm-up counts."""
    phases: tuple[PhaseConfig, ...] = ()
    """Stretches with their own canvas, batches and rates; none means one stretch as the schedule says."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """Precision, memory, saving, looking."""

    def __post_init__(self) -> None:
        phased = self.schedule.shape == "phases"
        reject(
            f"recipe {self.name}",
            [
                phased != bool(self.phases) and "phases and schedule.shape 'phases' go together",
                *(
                    p.canvas is not None
                    and p.canvas != self.model.canvas
                    and not isinstance(self.model.encoder, ConvConfig)
                    and f"only convolutional encoders change their canvas; a phase wants {p.canvas}"
                    for p in self.phases
                ),
            ],
        )

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return sum(phase.steps for phase in self.phases) or self.schedule.steps

    def shrunk(self) -> PromptableConfig:
        """The same training at toy size: seconds on one core, for trying out and for tests."""
        model = shrunk_model(self.model)
        simulation = replace(self.step.simulation, clicks=min(2, self.step.simulation.clicks))
        batch = replace(
            self.batch,
            images=SHRUNK_VIEWS,
            masks_per_image=SHRUNK_MASKS,
            masks_per_device=SHRUNK_VIEWS * SHRUNK_MASKS,
            synthetic=1.0,
            min_share=0.01,
        )
        phases = tuple(
            replace(
                phase,
                steps=SHRUNK_STEPS // len(self.phases),
                canvas=None if phase.canvas is None else SHRUNK_CANVAS * (1 + (phase.canvas == self.model.canvas)),
                images=SHRUNK_VIEWS,
                masks_per_image=SHRUNK_MASKS,
                synthetic=1.0,
            )
            for phase in self.phases
        )
        return replace(
            self,
            name=f"{self.name}-shrunk",
            model=model,
            step=replace(self.step, simulation=simulation),
            batch=batch,
            schedule=replace(self.schedule, steps=SHRUNK_STEPS, warm_up=5, milestones=()),
            phases=phases,
            optimizer=replace(self.optimizer, drop_path=min(0.1, self.optimizer.drop_path), layer_decay=0.9),
            loop=replace(self.loop, save_every=SHRUNK_STEPS, look_every=SHRUNK_STEPS, sharding="ddp", workers=0),
        )


def shrunk_model(model: ModelConfig) -> ModelConfig:
    """The same kind of model at toy size."""
    width = 32
    encoder: ViTConfig | TinyViTConfig | ConvConfig
    if isinstance(model.encoder, ConvConfig):
        encoder, canvas = replace(model.encoder, widths=(8, 16, 24, 32), depths=(1, 1, 1, 1)), 2 * SHRUNK_CANVAS
    elif isinstance(model.encoder, ViTConfig):
        encoder = replace(model.encoder, width=width, depth=2, heads=2, global_blocks=(1,), window=3)
        canvas = SHRUNK_CANVAS
    else:
        encoder, canvas = replace(model.encoder, depths=(1, 1, 1, 1)), SHRUNK_CANVAS
    decoder = replace(model.decoder, heads=4, mlp_width=64, iou_head_width=width)
    return replace(
        model,
        name=f"{model.name}-shrunk",
        encoder=encoder,
        canvas=canvas,
        width=width,
        mask_channels=8,
        decoder=decoder,
    )


def simulation_of(config: PromptableConfig, phase: PhaseConfig) -> SimulationConfig:
    """Prompts of a phase."""
    simulation = config.step.simulation
    return simulation if phase.clicks is None else replace(simulation, clicks=phase.clicks)


def batch_of(config: PromptableConfig, phase: PhaseConfig) -> BatchConfig:
    """Batches of a phase."""
    names = ("images", "masks_per_image", "synthetic")
    given = {name: getattr(phase, name) for name in names if getattr(phase, name) is not None}
    return replace(config.batch, **given)
