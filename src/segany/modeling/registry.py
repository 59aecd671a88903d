"""Builders with the reference's names: `build_sam_vit_b(checkpoint=None)` and `sam_model_registry`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segany.modeling.build import build_model
from segany.modeling.checkpoints.load import build_without_init, fill
from segany.modeling.checkpoints.read import read_state
from segany.modeling.config import ModelConfig
from segany.modeling.presets import VIT_B, VIT_H, VIT_L, VIT_T
from segany.modeling.sam import Sam


def _build(config: ModelConfig, checkpoint: str | Path | None) -> Sam:
    if checkpoint is None:
        model = build_model(config)
    else:
        model = build_without_init(config)
        stored = read_state(checkpoint)
        fill(model, stored.tensors, str(stored.path))
    return model.eval()


def build_sam_vit_h(checkpoint: str | Path | None = None) -> Sam:
    """ViT-H; without a checkpoint its weights are random, as in the reference.

    Raises:
        CheckpointError: the checkpoint is not a ViT-H, or damaged.
    """
    return _build(VIT_H, checkpoint)


def build_sam_vit_l(checkpoint: str | Path | None = None) -> Sam:
    """ViT-L; see `build_sam_vit_h`."""
    return _build(VIT_L, checkpoint)


def build_sam_vit_b(checkpoint: str | Path | None = None) -> Sam:
    """ViT-B; see `build_sam_vit_h`."""
    return _build(VIT_B, checkpoint)


def build_sam_vit_t(checkpoint: str | Path | None = None) -> Sam:
    """MobileSAM's TinyViT, numerics not yet verified; see `build_sam_vit_h`."""
    return _build(VIT_T, checkpoint)


build_sam = build_sam_vit_h

sam_model_registry: dict[str, Callable[[str | Path | None], Sam]] = {
    "default": build_sam_vit_h,
    "vit_h": build_sam_vit_h,
    "vit_l": build_sam_vit_l,
    "vit_b": build_sam_vit_b,
    "vit_t": build_sam_vit_t,
}
"""Builders by name, as `sam_model_registry["vit_b"](checkpoint="…")`."""
