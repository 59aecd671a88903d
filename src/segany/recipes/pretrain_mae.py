"""Pre-train an image encoder on photos alone: hide most of each, learn to complete it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from segany.data.photo_sets import PhotoSet
from segany.data.unlabelled import UnlabelledSet
from segany.modeling.build import build_encoder
from segany.modeling.config import ViTConfig
from segany.modeling.mae import MaskedAutoencoder, resized_positions
from segany.recipes.folder import open_run
from segany.recipes.initial import ENCODER_WEIGHTS, NECK, run_of, save_encoder
from segany.recipes.mae_config import MAE, MaeConfig
from segany.recipes.photos import gathered_photos
from segany.training.contract import Status
from segany.training.distributed import Processes, processes
from segany.training.fit import FitResult, Job, fit
from segany.training.masked import CropSource, MaskedStep, PaintedPictures, WatchPainting
from segany.training.optim import Schedule
from segany.training.settings import to_plain

PRESETS = MAE
WATCHED = 32
"""Most views that a look takes."""


def run(
    config: MaeConfig,
    out: Path,
    *,
    data: Sequence[Path] = (),
    sets: Sequence[PhotoSet] = (),
    cache: Path | None = None,
    max_steps: int | None = None,
    device: str = "auto",
    told: Callable[[Status], None] | None = None,
    board: bool = True,
) -> FitResult:
    """Pre-train, or go on with it.

    Args:
        config: the whole training; a preset, changed or not.
        out: folder for config.json, metrics.jsonl, evaluations.jsonl, checkpoints/, pictures/ and encoder.safetensors,
            which `segany train promptable --init OUT` starts from.
        data: folders of photos, labelled or not; of folders with packs the held-out part stays out. None means
            painted scenes alone.
        sets: further photos, as values.
        cache: folder of decoded packs; one in the user's cache folder when left out.
        max_steps: stop after so many steps of the whole training; the schedule stays as it is.
        device: as everywhere.
        told: called after every step, by the main process.
        board: write TensorBoard files when the library is there.

    Returns:
        weights of encoder and decoder, and the last numbers.

    Raises:
        OptionError: the folder holds another run; the message shows what differs.
        TrainingError: loss or gradient is not finite.
        Cancelled: asked to stop; the same call goes on.
    """
    out.mkdir(parents=True, exist_ok=True)
    with processes(device) as group:
        drawn, watched = gathered_photos(data, cache, group, UnlabelledSet)
        drawn = [*drawn, *sets]
        fingerprints = {photos.name: photos.fingerprint for photos in drawn}
        open_run(out, "mae", config, fingerprints, group)

        torch.manual_seed(config.seed)
        model = MaskedAutoencoder(
            replace(config.model, canvas=config.canvas),
            width=config.decoder_width,
            depth=config.decoder_depth,
            heads=config.decoder_heads,
        )
        step = MaskedStep(config.hidden, config.normalise)
        still = _source(config, watched, min(WATCHED, config.images), config.seed + 1, Processes(group.device))(0)
        job = Job(
            step=step,
            source=_source(config, drawn, config.images, config.seed, group),
            steps=config.schedule.steps,
            rate=Schedule(config.schedule),
            optimizer=config.optimizer,
            loop=config.loop,
            seed=config.seed,
            hooks=[
                WatchPainting(still, step),
                PaintedPictures(still[0], step, config.model.pixel_mean, config.model.pixel_std),
            ],
            told=told,
            board=board,
        )
        result = fit(model, job, out, group=group, max_steps=max_steps)
        if group.is_main:
            about = {"recipe": "mae", "training": to_plain(config), "steps": result.steps, "seed": config.seed}
            about |= {**run_of(out), "scores": result.numbers}
            save_encoder(encoder_weights(config, result.state), config.model, out / ENCODER_WEIGHTS, about)
        group.wait()
    return result


def rehearse(name: str, out: Path) -> MaeConfig:
    """A preset at toy size on painted scenes, trained in seconds; says with which config."""
    config = PRESETS[name].shrunk()
    run(config, out, device="cpu", board=False)
    return config


def encoder_weights(config: MaeConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's weights for the promptable model's own canvas; of a ViT without the neck, which did not learn."""
    wanted = {f"image_encoder.{name}": tensor for name, tensor in build_encoder(config.model).state_dict().items()}
    kept = {name: tensor for name, tensor in state.items() if name in wanted}
    if isinstance(config.model.encoder, ViTConfig):
        kept = {name: tensor for name, tensor in kept.items() if not name.startswith(NECK)}
    return resized_positions(kept, wanted)


def _source(config: MaeConfig, drawn: Sequence[PhotoSet], images: int, seed: int, group: Processes) -> CropSource:
    return CropSource(
        drawn,
        images=images,
        per_device=config.per_device,
        canvas=config.canvas,
        units=config.canvas // config.unit,
        min_area=config.min_area,
        seed=seed,
        pixel_mean=config.model.pixel_mean,
        pixel_std=config.model.pixel_std,
        rank=group.rank,
        world=group.world,
    )
