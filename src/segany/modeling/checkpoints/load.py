"""A name, a file or a folder → a model with real weights, or an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from segany.core.errors import CheckpointError
from segany.core.identity import fingerprint
from segany.modeling.build import build_model
from segany.modeling.checkpoints.download import REGISTRY, cached_path, fetch_hint
from segany.modeling.checkpoints.read import StoredState, read_state
from segany.modeling.checkpoints.sniff import sniff
from segany.modeling.config import ModelConfig
from segany.modeling.presets import PRESETS
from segany.modeling.sam import Sam

EMBEDDED = Path(__file__).parents[2] / "weights" / "tiny.safetensors"
"""The weights that ship inside the package."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to predict, and what is known of it."""

    model: Sam
    """float32, on the CPU, in evaluation mode."""
    config: ModelConfig
    metadata: dict[str, str]
    """What the file says of itself: data, recipe, scores …"""
    fingerprint: str
    """sha256 over config and tensors."""


def load_model(source: str | Path) -> LoadedModel:
    """Load weights, checking every tensor.

    Args:
        source: "tiny" (ships with the package), "vit_b", "vit_l", "vit_h", "vit_t" (from the cache folder),
            or the path of anything `read_state` takes.

    Returns:
        the model; half-precision files become float32 in memory.

    Raises:
        CheckpointError: nothing there, damaged, or not the model it should be; the message says what to do.
    """
    path, expected = _locate(source)
    stored = read_state(path)
    config = stored.config or sniff(stored.tensors)
    if expected is not None and config.name != expected:
        raise CheckpointError(
            f"{path} must hold {expected}; it holds {_describe(config)}. Move it away and fetch the right "
            "file, or load it by its path."
        )
    model = build_without_init(config)
    fill(model, stored.tensors, str(path))
    model.eval()
    return LoadedModel(model, config, stored.metadata, fingerprint(config.to_dict(), model.state_dict()))


def _locate(source: str | Path) -> tuple[Path, str | None]:
    """Path of the weights, and the preset they must be when a name was given."""
    name = str(source)
    if name == "tiny":
        if not EMBEDDED.is_file():
            raise CheckpointError(
                f"the embedded model must lie at {EMBEDDED}; it is missing. Install the package again, "
                "or train one with `segany train` and load it by its path."
            )
        return EMBEDDED, name
    if name in REGISTRY:
        path = cached_path(name)
        if not path.is_file():
            raise CheckpointError(f"the weights of {name} must lie at {path}; they are not there. {fetch_hint(name)}")
        return path, name
    path = Path(source).expanduser()
    if not path.exists():
        known = ", ".join(["tiny", *REGISTRY])
        raise CheckpointError(
            f"a model must be one of {known}, or the path of a checkpoint; got {name!r}, which is neither. "
            "`segany models list` shows what is there."
        )
    return path, None


class _NoInit(TorchFunctionMode):
    """Leave freshly allocated parameters as they are: they are about to be filled."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def build_without_init(config: ModelConfig) -> Sam:
    """The model with undefined weights, for `fill`; draws no random numbers for its layers."""
    with _NoInit():
        return build_model(config)


def fill(model: Sam, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy weights into a model; every key, shape and value must be right.

    Args:
        model: changed in place, only when everything fits.
        tensors: official keys.
        where: path, for messages.

    Raises:
        CheckpointError: keys missing or too many, shapes that differ, values that are not finite.
    """
    own = model.state_dict()
    missing, unexpected = own.keys() - tensors.keys(), tensors.keys() - own.keys()
    if missing or unexpected:
        raise CheckpointError(
            f"{where} must hold exactly the {len(own)} tensors of {model.config.name}; "
            f"missing {_list(missing)}; unexpected {_list(unexpected)}. {_advice(model, tensors)}"
        )
    different = [key for key in own if own[key].shape != tensors[key].shape]
    if different:
        key = different[0]
        raise CheckpointError(
            f"{where} must have the shapes of {model.config.name}; {len(different)} differ, first {key}: "
            f"expected {tuple(own[key].shape)}, got {tuple(tensors[key].shape)}. {_advice(model, tensors)}"
        )
    kinds = [key for key in own if own[key].is_floating_point() != tensors[key].is_floating_point()]
    if kinds:
        raise CheckpointError(
            f"{where} must hold real numbers where {model.config.name} does; {kinds[0]} is "
            f"{tensors[kinds[0]].dtype}, expected {own[kinds[0]].dtype}. Export the weights again without "
            "quantisation."
        )
    broken = [key for key, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise CheckpointError(
            f"{where} must hold finite weights; {len(broken)} tensors have NaN or infinite values, first "
            f"{broken[0]}. The training diverged or the file is damaged: use an earlier checkpoint, or fetch "
            "it again."
        )
    model.load_state_dict(dict(tensors))


def _advice(model: Sam, tensors: Mapping[str, Tensor]) -> str:
    try:
        found = sniff(tensors)
    except CheckpointError:
        return "It is incomplete or of another model; fetch it again."
    if found == model.config:
        return "It is damaged or from a modified model; fetch it again."
    return f"It looks like {_describe(found)}: load it by its path alone."


def _describe(config: ModelConfig) -> str:
    if config.name in PRESETS:
        return config.name
    return f"a {config.encoder.kind} model with canvas {config.canvas}"


def _list(keys: set[str]) -> str:
    if not keys:
        return "none"
    shown = sorted(keys)[:4]
    return f"{len(keys)} ({', '.join(shown)}{', …' if len(keys) > len(shown) else ''})"


def describe(stored: StoredState) -> dict[str, Any]:
    """What `segany models info` shows of a checkpoint, without building the model."""
    config = stored.config or sniff(stored.tensors)
    return {
        "path": str(stored.path),
        "layout": stored.layout,
        "model": _describe(config),
        "tensors": len(stored.tensors),
        "parameters": sum(tensor.numel() for tensor in stored.tensors.values()),
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in stored.tensors.values()}),
        "config": config.to_dict(),
        "metadata": stored.metadata,
    }
