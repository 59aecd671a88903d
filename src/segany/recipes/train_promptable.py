"""Train a promptable model: photos with masks in, weights out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from segany.data.photo_sets import PhotoSet, open_photos
from segany.modeling.build import build_model
from segany.modeling.checkpoints.save import save_model
from segany.recipes.config import PromptableConfig, batch_of, simulation_of
from segany.recipes.folder import WEIGHTS, open_run
from segany.recipes.initial import start_from
from segany.recipes.photos import gathered_photos
from segany.recipes.presets import PROMPTABLE
from segany.training.batches import PromptableSource, Stretch
from segany.training.contract import Hook, Status
from segany.training.distributed import Processes, processes
from segany.training.fit import FitResult, Job, fit
from segany.training.interactive import InteractiveStep
from segany.training.looks import SamplePictures, WatchPrompts
from segany.training.optim import Schedule, Spans
from segany.training.settings import to_plain
from segany.transforms.config import AS_IS

PRESETS = PROMPTABLE
WATCH_STEPS = 4
"""Batches that a look takes of every set."""


def run(
    config: PromptableConfig,
    out: Path,
    *,
    data: Sequence[Path] = (),
    sets: Sequence[PhotoSet] = (),
    initial: str | Path | None = None,
    cache: Path | None = None,
    max_steps: int | None = None,
    device: str = "auto",
    told: Callable[[Status], None] | None = None,
    board: bool = True,
) -> FitResult:
    """Train, or go on training.

    Args:
        config: the whole training; a preset, changed or not.
        out: folder for config.json, metrics.jsonl, evaluations.jsonl, checkpoints/, pictures/ and model.safetensors.
        data: folders with labelled photos; none means painted scenes alone.
        sets: further photos, as values.
        initial: weights to start from: the folder of a pre-training or of another training, or a model's name or
            path; fresh ones when left out.
        cache: folder of decoded packs; one in the user's cache folder when left out.
        max_steps: stop after so many steps of the whole training; the schedule stays as it is.
        device: as everywhere.
        told: called after every step, by the main process.
        board: write TensorBoard files when the library is there.

    Returns:
        weights (in model.safetensors too) and the last numbers.

    Raises:
        OptionError: the folder holds another run; the message shows what differs.
        TrainingError: loss or gradient is not finite.
        Cancelled: asked to stop; the same call goes on.
    """
    out.mkdir(parents=True, exist_ok=True)
    with processes(device) as group:
        drawn, watched = gathered_photos(data, cache, group, open_photos)
        drawn = [*drawn, *sets]
        config = config if drawn else _painted(config)
        fingerprints = {photos.name: photos.fingerprint for photos in drawn}
        torch.manual_seed(config.seed)
        model = build_model(config.model)
        if initial is not None:
            fingerprints["initial weights"] = start_from(model, initial)
        open_run(out, "promptable", config, fingerprints, group)

        job = Job(
            step=InteractiveStep(config.step),
            source=_source(config, drawn, group),
            steps=config.steps,
            rate=_rate(config),
            optimizer=config.optimizer,
            loop=config.loop,
            seed=config.seed,
            hooks=_hooks(config, drawn, watched),
            told=told,
            board=board,
        )
        result = fit(model, job, out, group=group, max_steps=max_steps)
        if group.is_main:
            _publish(config, out, result, fingerprints)
        group.wait()
    return result


def rehearse(name: str, out: Path) -> PromptableConfig:
    """A preset at toy size on painted scenes, trained in seconds; says with which config."""
    config = PRESETS[name].shrunk()
    run(config, out, device="cpu", board=False)
    return config


def stretches(config: PromptableConfig) -> list[Stretch]:
    """What is drawn when, phase by phase."""
    if not config.phases:
        return [Stretch(config.steps, config.model.canvas, config.batch, config.step.simulation)]
    return [
        Stretch(phase.steps, phase.canvas or config.model.canvas, batch_of(config, phase), simulation_of(config, phase))
        for phase in config.phases
    ]


def _painted(config: PromptableConfig) -> PromptableConfig:
    """The training with synthetic scenes alone."""
    phases = tuple(replace(phase, synthetic=1.0) for phase in config.phases)
    return replace(config, batch=replace(config.batch, synthetic=1.0), phases=phases)


def _rate(config: PromptableConfig) -> Schedule | Spans:
    if not config.phases:
        return Schedule(config.schedule)
    spans = tuple((phase.steps, phase.start_rate, phase.end_rate) for phase in config.phases)
    return Spans(spans, config.schedule.warm_up)


def _source(config: PromptableConfig, drawn: Sequence[PhotoSet], group: Processes) -> PromptableSource:
    return PromptableSource(
        drawn,
        stretches(config),
        seed=config.seed,
        pixel_mean=config.model.pixel_mean,
        pixel_std=config.model.pixel_std,
        rank=group.rank,
        world=group.world,
    )


def _hooks(config: PromptableConfig, drawn: Sequence[PhotoSet], watched: Sequence[PhotoSet]) -> list[Hook]:
    """Looks at photos kept from training where there are any, else at painted scenes that never come up again."""
    mean, std = config.model.pixel_mean, config.model.pixel_std
    last = stretches(config)[-1]
    painted = 0.0 if watched else 1.0
    batch = replace(last.batch, images=4, view=AS_IS, automatic_view=AS_IS, synthetic=painted, weights={})
    steps = WATCH_STEPS if watched else 1
    still = replace(last, steps=steps, batch=batch)
    looks: list[Hook] = []
    sheets: list[Hook] = []
    for name, photos in [(s.name, [s]) for s in watched] or [("painted", [])]:
        source = PromptableSource(photos, [still], seed=config.seed + 1, pixel_mean=mean, pixel_std=std)
        batches = [part for step in range(steps) for part in source(step)]
        looks.append(WatchPrompts(name, batches, config.step))
        sheets.append(SamplePictures(batches[0], mean, std, name=name))
    return looks + sheets


def _publish(config: PromptableConfig, out: Path, result: FitResult, data: dict[str, str]) -> None:
    starts = json.loads((out / "config.json").read_text(encoding="utf-8"))["starts"]
    about = {
        "recipe": "promptable",
        "training": to_plain(config),
        "data": data,
        "steps": result.steps,
        "seed": config.seed,
        "revision": starts[-1]["revision"] or "",
        "scores": result.numbers,
    }
    save_model(result.state, config.model, out / WEIGHTS, metadata=about)
