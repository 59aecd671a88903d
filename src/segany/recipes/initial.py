"""Trained weights as the start of another training: a whole model, or an encoder that learnt alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from segany.core.errors import CheckpointError
from segany.core.identity import fingerprint
from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.read import StoredState, read_state
from segany.modeling.checkpoints.save import save_model
from segany.modeling.config import ModelConfig
from segany.modeling.mae import resized_positions
from segany.modeling.sam import Sam

ENCODER_WEIGHTS = "encoder.safetensors"
PREFIX, NECK = "image_encoder.", "image_encoder.neck."
FRESH = (NECK, "image_encoder.detail.")
"""Parts of an encoder that weights to start from may lack."""


def save_encoder(state: Mapping[str, Tensor], config: ModelConfig, path: Path, about: Mapping[str, Any]) -> Path:
    """Write the weights of an encoder alone; names are those of the whole model.

    Args:
        state: tensors; those that do not belong to the image encoder are left out.
        config: of the promptable model that the encoder is for.
        path: safetensors file.
        about: what made them.
    """
    return save_model({k: v for k, v in state.items() if k.startswith(PREFIX)}, config, path, metadata=about)


def start_from(model: Sam, source: str | Path) -> str:
    """Give a fresh model trained weights to start from.

    Args:
        model: changed in place; of an encoder alone the decoder stays fresh.
        source: the folder of a pre-training (or its encoder.safetensors), or anything `load_model` takes. Position
            tables of another canvas are interpolated.

    Returns:
        fingerprint of the weights.

    Raises:
        CheckpointError: nothing there, or weights of another kind of model.
    """
    stored = _read(source)
    config = stored.config or model.config
    if config.encoder != model.config.encoder or config.width != model.config.width:
        raise CheckpointError(
            f"the weights to start from must have the encoder of {model.config.name} ({model.config.encoder}, "
            f"width {model.config.width}); {source} has {config.encoder}, width {config.width}. Choose the preset "
            "they belong to."
        )
    own = model.state_dict()
    given = resized_positions(stored.tensors, own)
    fits = {name: tensor for name, tensor in given.items() if name in own and tensor.shape == own[name].shape}
    lacking = [name for name in own if name.startswith(PREFIX) and not name.startswith(FRESH) and name not in fits]
    if lacking:
        raise CheckpointError(
            f"the weights to start from must hold the whole encoder of {model.config.name}; {source} lacks "
            f"{len(lacking)} tensors that fit, first {lacking[0]}. Choose the preset they belong to."
        )
    model.load_state_dict(fits, strict=False)
    return fingerprint(config.to_dict(), stored.tensors)


def _read(source: str | Path) -> StoredState:
    path = Path(source).expanduser()
    if (path / ENCODER_WEIGHTS).is_file():
        return read_state(path / ENCODER_WEIGHTS)
    if path.name == ENCODER_WEIGHTS:
        return read_state(path)
    loaded = load_model(source)
    return StoredState(path, "segany", loaded.model.state_dict(), loaded.config, loaded.metadata)


def run_of(out: Path) -> dict[str, Any]:
    """What OUT/config.json says of a run: revision and data, for the metadata of its weights."""
    held = json.loads((out / "config.json").read_text(encoding="utf-8"))
    return {"data": held["data"], "revision": held["starts"][-1]["revision"] or ""}
