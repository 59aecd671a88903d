"""Weights that ship: half precision, with everything that made them and every score they have in their metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segany.core.errors import CheckpointError
from segany.core.identity import run_identity
from segany.modeling.checkpoints.read import read_state
from segany.modeling.checkpoints.save import save_model
from segany.modeling.checkpoints.sniff import sniff

PACKS_ABOUT: dict[str, str] = {
    "bsds500": "BSDS500 train (UC Berkeley; non-commercial research and education)",
    "dsb2018": "2018 Data Science Bowl stage 1 nuclei (BBBC038v1; CC0)",
    "camvid": "CamVid train, 11 classes (University of Cambridge; research use)",
    "coco": "COCO 2017 samples (annotations CC BY 4.0; each photo under its own Flickr licence)",
    "coco-person": "COCO 2017 val samples, one person mask each (as coco)",
    "synthetic": "painted scenes of this project (no outside data)",
}
"""What each training pack is and under which terms it may be used."""


def publish(source: str | Path, target: str | Path, about: Mapping[str, Any]) -> Path:
    """Write a trained model as a file that ships.

    Args:
        source: any checkpoint `read_state` takes, for example the folder of a finished run.
        target: safetensors file to write, float16.
        about: data, recipe, seed, steps and whatever else should be known; kept in the metadata.

    Raises:
        CheckpointError: not a checkpoint, or values that half precision cannot hold.
    """
    stored = read_state(source)
    config = stored.config or sniff(stored.tensors)
    metadata = {"made_by": run_identity(), **stored.metadata, **about}
    metadata.pop("config", None)
    return save_model(stored.tensors, config, target, metadata=metadata, half=True)


def stamp_scores(path: str | Path, report: Mapping[str, Any]) -> Path:
    """Write the scores of an evaluation into a weights file's metadata.

    Args:
        path: the safetensors file.
        report: of the points protocol, as `PointsResult.report` gives it.

    Raises:
        CheckpointError: not one of our files.
    """
    scores = {"packs": report["packs"], "sample": report["about"]["sample"]}
    return stamp(path, scores=json.dumps(scores, sort_keys=True))


def stamp(path: str | Path, **texts: str) -> Path:
    """Set entries of a weights file's metadata; tensors and fingerprint stay as they are.

    Args:
        path: the safetensors file.
        **texts: entries to set, for example `automatic`: recommended knobs of automatic masks, as JSON.

    Raises:
        CheckpointError: not one of our files.
    """
    stored = read_state(path)
    if stored.config is None:
        raise CheckpointError(
            f"a stamp goes into files with a config in their metadata; {path} has none. Convert it first: "
            "`segany models convert`."
        )
    metadata = {**stored.metadata, **texts}
    metadata.pop("config", None)
    return save_model(stored.tensors, stored.config, path, metadata=metadata)
