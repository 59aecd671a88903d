"""A small starting model for rehearsals: trained on painted scenes, people, street scenes and nuclei, never on the
photos that the rehearsal annotates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segany.core.errors import OptionError
from segany.data.cache import INDEX, PhotoCache, build_cache
from segany.data.packs import PackImage, iter_pack
from segany.data.photo_sets import CachedSet, PhotoSet, packs_in
from segany.modeling.config import ConvConfig, DecoderConfig
from segany.modeling.presets import TINY
from segany.recipes.config import PhaseConfig, PromptableConfig
from segany.recipes.folder import WEIGHTS
from segany.recipes.presets import SMALL_STEP, TINY_TRAINING
from segany.recipes.train_promptable import run

if TYPE_CHECKING:
    from segany.training.contract import Status

PACKS = ("coco-person", "dsb2018", "camvid")
"""What it learns from beside painted scenes: one person in each photo, nuclei, street scenes. None of these photos is
in the packs that are annotated."""
OF_EACH = 200
"""Photos of a pack, at most."""
LEAST_STEPS = 10

MODEL = replace(
    TINY,
    name="rehearsal",
    encoder=ConvConfig(widths=(24, 48, 96, 160), depths=(1, 1, 3, 2)),
    canvas=256,
    width=64,
    mask_channels=8,
    detail=False,
    decoder=DecoderConfig(heads=4, mlp_width=256, iou_head_width=64),
)
"""A tenth of `tiny`'s work: a rehearsal trains it four times."""


def training_of(steps: int, seed: int) -> PromptableConfig:
    """The training of the starting model, in so many steps."""
    base = TINY_TRAINING
    return replace(
        base,
        name="rehearsal",
        model=MODEL,
        seed=seed,
        step=SMALL_STEP,
        batch=replace(
            base.batch,
            images=4,
            masks_per_image=6,
            masks_per_device=24,
            min_share=0.004,
            synthetic=0.35,
            weights={"coco-person": 0.35, "dsb2018": 0.1, "camvid": 0.2},
        ),
        schedule=replace(base.schedule, warm_up=min(20, steps // 3)),
        phases=(PhaseConfig(steps=steps, canvas=MODEL.canvas, clicks=1, start_rate=2e-3, end_rate=1e-5),),
        optimizer=replace(base.optimizer, kind="adamw", average=0.98 if steps >= 200 else 0.9),
        loop=replace(base.loop, precision="float32", channels_last=True, save_every=50, look_every=steps + 1),
    )


def starting_model(
    data: Path,
    out: Path,
    *,
    steps: int,
    seed: int = 0,
    device: str = "auto",
    told: Callable[[Status], None] | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Train the starting model, or go on with it.

    Args:
        data: folder with packs; without any of these packs painted scenes are all there is.
        out: folder of the run.
        steps: of training.
        seed: of everything drawn.
        device: as everywhere.
        told: called after every step.

    Returns:
        The weights, and what made them.

    Raises:
        OptionError: hardly any steps.
        Cancelled: asked to stop; the same call goes on.
    """
    if steps < LEAST_STEPS:
        raise OptionError(f"the starting model needs {LEAST_STEPS} steps or more; got {steps}. Raise them.")
    sets = _sets(data, out / "cache")
    if not (out / WEIGHTS).is_file():
        run(training_of(steps, seed), out, sets=sets, device=device, told=told, board=False)
    about = {"steps": steps, "trained_on": ["painted scenes", *(photos.name for photos in sets)], "seed": seed}
    return out / WEIGHTS, about


def _sets(data: Path, cache: Path) -> list[PhotoSet]:
    there = [name for name in PACKS if name in packs_in(data)]
    if not there:
        return []
    if not (cache / INDEX).is_file():
        build_cache(cache, _some(data, there), longest_side=MODEL.canvas, min_share=0.003)
    kept = PhotoCache(cache)
    return [CachedSet(name, kept, [row for row in kept.photos if row.pack == name]) for name in there]


def _some(data: Path, names: list[str]) -> Iterator[PackImage]:
    """A few photos of each pack's training part, evenly spread."""
    for name in names:
        every = list(iter_pack(name, data, "train"))
        yield from every[:: max(1, len(every) // OF_EACH)][:OF_EACH]
