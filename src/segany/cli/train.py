"""`segany train`: weights from data."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from segany.cli.console import LINE_EVERY_S, Bar, clock, say, show
from segany.core.errors import OptionError

if TYPE_CHECKING:
    from types import TracebackType

    from segany.core.progress import Progress
    from segany.training.contract import Status

train = App(
    name="train",
    help="Train a model; the same command with the same OUT goes on where it stopped.",
    help_format="plaintext",
)


@train.command
def promptable(
    *,
    preset: Annotated[str, Parameter(help="tiny, toy, vit_b, vit_l or vit_h: the model and its training.")] = "tiny",
    data: Annotated[
        list[Path] | None,
        Parameter(
            help="Labelled photos: a folder with packs, SA-1B files or shards, a COCO file, label maps, PNG folders; "
            "may be repeated. Painted scenes alone when left out.",
            negative="",
        ),
    ] = None,
    init: Annotated[
        str | None,
        Parameter(help="Weights to start from: OUT of `segany train mae` or of another training, a name or a path."),
    ] = None,
    config: Annotated[
        Path | None, Parameter(help="JSON with fields of the training that differ from the preset's.")
    ] = None,
    max_steps: Annotated[int | None, Parameter(help="Stop after so many steps; the schedule stays.")] = None,
    seed: Annotated[int | None, Parameter(help="Of weights, views and prompts; the preset's when left out.")] = None,
    cache: Annotated[Path | None, Parameter(help="Folder of decoded packs; in the user's cache by default.")] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[int | None, Parameter(help="CPU threads; all cores when left out.")] = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder of the run.")],
) -> int:
    """Train the promptable task: simulated clicks and boxes, corrected over and over.

    OUT holds config.json, metrics.jsonl, evaluations.jsonl, checkpoints, pictures and, at the end, model.safetensors,
    which `--model OUT` loads. Several processes: torchrun --nproc-per-node N -m segany train promptable ...
    """
    from segany.recipes.presets import PROMPTABLE

    training = _chosen(PROMPTABLE, preset, config, seed)
    _prepare(max_steps, threads)
    from segany.recipes.train_promptable import run

    result = run(
        training,
        output,
        data=data or (),
        initial=init,
        cache=cache,
        max_steps=max_steps,
        device=device,
        told=Teller().tell,
    )
    if not _is_main():
        return 0
    for name, value in result.numbers.items():
        show(f"{name}: {value:.3f}")
    say(f"{result.steps} steps done. Weights: {output / 'model.safetensors'}")
    return 0


@train.command
def finetune(
    *,
    images: Annotated[Path, Parameter(help="Folder of your photos.")],
    annotations: Annotated[Path, Parameter(help="Their masks: COCO JSON, polygons or RLE.")],
    model: Annotated[str, Parameter(help="What to start from: tiny, vit_b, …, or a path.")] = "tiny",
    preset: Annotated[
        str,
        Parameter(help="What learns: decoder (fast, the default), decoder+neck, lora (adapters in the encoder), all."),
    ] = "decoder",
    config: Annotated[
        Path | None, Parameter(help="JSON with fields of the training that differ from the preset's.")
    ] = None,
    max_steps: Annotated[int | None, Parameter(help="Stop after so many steps; the schedule stays.")] = None,
    seed: Annotated[int | None, Parameter(help="Of views and prompts; the preset's when left out.")] = None,
    cache: Annotated[
        Path | None, Parameter(help="Folder of decoded photos and embeddings; OUT/cache by default.")
    ] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[int | None, Parameter(help="CPU threads; all cores when left out.")] = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder of the run.")],
) -> int:
    """Teach a model your own photos, on a CPU or a small GPU.

    Part of the photos is held out: it chooses the best step, ends the training when nothing gets better, and measures
    before and after. OUT holds model.safetensors (and model.pth in the official layout), which `--model OUT` loads,
    report.md, report.json, pictures, metrics.jsonl. The same command goes on where it stopped.
    """
    from segany.recipes.finetune_config import FINETUNE

    training = _chosen(FINETUNE, preset, config, seed)
    _prepare(max_steps, threads)
    from segany.recipes.finetune import run

    with Stages() as stages:
        result = run(
            training,
            output,
            images=images,
            annotations=annotations,
            model=model,
            cache=cache,
            max_steps=max_steps,
            device=device,
            told=Teller().tell,
            prepared=stages.begin,
        )
    if not _is_main():
        return 0
    for note in result.notes:
        say(note)
    show(result.gain.verdict)
    say(f"Report: {output / 'report.md'}. Weights: {output / 'model.safetensors'}")
    return 0


@train.command
def mae(
    *,
    preset: Annotated[
        str, Parameter(help="tiny, toy, vit_b, vit_l or vit_h: whose encoder, and its training.")
    ] = "tiny",
    data: Annotated[
        list[Path] | None,
        Parameter(
            help="Photos, no masks needed: any folder of images, or a folder with packs; may be repeated. Painted "
            "scenes alone when left out.",
            negative="",
        ),
    ] = None,
    config: Annotated[
        Path | None, Parameter(help="JSON with fields of the training that differ from the preset's.")
    ] = None,
    max_steps: Annotated[int | None, Parameter(help="Stop after so many steps; the schedule stays.")] = None,
    seed: Annotated[int | None, Parameter(help="Of weights and views; the preset's when left out.")] = None,
    cache: Annotated[Path | None, Parameter(help="Folder of decoded packs; in the user's cache by default.")] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[int | None, Parameter(help="CPU threads; all cores when left out.")] = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder of the run.")],
) -> int:
    """Pre-train an image encoder on photos alone: most of each is hidden, the model learns to complete it.

    OUT holds encoder.safetensors, pictures of completed photos, metrics.jsonl and checkpoints. Go on with
    `segany train promptable --init OUT`.
    """
    from segany.recipes.mae_config import MAE

    training = _chosen(MAE, preset, config, seed)
    _prepare(max_steps, threads)
    from segany.recipes.pretrain_mae import run

    result = run(training, output, data=data or (), cache=cache, max_steps=max_steps, device=device, told=Teller().tell)
    if not _is_main():
        return 0
    for name, value in result.numbers.items():
        show(f"{name}: {value:.3f}")
    say(f"{result.steps} steps done. Go on with: segany train promptable --init {output}")
    return 0


@train.command
def distill(
    *,
    teacher: Annotated[str, Parameter(help="The model to learn from: vit_h, vit_b, …, or a path.")],
    student: Annotated[
        str, Parameter(help="tiny, vit_t, … for a fresh one, or the path of a model that learns on.")
    ] = "tiny",
    preset: Annotated[
        str, Parameter(help="What is learnt: both (embeddings and answers to prompts), embedding, masks.")
    ] = "both",
    data: Annotated[
        list[Path] | None,
        Parameter(
            help="Photos, no masks needed: any folder of images, or a folder with packs; may be repeated. Painted "
            "scenes alone when left out.",
            negative="",
        ),
    ] = None,
    config: Annotated[
        Path | None, Parameter(help="JSON with fields of the training that differ from the preset's.")
    ] = None,
    max_steps: Annotated[int | None, Parameter(help="Stop after so many steps; the schedule stays.")] = None,
    seed: Annotated[int | None, Parameter(help="Of weights, views and prompts; the preset's when left out.")] = None,
    cache: Annotated[
        Path | None,
        Parameter(
            help="Folder of decoded packs and the teacher's embeddings; the user's cache and OUT/cache by default."
        ),
    ] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[int | None, Parameter(help="CPU threads; all cores when left out.")] = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder of the run.")],
) -> int:
    """Teach a small model what a large one knows, on photos without masks.

    The teacher sees every photo once. OUT holds model.safetensors, which `--model OUT` loads, metrics.jsonl and
    checkpoints. The same command goes on where it stopped.
    """
    from segany.recipes.distill_config import DISTILL

    training = _chosen(DISTILL, preset, config, seed)
    _prepare(max_steps, threads)
    from segany.recipes.distill import run

    with Stages() as stages:
        result = run(
            training,
            output,
            teacher=teacher,
            student=student,
            data=data or (),
            cache=cache,
            max_steps=max_steps,
            device=device,
            told=Teller().tell,
            prepared=stages.begin,
        )
    if not _is_main():
        return 0
    for name, value in result.numbers.items():
        show(f"{name}: {value:.3f}")
    say(f"{result.steps} steps done. Weights: {output / 'model.safetensors'}")
    return 0


class Stages:
    """Preparations one after the other, each with its own bar."""

    def __init__(self) -> None:
        self._bar: Bar | None = None

    def __enter__(self) -> Stages:
        return self

    def begin(self, title: str) -> Progress:
        """A new bar in place of the last."""
        self.__exit__(None, None, None)
        self._bar = Bar(title).__enter__()
        return self._update

    def _update(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(done, total)
            if done == total:
                self.__exit__(None, None, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)
            self._bar = None


def _is_main() -> bool:
    """Whether this process speaks for all that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"


def _chosen(presets: dict[str, Any], name: str, path: Path | None, seed: int | None) -> Any:
    """A preset, changed by a JSON file and a seed."""
    from dataclasses import replace

    from segany.training.settings import from_plain

    if name not in presets:
        raise OptionError(f"--preset must be one of {', '.join(presets)}; got {name!r}.")
    training = presets[name]
    if path is not None:
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OptionError(f"--config must be a JSON file; {path} cannot be read: {error}.") from error
        training = from_plain(type(training), value, base=training)
    return training if seed is None else replace(training, seed=seed)


def _prepare(max_steps: int | None, threads: int | None) -> None:
    """Refuse impossible numbers, then set the threads."""
    for option, value in (("--max-steps", max_steps), ("--threads", threads)):
        if value is not None and value < 1:
            raise OptionError(f"{option} must be 1 or more; got {value}. Leave it out for the default.")
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


class Teller:
    """How far a training is: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._last = 0.0

    def tell(self, status: Status) -> None:
        """Show a step."""
        now, ended = time.monotonic(), status.step == status.steps
        if sys.stderr.isatty():
            print(f"\r\x1b[2K{_told(status)}", end="\n" if ended else "", file=sys.stderr, flush=True)
        elif now - self._last >= LINE_EVERY_S or ended:
            self._last = now
            say(_told(status))


def _told(status: Status) -> str:
    left = "" if status.seconds_left is None else f", about {clock(status.seconds_left)} left"
    return f"step {status.step} of {status.steps}: loss {status.loss:.3f}, {status.images_per_s:.1f} images/s{left}"
