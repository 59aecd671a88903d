"""One layout → another."""

from __future__ import annotations

from pathlib import Path

from segany.core.errors import OptionError
from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.save import save_hf, save_model, save_official

LAYOUTS = ("official", "huggingface", "segany")


def convert(source: str | Path, target: str | Path, layout: str, *, half: bool = False) -> Path:
    """Read any checkpoint, check it whole, and write it in another layout.

    Args:
        source: anything `load_model` takes.
        target: a file, or for "huggingface" a folder.
        layout: "official" (.pth), "huggingface" (folder) or "segany" (safetensors with its config).
        half: float16; only for "segany".

    Returns:
        what was written.

    Raises:
        CheckpointError: the source is not a whole model, or has no counterpart in that layout.
        OptionError: an unknown layout, or `half` where it does not exist.
    """
    if layout not in LAYOUTS:
        raise OptionError(f"layout must be one of {', '.join(LAYOUTS)}; got {layout!r}. Choose one of them.")
    if half and layout != "segany":
        raise OptionError(f"half precision exists for the segany layout; got {layout!r}. Leave it off.")
    loaded = load_model(source)
    state = loaded.model.state_dict()
    if layout == "official":
        return save_official(state, target)
    if layout == "huggingface":
        return save_hf(state, loaded.config, target)
    return save_model(state, loaded.config, target, metadata=loaded.metadata, half=half)
