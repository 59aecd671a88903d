"""What the parity tests share: weights with every tensor alive, prompts, one way to measure a difference."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segany.modeling.build import build_model
from segany.modeling.checkpoints.save import save_hf
from segany.modeling.config import DecoderConfig, ModelConfig, ViTConfig
from segany.modeling.sam import Sam

TOLERANCE = 1e-4
"""Largest difference allowed, as a share of the largest magnitude."""


def toy(
    name: str, encoder: ViTConfig, *, canvas: int, width: int, decoder: DecoderConfig, mask_channels: int = 16
) -> ModelConfig:
    return ModelConfig(
        name=name, encoder=encoder, canvas=canvas, width=width, decoder=decoder, mask_channels=mask_channels
    )


SHAPES = (
    toy(
        "padded-windows",  # grid 10 in windows of 4: padding on both sides
        ViTConfig(width=48, depth=3, heads=3, global_blocks=(1,), window=4),
        canvas=160,
        width=64,
        decoder=DecoderConfig(mlp_width=96, iou_head_width=40),
    ),
    toy(
        "deep-decoder",  # whole windows, first and last block global, three decoder layers, other head counts
        ViTConfig(width=64, depth=4, heads=2, global_blocks=(0, 3), window=3, mlp_ratio=2.0),
        canvas=96,
        width=48,
        mask_channels=8,
        decoder=DecoderConfig(depth=3, heads=4, mlp_width=64, iou_head_depth=4, iou_head_width=24),
    ),
    toy(
        "small-patch",  # window larger than half the grid, one decoder layer, two masks, short IoU head
        ViTConfig(width=40, depth=2, heads=5, global_blocks=(1,), window=9, patch=8, mlp_ratio=3.0),
        canvas=112,
        width=96,
        mask_channels=12,
        decoder=DecoderConfig(depth=1, mlp_width=80, multimask_outputs=2, iou_head_depth=2, iou_head_width=32),
    ),
)


def fill_normal(model: torch.nn.Module, seed: int = 0) -> None:
    """Every tensor from a seeded normal: fresh norms, biases and position tables would hide errors.

    Matrices keep the size of what passes through them (those that make the masks enlarge it); vectors and
    tables get a deviation of 0.5; norms centre on 1. Wilder values make float32 noise exceed the tolerance.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in sorted(model.state_dict().items()):
            if not tensor.is_floating_point():
                continue
            tensor.normal_(generator=generator)
            if "gaussian" in key:
                continue
            is_table = "patch_embed" not in key and re.search(r"pos|embed|tokens?\.", key) is not None
            if tensor.ndim == 1 or is_table:
                tensor.mul_(0.5)
                if tensor.ndim == 1 and key.endswith(".weight"):
                    tensor.add_(1.0)
            else:
                gain = 3.0 if "output_hypernetworks" in key else 1.0
                tensor.mul_(gain / math.sqrt(tensor[0].numel()))


def filled_model(config: ModelConfig, seed: int = 0) -> Sam:
    model = build_model(config)
    fill_normal(model, seed)
    return model.eval()


def transformers_model(folder: Path) -> Any:
    """`SamModel` from a folder. Our config.json gives its decoder the official norm epsilon, 1e-5."""
    from transformers import SamModel

    theirs = SamModel.from_pretrained(folder, local_files_only=True).eval()
    assert theirs.mask_decoder.transformer.layers[0].layer_norm1.eps == 1e-5
    return theirs


def through_hf(model: Sam, folder: Path) -> Any:
    return transformers_model(save_hf(model.state_dict(), model.config, folder))


@dataclass(frozen=True)
class Prompts:
    """Arguments of `Sam.decode`: canvas pixels."""

    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None


def prompt_sets(config: ModelConfig, seed: int = 1) -> dict[str, Prompts]:
    """Every kind of prompt; three prompts of one image where the other side can take them."""
    generator = torch.Generator().manual_seed(seed)
    side = config.canvas

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * side

    labels = torch.tensor([[1, 0, 1], [1, 1, 0], [0, 1, 1]])
    corners = uniform(3, 2, 2)
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=-1)
    masks = torch.randn(1, 1, config.low_res, config.low_res, generator=generator) * 8
    return {
        "one click": Prompts(uniform(3, 1, 2), labels[:, :1]),
        "three clicks": Prompts(uniform(3, 3, 2), labels),
        "box": Prompts(boxes=boxes),
        "box and clicks": Prompts(uniform(3, 2, 2), labels[:, :2], boxes),
        "mask": Prompts(masks=masks),
        "click and mask": Prompts(uniform(1, 1, 2), labels[:1, :1], None, masks),
    }


Outputs = dict[str, Tensor]


def our_outputs(model: Sam, pixels: Tensor) -> Outputs:
    """Embedding, and logits and IoU of every prompt set; all tokens."""
    with torch.no_grad():
        out = {"embedding": model.encode(pixels)}
        for name, prompts in prompt_sets(model.config).items():
            logits, iou = model.decode(out["embedding"], **vars(prompts))
            out[f"{name}: logits"], out[f"{name}: iou"] = logits, iou
    return out


def their_outputs(theirs: Any, config: ModelConfig, pixels: Tensor) -> Outputs:
    """The same from transformers: mask 0 and the rest come from two calls."""

    def batched(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.unsqueeze(0)

    with torch.no_grad():
        out = {"embedding": theirs.get_image_embeddings(pixels)}
        for name, prompts in prompt_sets(config).items():
            both = [
                theirs(
                    image_embeddings=out["embedding"],
                    input_points=batched(prompts.points),
                    input_labels=batched(prompts.labels),
                    input_boxes=batched(prompts.boxes),
                    input_masks=prompts.masks,
                    multimask_output=multimask,
                )
                for multimask in (False, True)
            ]
            out[f"{name}: logits"] = torch.cat([part.pred_masks for part in both], dim=2)[0]
            out[f"{name}: iou"] = torch.cat([part.iou_scores for part in both], dim=2)[0]
    return out


def random_pixels(config: ModelConfig, seed: int = 2) -> Tensor:
    return torch.randn(1, 3, config.canvas, config.canvas, generator=torch.Generator().manual_seed(seed))


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest magnitude."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def worst(ours: Outputs, theirs: Outputs) -> tuple[float, str]:
    assert ours.keys() == theirs.keys()
    return max((difference(ours[name], theirs[name]), name) for name in ours)


def logits_are_alive(outputs: Outputs) -> None:
    for name, tensor in outputs.items():
        if name.endswith("logits"):
            assert tensor.std() >= 1, f"{name}: deviation {tensor.std():.3f} is too small to show an error"
