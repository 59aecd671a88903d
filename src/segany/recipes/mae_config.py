"""Masked pre-training as plain values, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from segany.modeling.config import ModelConfig, ViTConfig
from segany.modeling.presets import TINY, TOY, VIT_B, VIT_H, VIT_L
from segany.recipes.config import shrunk_model
from segany.training.config import LoopConfig, OptimizerConfig, ScheduleConfig, reject

SHRUNK_STEPS = 30


@dataclass(frozen=True, kw_only=True)
class MaeConfig:
    """Masked pre-training of an image encoder, from the first weight to the last.

    Source: Masked autoencoders (arXiv 2111.06377); Segment Anything (arXiv 2304.02643) starts from encoders so made
    and gives no details.
    """

    name: str
    """Preset, shown to people."""
    model: ModelConfig
    """The promptable model whose encoder is trained."""
    canvas: int
    """Side of the views, pixels; a multiple of `unit`. For a ViT, one window's side makes all blocks see alike."""
    seed: int = 0
    """Of weights, views and what is hidden."""
    hidden: float = 0.75
    """Share of the units that are hidden. Between 0 and 1."""
    unit: int = 16
    """Side of what is hidden as a whole, pixels; a multiple of the encoder's stride, 32 for convolutions."""
    normalise: bool = True
    """Compare each cell's pixels after removing their own mean and deviation."""
    decoder_width: int = 512
    """Channels of the decoder, which is thrown away afterwards; a multiple of 4."""
    decoder_depth: int = 8
    """Its blocks. 1 or more."""
    decoder_heads: int = 16
    """Its attention heads (ViT alone)."""
    images: int = 4096
    """Views per step, over all processes together. 1 or more."""
    per_device: int = 128
    """Views that a process takes at once; the others of its share follow before the update. 1 or more."""
    min_area: float = 0.2
    """Smallest view, as a share of its photo. Above 0, at most 1."""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(betas=(0.9, 0.95), weight_decay=0.05))
    """Optimiser, regularisation, averaging."""
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(
            rate=2.4e-3, steps=250_000, warm_up=12_500, shape="cosine", milestones=()
        )
    )
    """Learning rate and length; 1.5e-4 for every 256 views, 800 rounds of 1.28 million photos, 40 of them warm-up."""
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            precision="bfloat16", recompute=True, save_every=1000, look_every=5000, workers=4
        )
    )
    """Precision, memory, saving, looking."""

    def __post_init__(self) -> None:
        stride = self.model.encoder.stride
        least = ("decoder_depth", "images", "per_device")
        reject(
            f"recipe {self.name}",
            [
                *(getattr(self, n) < 1 and f"{n} must be 1 or more; got {getattr(self, n)}" for n in least),
                not 0 < self.hidden < 1 and f"hidden must be between 0 and 1; got {self.hidden}",
                not 0 < self.min_area <= 1 and f"min_area must be above 0, at most 1; got {self.min_area}",
                self.unit % stride > 0 and f"unit must be a multiple of the encoder's stride {stride}; got {self.unit}",
                self.unit > 0
                and self.canvas % self.unit > 0
                and f"canvas must be a multiple of unit ({self.unit}); got {self.canvas}",
                not isinstance(self.model.encoder, ViTConfig)
                and self.unit % 32 > 0
                and f"encoders with convolutions hide units of a multiple of 32 pixels; got {self.unit}",
                self.decoder_width % 4 > 0 and f"decoder_width must be a multiple of 4; got {self.decoder_width}",
            ],
        )

    def shrunk(self) -> MaeConfig:
        """The same training at toy size: seconds on one core, for trying out and for tests."""
        return replace(
            self,
            name=f"{self.name}-shrunk",
            model=shrunk_model(self.model),
            canvas=4 * self.unit,
            decoder_width=32,
            decoder_depth=1,
            decoder_heads=4,
            images=8,
            per_device=8,
            schedule=replace(self.schedule, rate=4e-3, steps=SHRUNK_STEPS, warm_up=5),
            optimizer=replace(self.optimizer, average=None),
            loop=replace(self.loop, save_every=SHRUNK_STEPS, look_every=SHRUNK_STEPS, workers=0, sharding="ddp"),
        )


def _vit(model: ModelConfig) -> MaeConfig:
    encoder = model.encoder
    assert isinstance(encoder, ViTConfig)
    return MaeConfig(name=model.name, model=model, canvas=encoder.window * encoder.patch, unit=encoder.patch)


MAE: dict[str, MaeConfig] = {
    config.name: config
    for config in (
        MaeConfig(
            name="tiny",
            model=TINY,
            canvas=256,
            unit=32,
            hidden=0.6,
            decoder_width=128,
            decoder_depth=2,
            images=32,
            per_device=32,
            schedule=ScheduleConfig(rate=1e-3, steps=4000, warm_up=200, shape="cosine", milestones=()),
            loop=LoopConfig(precision="bfloat16", channels_last=True),
        ),
        MaeConfig(
            name="toy",
            model=TOY,
            canvas=64,
            decoder_width=32,
            decoder_depth=1,
            decoder_heads=4,
            images=16,
            per_device=16,
            schedule=ScheduleConfig(rate=2e-3, steps=200, warm_up=10, shape="cosine", milestones=()),
            loop=LoopConfig(save_every=50, look_every=100),
        ),
        _vit(VIT_B),
        _vit(VIT_L),
        _vit(VIT_H),
    )
}
"""Pre-trainings, by name."""
