"""Fine-tune a trained model on one's own photos: COCO JSON in, weights and a report of before and after out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from segany.core.errors import DataError
from segany.core.progress import Progress
from segany.data.photo_sets import PhotoSet
from segany.evaluation.sampling import MaskRow, SampleConfig
from segany.modeling.build import build_model
from segany.modeling.checkpoints.load import LoadedModel, load_model
from segany.modeling.checkpoints.save import save_model, save_official
from segany.modeling.config import ConvConfig
from segany.modeling.presets import TOY
from segany.modeling.sam import Sam
from segany.recipes.finetune_config import FINETUNE, FinetuneConfig
from segany.recipes.finetune_data import OwnData, own_data, painted_coco
from segany.recipes.finetune_scores import SCORE, Gain, HeldOutLook, load_rows, means, save_rows, write_report
from segany.recipes.folder import CONFIG, WEIGHTS, open_run
from segany.training.batches import PromptableSource, Stretch
from segany.training.config import BatchConfig
from segany.training.contract import Hook, Moment, Status
from segany.training.distributed import Processes, processes
from segany.training.early import KeepBest, Patience, best_so_far, best_weights
from segany.training.features import FeatureSource, FeatureStore
from segany.training.fit import FitResult, Job, fit
from segany.training.freezing import Adapters, freeze
from segany.training.interactive import InteractiveStep
from segany.training.looks import SamplePictures
from segany.training.optim import Schedule
from segany.training.settings import to_plain
from segany.transforms.config import AS_IS

PRESETS = FINETUNE
OFFICIAL, BEFORE = "model.pth", "before.json"
SHEET = 9
"""Photos on a sheet of sample predictions."""
FEW = 10
"""Held-out photos below which the report warns."""


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning leaves.

    Attributes:
        fitted: the training.
        best_step: whose weights were kept; 0 means those it started from.
        gain: before and after on the held-out photos.
        notes: what should be known about the scores.
    """

    fitted: FitResult
    best_step: int
    gain: Gain
    notes: list[str]


def run(
    config: FinetuneConfig,
    out: Path,
    *,
    images: Path,
    annotations: Path,
    model: str | Path = "tiny",
    cache: Path | None = None,
    max_steps: int | None = None,
    device: str = "auto",
    told: Callable[[Status], None] | None = None,
    prepared: Callable[[str], Progress] | None = None,
    board: bool = True,
) -> FinetuneResult:
    """Fine-tune, or go on with it.

    Args:
        config: the whole training; a preset, changed or not.
        out: folder for config.json, metrics.jsonl, evaluations.jsonl, checkpoints/, pictures/, report.json, report.md
            and model.safetensors; for models with an official layout model.pth too.
        images: folder of the photos.
        annotations: COCO JSON (polygons or RLE).
        model: what to start from, as `load_model` takes it.
        cache: folder of decoded photos and features; OUT/cache when left out.
        max_steps: stop after so many steps of the whole training; the schedule stays as it is.
        device: as everywhere.
        told: called after every step, by the main process.
        prepared: name of a preparation → who is told how far it is.
        board: write TensorBoard files when the library is there.

    Raises:
        DataError: the annotations cannot be used.
        OptionError: the folder holds another run; the message shows what differs.
        Cancelled: asked to stop; the same call goes on.
    """
    loaded = load_model(model)
    out.mkdir(parents=True, exist_ok=True)
    kept = cache or out / "cache"
    with processes(device) as group:
        data = own_data(
            images,
            annotations,
            config,
            canvas=loaded.config.canvas,
            cache=kept,
            decodes=group.is_main,
            together=group.wait,
            progress=prepared("reading photos") if prepared else None,
        )
        open_run(out, "finetune", config, {"annotations": data.fingerprint, "model": loaded.fingerprint}, group)

        torch.manual_seed(config.seed)
        sam = loaded.model.to(group.device)
        store = feature_store(config, loaded, kept, group)
        look = _look(config, data, store)
        freeze(sam, config.trains)
        before = _before(out, look, sam, group, prepared)
        adapters = Adapters(sam, rank=config.rank, alpha=config.alpha) if config.trains == "lora" else None
        if best_so_far(out) is None:
            KeepBest(lambda moment: means(before), SCORE)(Moment(sam, 0, out, group.is_main, group.device))
        source = batch_source(config, loaded, data.training, store, group, batch=config.batch, views=config.views)
        if isinstance(source, FeatureSource):
            source.prepare(prepared("encoding views, once") if prepared else None)
        job = Job(
            step=InteractiveStep(config.step),
            source=source,
            steps=config.schedule.steps,
            rate=Schedule(config.schedule),
            optimizer=config.optimizer,
            loop=config.loop,
            seed=config.seed,
            hooks=[KeepBest(look, SCORE), *_sheets(config, loaded, data, store, group)],
            told=told,
            board=board,
            enough=Patience(out, SCORE, config.patience, means(before)[SCORE]),
        )
        fitted = fit(sam, job, out, group=group, max_steps=max_steps)

        group.wait()
        best = best_so_far(out)
        assert best is not None
        sam.load_state_dict(best_weights(out))
        if adapters is not None:
            adapters.merge()
        sam.eval()
        gain = Gain.of(before, look.rows(sam, group.device))
        result = FinetuneResult(fitted, best[0], gain, _notes(config, data, gain, best[0], fitted))
        if group.is_main:
            _publish(config, out, loaded, sam.state_dict(), result)
        group.wait()
    return result


def rehearse(name: str, out: Path) -> FinetuneConfig:
    """A preset at toy size on painted scenes, from an untrained model, in seconds; says with which config."""
    config = PRESETS[name].shrunk()
    images, annotations = painted_coco(out / "painted", 6, TOY.canvas)
    torch.manual_seed(1)
    untrained = save_model(build_model(TOY).state_dict(), TOY, out / "untrained.safetensors")
    run(config, out, images=images, annotations=annotations, model=untrained, device="cpu", board=False)
    return config


def feature_store(config: FinetuneConfig, loaded: LoadedModel, cache: Path, group: Processes) -> FeatureStore | None:
    """Features of the part of the encoder that holds still."""
    if not config.frozen_encoder:
        return None
    sam, neck = loaded.model, config.trains == "decoder+neck"

    def compute(pixels: Tensor) -> Tensor:
        pixels = pixels.to(group.device)
        features: Tensor = sam.image_encoder.trunk(pixels) if neck else sam.encode(pixels)  # type: ignore[operator]
        return features

    kind = "before the neck" if neck else "embedding"
    return FeatureStore(cache / "features", f"{loaded.fingerprint}|{kind}", compute)


def _look(config: FinetuneConfig, data: OwnData, store: FeatureStore | None) -> HeldOutLook:
    sample = SampleConfig(
        min_area_share=config.batch.min_share,
        masks_per_image=config.heldout_masks,
        images_per_pack=config.heldout_images,
    )
    return HeldOutLook(data.heldout, sample, store, config.trains == "decoder+neck")


def _before(
    out: Path, look: HeldOutLook, sam: Sam, group: Processes, prepared: Callable[[str], Progress] | None
) -> list[MaskRow]:
    """Scores of the weights the run starts from, measured once."""
    path = out / BEFORE
    if path.is_file():
        return load_rows(path)
    group.wait()
    rows = look.rows(sam, group.device, prepared("measuring before") if prepared else None)
    if not rows:
        raise DataError(
            f"no mask of the held-out photos covers {look.sample.min_area_share:g} of its photo, so nothing can be "
            "measured. Lower batch.min_share with --config, or annotate more photos."
        )
    if group.is_main:
        save_rows(path, rows)
    group.wait()
    return rows


def batch_source(
    config: FinetuneConfig,
    loaded: LoadedModel,
    photos: PhotoSet,
    store: FeatureStore | None,
    group: Processes,
    *,
    batch: BatchConfig,
    views: int,
) -> FeatureSource | PromptableSource:
    mean, std = loaded.config.pixel_mean, loaded.config.pixel_std
    simulation, canvas = config.step.simulation, loaded.config.canvas
    if store is not None:
        return FeatureSource(
            photos,
            batch,
            simulation,
            canvas=canvas,
            views=views,
            seed=config.seed,
            pixel_mean=mean,
            pixel_std=std,
            store=store,
            before_neck=config.trains == "decoder+neck",
            rank=group.rank,
            world=group.world,
        )
    return PromptableSource(
        [photos],
        [Stretch(config.schedule.steps, canvas, batch, simulation)],
        seed=config.seed,
        pixel_mean=mean,
        pixel_std=std,
        rank=group.rank,
        world=group.world,
    )


def _sheets(
    config: FinetuneConfig, loaded: LoadedModel, data: OwnData, store: FeatureStore | None, group: Processes
) -> list[Hook]:
    """Pictures of held-out photos."""
    count = min(SHEET, len(data.heldout))
    batch = replace(config.batch, images=count, view=AS_IS, masks_per_image=1, masks_per_device=count)
    source = batch_source(config, loaded, data.watched, store, replace(group, rank=0, world=1), batch=batch, views=1)
    return [SamplePictures(source(0)[0], loaded.config.pixel_mean, loaded.config.pixel_std, name="heldout")]


def _notes(config: FinetuneConfig, data: OwnData, gain: Gain, best_step: int, fitted: FitResult) -> list[str]:
    notes = [
        f"The weights of step {best_step} of {fitted.steps} are kept: those that were best on the held-out photos. "
        "Having chosen the step, these photos flatter the result a little; photos that the run never saw are the "
        "honest test (`segany evaluate`, `--model OUT`)."
    ]
    if best_step == 0:
        notes.append("No step was better than the weights it started from, so OUT holds those, unchanged.")
    if fitted.steps < config.schedule.steps:
        notes.append(
            f"Training ended at step {fitted.steps} of {config.schedule.steps}: {config.patience} looks without a new "
            "best, or a limit on the steps."
        )
    if gain.before.images < FEW:
        notes.append(f"Few photos are held out ({gain.before.images}): the intervals say little. Annotate more.")
    if data.missing:
        notes.append(f"{len(data.missing)} photos of the annotation file were not found and are left out.")
    return notes


def _publish(
    config: FinetuneConfig, out: Path, loaded: LoadedModel, state: dict[str, Tensor], result: FinetuneResult
) -> None:
    starts = json.loads((out / CONFIG).read_text(encoding="utf-8"))
    about = {
        "recipe": "finetune",
        "training": to_plain(config),
        "started_from": {"fingerprint": loaded.fingerprint, "metadata": loaded.metadata},
        "data": starts["data"],
        "steps": result.best_step,
        "seed": config.seed,
        "revision": starts["starts"][-1]["revision"] or "",
        "scores": {name: value.mean for name, value in result.gain.after.scores.items()},
    }
    save_model(state, loaded.config, out / WEIGHTS, metadata=about)
    if not isinstance(loaded.config.encoder, ConvConfig):
        save_official(state, out / OFFICIAL)
    shown = {key: about[key] for key in ("data", "steps", "seed", "revision")}
    shown |= {"model": loaded.config.name, "trains": config.trains, "steps_done": result.fitted.steps}
    write_report(out, result.gain, shown, result.notes)
