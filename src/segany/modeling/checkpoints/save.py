"""A model in memory → files others can read. Every file appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from segany.core.errors import CheckpointError
from segany.core.files import atomic_path, atomic_write_json
from segany.modeling.checkpoints.hf_config import hf_config, hf_preprocessor
from segany.modeling.checkpoints.names import GAUSSIAN, to_hf
from segany.modeling.config import ModelConfig


def save_model(
    state: Mapping[str, Tensor],
    config: ModelConfig,
    path: str | Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Write our own file: safetensors whose metadata says what the weights are.

    Args:
        state: `model.state_dict()`.
        config: the model's config; stored as `config`.
        path: where to.
        metadata: what trained them (data, recipe, commit, seed, scores …); others than text become JSON.
        half: store float16, except the position frequencies and batch-norm statistics, which need float32.

    Returns:
        the path.

    Raises:
        CheckpointError: a value does not fit float16.
    """
    given = (metadata or {}).items()
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in given}
    texts["config"] = json.dumps(config.to_dict())
    tensors = {key: _stored(key, tensor, half) for key, tensor in state.items()}
    with atomic_path(Path(path)) as part:
        save_file(tensors, part, metadata=texts)
    return Path(path)


def _stored(key: str, tensor: Tensor, half: bool) -> Tensor:
    plain = tensor.detach().cpu().contiguous().clone()
    if not half or not plain.is_floating_point() or key == GAUSSIAN or ".running_" in key:
        return plain
    halved = plain.to(torch.float16)
    if not bool(torch.isfinite(halved).all()):
        raise CheckpointError(
            f"half precision holds values up to 65504; {key} reaches {float(plain.abs().max()):.3g}. "
            "Save without `half`."
        )
    return halved


def save_official(state: Mapping[str, Tensor], path: str | Path) -> Path:
    """Write a bare state dict as the official `.pth` files are."""
    plain = {key: tensor.detach().cpu().clone() for key, tensor in state.items()}
    with atomic_path(Path(path)) as part:
        torch.save(plain, part)
    return Path(path)


def save_hf(state: Mapping[str, Tensor], config: ModelConfig, folder: str | Path) -> Path:
    """Write a folder that `transformers.SamModel.from_pretrained` reads.

    Raises:
        CheckpointError: the model has no counterpart there.
    """
    described, folder = hf_config(config), Path(folder)
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in to_hf(state).items()}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "model.safetensors") as part:
        save_file(tensors, part, metadata={"format": "pt"})
    atomic_write_json(folder / "preprocessor_config.json", hf_preprocessor(config))
    atomic_write_json(folder / "config.json", described)
    return folder
