"""Named trainings. The only place where the paper's training numbers are written down."""

from __future__ import annotations

from dataclasses import replace

from segany.modeling.presets import TINY, TOY, VIT_B, VIT_H, VIT_L
from segany.prompts.config import SimulationConfig
from segany.recipes.config import PhaseConfig, PromptableConfig
from segany.training.config import (
    BatchConfig,
    InteractiveConfig,
    LoopConfig,
    LossConfig,
    OptimizerConfig,
    ScheduleConfig,
)
from segany.transforms.config import ViewConfig

PAPER_DECAY, PAPER_WARM_UP = 0.1, 250
"""Segment Anything (arXiv 2304.02643), training recipe: weight decay, linear warm-up steps."""
LARGE = LoopConfig(precision="bfloat16", recompute=True, save_every=1000, look_every=5000, workers=4)
"""The loop of the paper's models: a GPU's memory and pace."""

VIT_B_TRAINING = PromptableConfig(
    name="vit_b",
    model=VIT_B,
    batch=BatchConfig(images=128),
    optimizer=OptimizerConfig(weight_decay=PAPER_DECAY, layer_decay=0.6, drop_path=0.6),
    schedule=ScheduleConfig(rate=8e-4, steps=180_000, warm_up=PAPER_WARM_UP, milestones=(120_000, 173_332)),
    loop=LARGE,
)
VIT_L_TRAINING = PromptableConfig(
    name="vit_l",
    model=VIT_L,
    batch=BatchConfig(images=128),
    optimizer=OptimizerConfig(weight_decay=PAPER_DECAY, layer_decay=0.8, drop_path=0.4),
    schedule=ScheduleConfig(rate=4e-4, steps=180_000, warm_up=PAPER_WARM_UP, milestones=(120_000, 173_332)),
    loop=LARGE,
)
VIT_H_TRAINING = PromptableConfig(
    name="vit_h",
    model=VIT_H,
    batch=BatchConfig(images=256),
    optimizer=OptimizerConfig(weight_decay=PAPER_DECAY, layer_decay=0.8, drop_path=0.4),
    schedule=ScheduleConfig(rate=8e-4, steps=90_000, warm_up=PAPER_WARM_UP, milestones=(60_000, 86_666)),
    loop=LoopConfig(precision="bfloat16", recompute=True, sharding="fsdp", save_every=1000, look_every=5000, workers=4),
)

SMALL_VIEW = ViewConfig()
"""Whole photos and random rectangles of them: small models see objects large."""
SMALL_STEP = InteractiveConfig(
    simulation=SimulationConfig(clicks=1, refine_inside=0, refine_last=0, interior=0.5),
    loss=LossConfig(focal=0.0, cross_entropy=2.0, iou_on="all", losers=0.05, single_first=0.25),
    max_logit=20.0,
)
"""From scratch, small models collapse to empty masks under the focal loss; balanced cross-entropy holds them."""

TINY_STEP = replace(
    SMALL_STEP,
    simulation=replace(SMALL_STEP.simulation, clicks=3, at_once=(1, 2, 5), interior=0.6, box_noise=0.05),
    loss=replace(SMALL_STEP.loss, dice=2.0, cross_entropy=1.0, choice=0.5, first=2.0),
)
"""One, two, four and nine clicks in four decodes; docs/tiny_experiments.md says what each of these brought."""

TINY_TRAINING = PromptableConfig(
    name="tiny",
    model=TINY,
    step=TINY_STEP,
    batch=BatchConfig(
        images=8,
        masks_per_image=5,
        min_share=0.003,
        weights={"bsds500": 0.24, "dsb2018": 0.08, "camvid": 0.12, "coco": 0.30, "coco-person": 0.12},
        view=SMALL_VIEW,
    ),
    optimizer=OptimizerConfig(kind="muon", betas=(0.9, 0.98), weight_decay=0.05, clip=1.0, average=0.998),
    schedule=ScheduleConfig(shape="phases", warm_up=200),
    phases=(
        PhaseConfig(steps=3500, canvas=256, clicks=1, synthetic=0.35, start_rate=1.2e-3, end_rate=8e-4),
        PhaseConfig(steps=4600, canvas=384, synthetic=0.08, start_rate=8e-4, end_rate=5e-4),
        PhaseConfig(steps=3200, canvas=512, images=6, synthetic=0.06, start_rate=5e-4, end_rate=1e-5),
    ),
    loop=LoopConfig(precision="bfloat16", channels_last=True),
)
TOY_TRAINING = PromptableConfig(
    name="toy",
    model=TOY,
    step=SMALL_STEP,
    batch=BatchConfig(images=4, masks_per_image=4, masks_per_device=16, min_share=0.005, view=SMALL_VIEW),
    optimizer=OptimizerConfig(betas=(0.9, 0.98), weight_decay=0.05, clip=1.0, average=0.95),
    schedule=ScheduleConfig(rate=2e-3, steps=200, warm_up=10, shape="cosine", milestones=()),
    loop=LoopConfig(save_every=50, look_every=100),
)

PROMPTABLE: dict[str, PromptableConfig] = {
    config.name: config for config in (TINY_TRAINING, TOY_TRAINING, VIT_B_TRAINING, VIT_L_TRAINING, VIT_H_TRAINING)
}
"""Trainings of the promptable task, by name."""
