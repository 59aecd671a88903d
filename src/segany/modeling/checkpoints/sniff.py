"""Which model a state dict belongs to, told from its keys and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from segany.core.errors import CheckpointError
from segany.modeling.checkpoints.hf_config import named
from segany.modeling.checkpoints.names import TIED_EMBEDDING, from_hf, is_hf
from segany.modeling.config import DecoderConfig, ModelConfig, TinyViTConfig, ViTConfig

RELEASED_CANVAS = 1024
"""Canvas of released models whose shapes do not say it (TinyViT has no position table)."""
DECODER_HEADS = 8
"""Heads of every released decoder; they are not in the shapes."""

Shapes = Mapping[str, tuple[int, ...]]


def sniff(state: Mapping[str, Tensor]) -> ModelConfig:
    """Recognise a model.

    Args:
        state: official or Hugging Face keys.

    Returns:
        its config, named after a preset when the sizes are a preset's, else "custom". Decoder heads are taken
        as 8.

    Raises:
        CheckpointError: not a model of this family, or shapes that contradict each other.
    """
    if is_hf(state):
        state = from_hf({key: tensor for key, tensor in state.items() if key != TIED_EMBEDDING})
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    encoder: ViTConfig | TinyViTConfig
    if any(key.startswith("image_encoder.blocks.") for key in shapes):
        encoder, canvas = _vit(shapes)
    elif any(key.startswith("image_encoder.patch_embed.seq.") for key in shapes):
        encoder, canvas = _tiny_vit(shapes), RELEASED_CANVAS
    else:
        raise CheckpointError(
            "a checkpoint must hold a SAM model: vit_b, vit_l or vit_h (official or Hugging Face), "
            "MobileSAM, or a segany safetensors file with a `config` in its metadata; got "
            f"{_sample(shapes)}. Check which file it is."
        )
    return named(
        ModelConfig(
            name="custom",
            encoder=encoder,
            canvas=canvas,
            width=_shape(shapes, "mask_decoder.iou_token.weight")[1],
            mask_channels=_shape(shapes, "prompt_encoder.mask_downscaling.3.weight", 4)[0],
            decoder=_decoder(shapes),
        )
    )


def _vit(shapes: Shapes) -> tuple[ViTConfig, int]:
    width, _, patch, _ = _shape(shapes, "image_encoder.patch_embed.proj.weight", 4)
    grid = _shape(shapes, "image_encoder.pos_embed", 4)[1]
    depth = _count(shapes, r"image_encoder\.blocks\.(\d+)\.attn\.qkv\.weight")
    tables = [_shape(shapes, f"image_encoder.blocks.{index}.attn.rel_pos_h") for index in range(depth)]
    windows = sorted({(length + 1) // 2 for length, _ in tables} - {grid})
    if len(windows) > 1:
        raise CheckpointError(
            f"position tables must have one window size beside the grid's {grid}; got windows {windows}. "
            "The file mixes two models or is damaged; fetch it again."
        )
    config = ViTConfig(
        width=width,
        depth=depth,
        heads=width // tables[0][1],
        global_blocks=tuple(index for index, (length, _) in enumerate(tables) if length == 2 * grid - 1),
        window=windows[0] if windows else grid,
        patch=patch,
        mlp_ratio=_shape(shapes, "image_encoder.blocks.0.mlp.lin1.weight")[0] / width,
    )
    return config, grid * patch


def _tiny_vit(shapes: Shapes) -> TinyViTConfig:
    prefix = "image_encoder.layers."
    stages = _count(shapes, r"image_encoder\.layers\.(\d+)\.blocks\.0\..*")
    first = _shape(shapes, prefix + "0.blocks.0.conv1.c.weight", 4)
    biases = [_shape(shapes, f"{prefix}{stage}.blocks.0.attn.attention_biases") for stage in range(1, stages)]
    hidden, inside = _shape(shapes, prefix + "1.blocks.0.mlp.fc1.weight")
    defaults = TinyViTConfig()
    return TinyViTConfig(
        widths=(
            first[1],
            *(_shape(shapes, f"{prefix}{stage}.blocks.0.attn.norm.weight", 1)[0] for stage in range(1, stages)),
        ),
        depths=tuple(_count(shapes, rf"image_encoder\.layers\.{stage}\.blocks\.(\d+)\..*") for stage in range(stages)),
        # the convolutional stage has neither heads nor windows: the released values fill its place
        heads=(defaults.heads[0], *(heads for heads, _ in biases)),
        windows=(defaults.windows[0], *(round(places**0.5) for _, places in biases)),
        mlp_ratio=hidden / inside,
        expand=first[0] // first[1],
        classes=_shape(shapes, "image_encoder.head.weight")[0],
    )


def _decoder(shapes: Shapes) -> DecoderConfig:
    prefix = "mask_decoder.transformer.layers.0."
    inner, width = _shape(shapes, prefix + "cross_attn_token_to_image.q_proj.weight")
    depth = _count(shapes, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\.weight")
    return DecoderConfig(
        depth=_count(shapes, r"mask_decoder\.transformer\.layers\.(\d+)\.self_attn\.q_proj\.weight"),
        heads=DECODER_HEADS,
        mlp_width=_shape(shapes, prefix + "mlp.lin1.weight")[0],
        attention_downsample=width // inner,
        multimask_outputs=_shape(shapes, "mask_decoder.mask_tokens.weight")[0] - 1,
        iou_head_depth=depth,
        iou_head_width=_shape(shapes, "mask_decoder.iou_prediction_head.layers.0.weight")[0],
    )


def _count(shapes: Shapes, pattern: str) -> int:
    found = {int(match[1]) for key in shapes if (match := re.fullmatch(pattern, key))}
    if found != set(range(len(found))) or not found:
        raise CheckpointError(
            f"keys like {pattern.replace(chr(92), '')} must count up from 0; got {sorted(found)}. "
            "The file is incomplete or of another model; fetch it again."
        )
    return len(found)


def _shape(shapes: Shapes, key: str, dimensions: int = 2) -> tuple[int, ...]:
    shape = shapes.get(key)
    if shape is None or len(shape) != dimensions or 0 in shape:
        raise CheckpointError(
            f"a checkpoint must hold {key} with {dimensions} dimensions; got "
            f"{'none' if shape is None else shape} among {_sample(shapes)}. "
            "The file is incomplete or of another model; fetch it again."
        )
    return shape


def _sample(shapes: Shapes) -> str:
    keys = list(shapes)
    return f"{len(keys)} tensors ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
