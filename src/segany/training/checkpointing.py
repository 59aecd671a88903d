"""Checkpoints that are there whole or not at all, whenever the process dies."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segany.core.errors import CheckpointError
from segany.core.files import atomic_path

NAME = re.compile(r"step-(\d{9})\.pt")


class Checkpoints:
    """The newest few states of a run.

    A state is written beside its place, flushed to the disk, then renamed: what has the final name is complete.

    Args:
        folder: made when something is saved.
        keep: how many stay, at least 1.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def steps(self) -> list[int]:
        """Steps with a checkpoint, ascending."""
        if not self.folder.is_dir():
            return []
        found = (NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match.group(1)) for match in found if match)

    def path(self, step: int) -> Path:
        """Where the state of a step lies."""
        return self.folder / f"step-{step:09d}.pt"

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a state, then remove those beyond `keep`."""
        with atomic_path(self.path(step)) as part:
            torch.save(state, part)
            flush(part)
        flush(self.folder)
        for old in self.steps()[: -self.keep]:
            self.path(old).unlink(missing_ok=True)
        return self.path(step)

    def latest(self) -> dict[str, Any] | None:
        """The newest state, on the CPU; None when there is none.

        Raises:
            CheckpointError: the file is damaged, which no interruption of this program causes.
        """
        steps = self.steps()
        if not steps:
            return None
        path = self.path(steps[-1])
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise CheckpointError(
                f"{path} must be a checkpoint of this program; reading it failed: {error}. The disk may have lost "
                "data: remove this file to go on from the checkpoint before it."
            ) from error
        return state

    def clean(self) -> None:
        """Remove what a killed process left half-written."""
        if self.folder.is_dir():
            for part in self.folder.glob(".step-*.part.pt"):
                part.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Make sure that a file's or folder's content is on the disk; folders only where the system can."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def random_states() -> dict[str, Any]:
    """State of every source of randomness of this process, as plain values and tensors."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002 (other people's code may draw from it)
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (str(kind), [int(key) for key in keys], int(position), int(has_gauss), float(cached)),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Put every source of randomness back to what `random_states` saw."""
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    kind, numpy_keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, np.array(numpy_keys, np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
