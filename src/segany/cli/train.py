"""`segany train`: weights from data."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from segany.cli.console import LINE_EVERY_S, clock, say, show
from segany.core.errors import OptionError

if TYPE_CHECKING:
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
            help="Labelled photos: a folder with packs, a folder in the SA-1B layout, or a COCO file; may be repeated. "
            "Painted scenes alone when left out.",
            negative="",
        ),
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
    _check(max_steps, threads)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    from segany.recipes.train_promptable import run

    result = run(
        training, output, data=data or (), cache=cache, max_steps=max_steps, device=device, told=_Teller().tell
    )
    if os.environ.get("RANK", "0") != "0":
        return 0
    for name, value in result.numbers.items():
        show(f"{name}: {value:.3f}")
    say(f"{result.steps} steps done. Weights: {output / 'model.safetensors'}")
    return 0


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


def _check(max_steps: int | None, threads: int | None) -> None:
    for option, value in (("--max-steps", max_steps), ("--threads", threads)):
        if value is not None and value < 1:
            raise OptionError(f"{option} must be 1 or more; got {value}. Leave it out for the default.")


class _Teller:
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
