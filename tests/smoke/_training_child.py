"""A training in a process of its own, which can be told to die while it writes a checkpoint.

Usage: _training_child.py OUT STEPS [STEP_TO_DIE_IN]
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch

from segany.recipes.presets import PROMPTABLE
from segany.recipes.train_promptable import run
from segany.training import checkpointing


def main(out: str, steps: str, dies_in: str = "") -> None:
    torch.set_num_threads(1)
    if dies_in:
        flush = checkpointing.flush

        def die(path: Path) -> None:
            """Half a checkpoint is on the disk under its temporary name; the process ends without a goodbye."""
            if path.suffix == ".pt" and checkpointing.Checkpoints(path.parent, 1).steps()[-1:] >= [int(dies_in)]:
                os.truncate(path, path.stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            flush(path)

        checkpointing.flush = die
    config = PROMPTABLE["toy"].shrunk()
    config = replace(
        config,
        optimizer=replace(config.optimizer, drop_path=0.2),
        loop=replace(config.loop, save_every=4, look_every=10, keep=2),
    )
    run(config, Path(out), max_steps=int(steps), device="cpu", board=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
