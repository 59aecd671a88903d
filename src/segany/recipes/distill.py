"""Distil a model: a student learns to embed photos and answer prompts as its teacher does. No masks needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from segany.core.errors import OptionError
from segany.core.identity import fingerprint
from segany.core.progress import Progress
from segany.data.photo_sets import PhotoSet
from segany.data.unlabelled import UnlabelledSet
from segany.modeling.build import build_model
from segany.modeling.checkpoints.load import LoadedModel, load_model
from segany.modeling.checkpoints.save import save_model, save_official
from segany.modeling.config import ConvConfig, ModelConfig
from segany.modeling.presets import PRESETS as MODELS
from segany.modeling.presets import TOY
from segany.modeling.sam import Sam
from segany.recipes.config import shrunk_model
from segany.recipes.distill_config import DISTILL, DistillConfig
from segany.recipes.folder import WEIGHTS, open_run
from segany.recipes.initial import run_of
from segany.recipes.photos import gathered_photos
from segany.training.contract import Status
from segany.training.distilling import Distillation, DistillSource, DistillStep, WatchTeacher
from segany.training.distributed import Processes, processes
from segany.training.features import FeatureStore
from segany.training.fit import FitResult, Job, fit
from segany.training.optim import Schedule
from segany.training.settings import to_plain

PRESETS = DISTILL
OFFICIAL = "model.pth"
WATCHED = 16
"""Most views that a look takes."""
OPINIONS, LOUD = "output_hypernetworks_mlps", 8.0
"""What makes an untrained teacher's masks decided enough to be learnt from, when trying out."""
DECODER = ("prompt_encoder.", "mask_decoder.")


def run(
    config: DistillConfig,
    out: Path,
    *,
    teacher: str | Path,
    student: str | Path = "tiny",
    data: Sequence[Path] = (),
    sets: Sequence[PhotoSet] = (),
    cache: Path | None = None,
    max_steps: int | None = None,
    device: str = "auto",
    told: Callable[[Status], None] | None = None,
    prepared: Callable[[str], Progress] | None = None,
    board: bool = True,
) -> FitResult:
    """Distil, or go on with it.

    Args:
        config: the whole training; a preset, changed or not.
        out: folder for config.json, metrics.jsonl, evaluations.jsonl, checkpoints/ and model.safetensors; for students
            with an official layout model.pth too.
        teacher: a model's name or path, as `load_model` takes it.
        student: name of a preset, which starts from fresh weights, or the path of a model that learns on. A fresh
            student whose decoder has the teacher's sizes takes over the teacher's.
        data: folders of photos, labelled or not; of folders with packs the held-out part stays out. None means
            painted scenes alone.
        sets: further photos, as values.
        cache: folder of decoded packs, and of the teacher's embeddings (in `features`); when left out, one in the
            user's cache folder and OUT/cache.
        max_steps: stop after so many steps of the whole training; the schedule stays as it is.
        device: as everywhere.
        told: called after every step, by the main process.
        prepared: name of a preparation → who is told how far it is.
        board: write TensorBoard files when the library is there.

    Returns:
        weights of student and projection, and the last numbers.

    Raises:
        OptionError: the folder holds another run; or the student's decoder would never learn anything.
        Cancelled: asked to stop; the same call goes on.
    """
    master = load_model(teacher)
    torch.manual_seed(config.seed)
    pupil, origin = _student(student, master, config)
    out.mkdir(parents=True, exist_ok=True)
    with processes(device) as group:
        drawn, watched = gathered_photos(data, cache, group, UnlabelledSet)
        drawn = [*drawn, *sets]
        known = {"teacher": master.fingerprint, "student": origin}
        open_run(out, "distill", config, known | {photos.name: photos.fingerprint for photos in drawn}, group)

        store = _store(master, cache or out / "cache", group)
        source = _source(config, drawn, pupil.config, master.config, store, config.seed, config.images, group)
        source.prepare(prepared("the teacher looks, once") if prepared else None)
        step = DistillStep(master.model, config.embedding, config.masks, config.prompts, config.simulation)
        alone = Processes(group.device)
        count = min(WATCHED, config.images)
        still = _source(config, watched, pupil.config, master.config, store, config.seed + 1, count, alone)
        job = Job(
            step=step,
            source=source,
            steps=config.schedule.steps,
            rate=Schedule(config.schedule),
            optimizer=config.optimizer,
            loop=config.loop,
            seed=config.seed,
            hooks=[WatchTeacher(still(0), step)],
            told=told,
            board=board,
        )
        model = Distillation(pupil, master.config)
        result = fit(model, job, out, group=group, max_steps=max_steps)
        if group.is_main:
            _publish(config, out, pupil.config, result, master)
        group.wait()
    return result


def rehearse(name: str, out: Path) -> DistillConfig:
    """A preset at toy size on painted scenes, from an untrained teacher, in seconds; says with which config."""
    config = PRESETS[name].shrunk()
    torch.manual_seed(1)
    teacher = out / "teacher.safetensors"
    opinions = {name: tensor * (LOUD if OPINIONS in name else 1) for name, tensor in _fresh(TOY).items()}
    save_model(opinions, TOY, teacher)
    small = shrunk_model(MODELS["tiny"])
    student = out / "student.safetensors"
    save_model(_fresh(small), small, student)
    run(config, out, teacher=teacher, student=student, device="cpu", board=False)
    return config


def _fresh(config: ModelConfig) -> dict[str, Tensor]:
    return build_model(config).state_dict()


def _student(student: str | Path, teacher: LoadedModel, config: DistillConfig) -> tuple[Sam, str]:
    """The student before its first step, and the fingerprint of its weights."""
    if Path(student).expanduser().exists():
        loaded = load_model(student)
        return loaded.model, loaded.fingerprint
    if str(student) not in MODELS:
        raise OptionError(
            f"--student must be the path of a model or one of {', '.join(MODELS)} (which start from fresh weights); "
            f"got {str(student)!r}."
        )
    model = build_model(MODELS[str(student)])
    own = model.state_dict()
    theirs = {name: t for name, t in teacher.model.state_dict().items() if name.startswith(DECODER)}
    fits = all(name in own and own[name].shape == tensor.shape for name, tensor in theirs.items())
    if fits and theirs.keys() == {name for name in own if name.startswith(DECODER)}:
        model.load_state_dict(theirs, strict=False)
    elif not config.masks:
        raise OptionError(
            f"the decoder of {student} has other sizes than the teacher's, so it cannot be taken over, and embeddings "
            "alone would never teach it. Take the preset both or masks, or a trained model as --student."
        )
    return model, fingerprint(
        {"preset": str(student), "seed": config.seed, "decoder": "taught" if not fits else "kept"}
    )


def _store(teacher: LoadedModel, cache: Path, group: Processes) -> FeatureStore:
    model = teacher.model.to(group.device).eval().requires_grad_(False)

    def compute(pixels: Tensor) -> Tensor:
        return model.encode(pixels.to(group.device))

    return FeatureStore(cache / "features", f"{teacher.fingerprint}|embedding", compute)


def _source(
    config: DistillConfig,
    photos: Sequence[PhotoSet],
    student: ModelConfig,
    teacher: ModelConfig,
    store: FeatureStore,
    seed: int,
    images: int,
    group: Processes,
) -> DistillSource:
    return DistillSource(
        photos,
        images=images,
        per_device=config.per_device,
        views=config.views,
        view=config.view,
        student=student,
        teacher=teacher,
        store=store,
        seed=seed,
        painted=config.painted,
        rank=group.rank,
        world=group.world,
    )


def _publish(config: DistillConfig, out: Path, model: ModelConfig, result: FitResult, teacher: LoadedModel) -> None:
    state = {
        name.removeprefix("student."): tensor for name, tensor in result.state.items() if name.startswith("student.")
    }
    about = {"recipe": "distill", "training": to_plain(config), "steps": result.steps, "seed": config.seed}
    about |= {**run_of(out), "scores": result.numbers}
    about |= {"teacher": {"fingerprint": teacher.fingerprint, "name": teacher.config.name}}
    save_model(state, model, out / WEIGHTS, metadata=about)
    if not isinstance(model.encoder, ConvConfig):
        save_official(state, out / OFFICIAL)
