"""Weights on disk → tensors under the official names. Nothing in a file is ever executed."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from segany.core.errors import CheckpointError
from segany.modeling.checkpoints.hf_config import from_hf_config
from segany.modeling.checkpoints.names import from_hf, is_hf
from segany.modeling.config import ModelConfig

Layout = Literal["official", "huggingface", "segany"]
CONTAINERS = ("model", "state_dict", "model_state_dict")
"""Keys under which training scripts keep the weights."""
AGAIN = "Download it again, or export it again with the tool that made it."


@dataclass(frozen=True)
class StoredState:
    """What a file or folder held."""

    path: Path
    layout: Layout
    tensors: dict[str, Tensor]
    """Official key names, whatever the layout was; stored dtypes, CPU, possibly mapped from the file."""
    config: ModelConfig | None
    """What the file says it is; None when only the shapes tell."""
    metadata: dict[str, str]
    """Everything else that the file says about itself."""


def read_state(path: str | Path) -> StoredState:
    """Read weights without running anything that a file contains.

    Args:
        path: an official or MobileSAM `.pth`/`.pt`, a safetensors file, a Hugging Face SAM folder, or a run
            folder that holds `model.safetensors`.

    Raises:
        CheckpointError: missing, truncated, hostile, or not weights at all.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise CheckpointError(f"a checkpoint must be a file or a folder; {path} does not exist. Check the path.")
    return _read_file(path)


def _read_folder(folder: Path) -> StoredState:
    candidates = (folder / name for name in ("model.safetensors", "pytorch_model.bin"))
    weights = next((path for path in candidates if path.is_file()), None)
    if weights is None:
        if (folder / "encoder.safetensors").is_file():
            raise CheckpointError(
                f"a model folder must hold model.safetensors or pytorch_model.bin; {folder} holds a pre-trained "
                f"encoder alone, which makes no masks yet. Go on with: segany train promptable --init {folder}"
            )
        present = ", ".join(sorted(item.name for item in folder.iterdir())[:5]) or "nothing"
        raise CheckpointError(
            f"a model folder must hold model.safetensors or pytorch_model.bin; {folder} holds {present}. "
            "Name a file inside it, or fetch the weights into it."
        )
    stored = _read_file(weights)
    described = folder / "config.json"
    if stored.layout != "huggingface" or not described.is_file():
        return stored
    text = described.read_text(encoding="utf-8", errors="replace")
    config = from_hf_config(_json_object(text, str(described)))
    return StoredState(stored.path, stored.layout, stored.tensors, config, stored.metadata)


def _read_file(path: Path) -> StoredState:
    kind = _kind(path)
    if kind == "safetensors":
        state, metadata = _read_safetensors(path)
    else:
        state, metadata = _read_torch(path, mapped=kind == "zip"), {}
    described = metadata.pop("config", None)
    if described is not None:
        config = ModelConfig.from_dict(_json_object(described, f"`config` in the metadata of {path}"))
        return StoredState(path, "segany", state, config, metadata)
    if is_hf(state):
        return StoredState(path, "huggingface", from_hf(state), None, metadata)
    return StoredState(path, "official", state, None, metadata)


def _kind(path: Path) -> Literal["safetensors", "zip", "pickle"]:
    with path.open("rb") as stream:
        head = stream.read(512)
    if not head:
        raise CheckpointError(f"a checkpoint must hold weights; {path} is empty (0 bytes). {AGAIN}")
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise CheckpointError(
            f"a checkpoint must hold weights; {path} is a web page, probably an error page saved under that "
            "name. Open it to see what the server said, then download the file itself."
        )
    if text.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"a checkpoint must hold weights; {path} is a Git LFS pointer of {path.stat().st_size} bytes. "
            "Run `git lfs pull` in that repository, or download the file itself."
        )
    if path.suffix == ".safetensors" or (head[8:9] == b"{" and head[4:8] == bytes(4)):
        return "safetensors"
    if head.startswith(b"PK\x03\x04"):
        if not zipfile.is_zipfile(path):
            raise CheckpointError(
                f"a torch file must end with its index; {path} ({path.stat().st_size} bytes) is cut short. {AGAIN}"
            )
        return "zip"
    if head[:1] == b"\x80":
        return "pickle"
    raise CheckpointError(
        "a checkpoint must be a torch file (.pth, .pt, .bin) or safetensors; "
        f"{path} starts with {head[:8]!r}. Check which file it is."
    )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = dict(stream.metadata() or {})
            return {key: stream.get_tensor(key) for key in stream.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"a safetensors file must have a whole header and all its data; {path} "
            f"({path.stat().st_size} bytes) does not: {error}. {AGAIN}"
        ) from error


def _read_torch(path: Path, *, mapped: bool) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        found = re.search(r"(?:GLOBAL|Unsupported global:|class) ([\w.]+)", str(error))
        wanted = found[1] if found else "something else"
        raise CheckpointError(
            f"a checkpoint must hold tensors only; {path} asks for {wanted}, "
            "which could run code, and was not loaded. Ask its maker for the bare state dict."
        ) from error
    except Exception as error:  # the reader's failures on damaged files have no common type
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"a torch file must be whole; reading {path} ({path.stat().st_size} bytes) failed: {reason}. {AGAIN}"
        ) from error
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    for container in CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(container), Mapping):
            content = content[container]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"a torch file must hold a state dict; {path} holds a {type(content).__name__}"
            f"{' with nothing in it' if content == {} else ''}. Save `model.state_dict()`."
        )
    strangers = [str(key) for key, value in content.items() if not (isinstance(key, str) and torch.is_tensor(value))]
    if strangers:
        raise CheckpointError(
            f"a state dict must map names to tensors; in {path} {', '.join(strangers[:3])} "
            f"{'is' if len(strangers) == 1 else 'are'} not. Save `model.state_dict()` alone."
        )
    wrapped = all(key.startswith("module.") for key in content)
    return {key.removeprefix("module.") if wrapped else key: value for key, value in content.items()}


def _json_object(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{where} must be JSON; reading it failed: {error}. {AGAIN}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} must be a JSON object; got {type(value).__name__}. {AGAIN}")
    return value
