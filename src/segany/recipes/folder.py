"""A run's folder: what it was started with, and whether this is the same run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from segany.core.errors import DataError, OptionError, SeganyError
from segany.core.files import atomic_write_json
from segany.core.identity import run_identity
from segany.training.distributed import Processes
from segany.training.settings import differences, from_plain, to_plain

CONFIG, WEIGHTS = "config.json", "model.safetensors"
NOTED = ("torch", "numpy", "opencv-python-headless", "safetensors", "pycocotools")


def open_run(out: Path, recipe: str, config: Any, data: Mapping[str, str], group: Processes) -> None:
    """Note what a run is, or check that it is the one this folder belongs to.

    OUT/config.json holds the resolved config, the data's fingerprints, and for every start the revision, versions and
    command line.

    Args:
        out: the run's folder, made when missing.
        recipe: what kind of training.
        config: its resolved config.
        data: fingerprint per set.
        group: only the main process writes.

    Raises:
        OptionError: the folder belongs to a run with another config or other data; the message shows the difference.
    """
    path = out / CONFIG
    wanted = {"recipe": recipe, "config": to_plain(config), "data": dict(data)}
    starts: list[Any] = []
    if path.is_file():
        held = _read(path)
        starts = held.get("starts", [])
        held["config"] = _completed(type(config), held.get("config"))
        if lines := differences({key: held.get(key) for key in wanted}, wanted):
            shown = "\n  ".join(lines[:20] + ([f"… and {len(lines) - 20} more"] if len(lines) > 20 else []))
            raise OptionError(
                f"{out} holds a run with another config; the same command resumes it, a changed one does not. "
                f"What differs (there → now):\n  {shown}\nTake the old settings, or another output folder."
            )
    elif out.is_dir() and any(out.glob("checkpoints/step-*.pt")):
        raise OptionError(f"{out} holds checkpoints without {CONFIG}, so nobody knows of what. Take another folder.")
    group.wait()
    if group.is_main:
        atomic_write_json(path, {**wanted, "starts": [*starts, _start(group)]}, indent=1)
    group.wait()


def _completed(kind: type[Any], held: Any) -> Any:
    """A noted config, with defaults for fields that came to be after it was noted; as it is when it cannot be read."""
    try:
        return to_plain(from_plain(kind, held))
    except SeganyError:
        return held


def _read(path: Path) -> dict[str, Any]:
    try:
        held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} must be the JSON of a run; it is damaged: {error}. Take another folder.") from error
    return held


def _start(group: Processes) -> dict[str, Any]:
    """Who started, when, with what."""
    versions: dict[str, str | None] = {}
    for name in NOTED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        **run_identity(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "processes": group.world,
        "device": str(group.device),
        "versions": versions,
    }
