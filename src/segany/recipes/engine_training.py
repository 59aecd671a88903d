"""The training of a round: a short fine-tuning of the weights in use on a snapshot's training part."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from segany.core.errors import DataError, OptionError
from segany.core.files import atomic_write_json
from segany.data.cache import INDEX, PIXELS, PhotoCache, build_cache
from segany.data.photo_sets import CachedSet, open_photos
from segany.engine.config import STAGES, Stage
from segany.modeling.checkpoints.load import LoadedModel
from segany.modeling.checkpoints.save import save_model
from segany.recipes.finetune import batch_source, feature_store
from segany.recipes.finetune_config import FINETUNE, FinetuneConfig
from segany.recipes.finetune_data import OwnPhoto
from segany.recipes.folder import WEIGHTS, open_run
from segany.recipes.presets import SMALL_STEP
from segany.training.distributed import processes
from segany.training.fit import Job, fit
from segany.training.freezing import Adapters, freeze
from segany.training.interactive import InteractiveStep
from segany.training.optim import Schedule
from segany.training.settings import to_plain

if TYPE_CHECKING:
    from segany.training.contract import Status

PLAN = "plan.json"
PACE_STEPS = 4
"""Steps that are tried out, and forgotten, to see how many fit the time."""
LEAST_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class RoundConfig:
    """How a round trains and measures."""

    stages: tuple[Stage, ...] = STAGES
    """Whose masks are learnt from."""
    trains: Literal["decoder", "decoder+neck", "lora", "all"] = "decoder"
    """What learns on; see `segany train finetune`."""
    steps: int = 300
    """Optimiser steps, at most. 1 or more."""
    seconds: float | None = None
    """So long may training take, about; the number of steps follows from the pace. None is as long as it needs."""
    images: int = 4
    """Photos per step. 1 or more."""
    loss: Literal["paper", "small"] = "paper"
    """What is judged: the paper's losses, or those that keep small, hardly trained models from collapsing."""
    rate: float | None = None
    """Learning rate; what the kind of training usually takes when None. Above 0."""
    min_share: float = 0.002
    """Smaller masks neither train nor measure: share of the photo, in [0, 1]."""
    least_images: int = 5
    """Held-out photos below which nothing is published, whatever they say. 1 or more."""
    most_images: int = 200
    """Held-out photos that measure, at most. 1 or more."""
    most_masks: int = 12
    """Masks of each, at most. 1 or more."""
    seed: int = 0
    """Of views and prompts."""

    def __post_init__(self) -> None:
        if self.trains not in FINETUNE:
            raise OptionError(f"what learns must be one of {', '.join(FINETUNE)}; got {self.trains!r}. Change it.")
        if not self.stages or not set(self.stages) <= set(STAGES):
            raise OptionError(f"stages must be among {', '.join(STAGES)}; got {self.stages}. Name one or more.")
        if self.loss not in ("paper", "small"):
            raise OptionError(f"loss must be paper or small; got {self.loss!r}. Change it.")
        for name in ("steps", "images", "least_images", "most_images", "most_masks"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be 1 or more; got {getattr(self, name)}. Raise it.")
        for name in ("seconds", "rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise OptionError(f"{name} must be above 0; got {value}. Raise it or leave it out.")
        if not 0 <= self.min_share <= 1:
            raise OptionError(f"min_share must be from 0 to 1; got {self.min_share}. A percent is 0.01.")

    def training(self, steps: int) -> FinetuneConfig:
        """The fine-tuning of so many steps."""
        base = FINETUNE[self.trains]
        batch = replace(base.batch, images=self.images, min_share=self.min_share)
        rate = self.rate or base.schedule.rate
        schedule = replace(base.schedule, steps=steps, warm_up=min(base.schedule.warm_up, steps // 5), rate=rate)
        loop = replace(base.loop, look_every=steps + 1, channels_last=True)
        step = SMALL_STEP if self.loss == "small" else base.step
        return replace(base, name="round", step=step, batch=batch, schedule=schedule, loop=loop, seed=self.seed)


def planned_steps(config: RoundConfig, loaded: LoadedModel, train: Path, place: Path, device: str) -> int:
    """How many steps fit the time; decided once for a round."""
    plan = place / PLAN
    if plan.is_file():
        return int(json.loads(plan.read_text(encoding="utf-8"))["steps"])
    steps, pace = config.steps, None
    if config.seconds is not None:
        import shutil

        times: list[float] = []
        trial = place / "pace"
        tried = config.training(PACE_STEPS)
        train_weights(tried, loaded, train, trial, device, lambda status: times.append(time.monotonic()))
        shutil.rmtree(trial, ignore_errors=True)
        pace = (times[-1] - times[0]) / max(1, len(times) - 1)
        steps = max(LEAST_STEPS, min(config.steps, int(config.seconds / max(pace, 1e-3))))
    atomic_write_json(plan, {"steps": steps, "seconds_per_step": pace, "config": asdict(config)}, indent=1)
    return steps


def train_weights(
    config: FinetuneConfig,
    loaded: LoadedModel,
    train: Path,
    out: Path,
    device: str,
    told: Callable[[Status], None] | None,
) -> None:
    """Fine-tune a copy of the weights on the snapshot's training part; the average over steps is written."""
    out.mkdir(parents=True, exist_ok=True)
    cache = train.parent.parent.parent / "cache" / f"{train.parent.name}-{loaded.config.canvas}"
    photos = photos_of(train, cache, loaded.config.canvas, config.batch.min_share)
    with processes(device) as group:
        open_run(out, "round", config, {"snapshot": train.parent.name, "model": loaded.fingerprint}, group)
        torch.manual_seed(config.seed)
        sam = deepcopy(loaded.model).to(group.device)
        store = feature_store(config, replace(loaded, model=sam), cache, group)
        freeze(sam, config.trains)
        adapters = Adapters(sam, rank=config.rank, alpha=config.alpha) if config.trains == "lora" else None
        source = batch_source(config, loaded, photos, store, group, batch=config.batch, views=config.views)
        job = Job(
            step=InteractiveStep(config.step),
            source=source,
            steps=config.schedule.steps,
            rate=Schedule(config.schedule),
            optimizer=config.optimizer,
            loop=config.loop,
            seed=config.seed,
            told=told,
            board=False,
        )
        fitted = fit(sam, job, out, group=group)
        sam.load_state_dict(fitted.state)
        if adapters is not None:
            adapters.merge()
        kept: dict[str, Any] = {key: loaded.metadata[key] for key in ("automatic", "licence") if key in loaded.metadata}
        about = {
            **kept,
            "recipe": "round",
            "training": to_plain(config),
            "started_from": loaded.fingerprint,
            "snapshot": train.parent.name,
            "steps": fitted.steps,
        }
        if group.is_main:
            save_model(sam.state_dict(), loaded.config, out / WEIGHTS, metadata=about)
        group.wait()


def photos_of(train: Path, cache: Path, canvas: int, min_share: float) -> CachedSet:
    if not (cache / INDEX).is_file():
        source = open_photos(train).source
        build_cache(
            cache,
            (OwnPhoto(source[index], train) for index in range(len(source))),
            longest_side=canvas,
            min_share=min_share,
        )
    if not (cache / PIXELS).stat().st_size:
        raise DataError(
            f"every mask to learn from is smaller than {min_share:g} of its photo. Annotate larger objects, or lower "
            "--min-share."
        )
    kept = PhotoCache(cache)
    return CachedSet("project", kept, kept.photos)
