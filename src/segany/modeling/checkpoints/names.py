"""One table between the official key names and Hugging Face's, read in both directions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor

from segany.core.errors import CheckpointError

TIED_EMBEDDING = "shared_image_embedding.positional_embedding"
"""Hugging Face's second copy of the Gaussian frequencies, which lie outside its prompt encoder."""
GAUSSIAN = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"

# `{}` stands for an index; whatever follows the prefix (".weight", ".bias", a leaf name) is kept.
_PREFIXES = (
    ("image_encoder.pos_embed", "vision_encoder.pos_embed"),
    ("image_encoder.patch_embed.proj", "vision_encoder.patch_embed.projection"),
    ("image_encoder.blocks.{}.norm1", "vision_encoder.layers.{}.layer_norm1"),
    ("image_encoder.blocks.{}.norm2", "vision_encoder.layers.{}.layer_norm2"),
    ("image_encoder.blocks.{}.attn", "vision_encoder.layers.{}.attn"),
    ("image_encoder.blocks.{}.mlp", "vision_encoder.layers.{}.mlp"),
    ("image_encoder.neck.0", "vision_encoder.neck.conv1"),
    ("image_encoder.neck.1", "vision_encoder.neck.layer_norm1"),
    ("image_encoder.neck.2", "vision_encoder.neck.conv2"),
    ("image_encoder.neck.3", "vision_encoder.neck.layer_norm2"),
    (GAUSSIAN, "prompt_encoder.shared_embedding.positional_embedding"),
    ("prompt_encoder.point_embeddings.{}", "prompt_encoder.point_embed.{}"),
    ("prompt_encoder.not_a_point_embed", "prompt_encoder.not_a_point_embed"),
    ("prompt_encoder.no_mask_embed", "prompt_encoder.no_mask_embed"),
    ("prompt_encoder.mask_downscaling.0", "prompt_encoder.mask_embed.conv1"),
    ("prompt_encoder.mask_downscaling.1", "prompt_encoder.mask_embed.layer_norm1"),
    ("prompt_encoder.mask_downscaling.3", "prompt_encoder.mask_embed.conv2"),
    ("prompt_encoder.mask_downscaling.4", "prompt_encoder.mask_embed.layer_norm2"),
    ("prompt_encoder.mask_downscaling.6", "prompt_encoder.mask_embed.conv3"),
    ("mask_decoder.iou_token", "mask_decoder.iou_token"),
    ("mask_decoder.mask_tokens", "mask_decoder.mask_tokens"),
    ("mask_decoder.transformer.layers.{}.norm{}", "mask_decoder.transformer.layers.{}.layer_norm{}"),
    ("mask_decoder.transformer.layers.{}.self_attn", "mask_decoder.transformer.layers.{}.self_attn"),
    (
        "mask_decoder.transformer.layers.{}.cross_attn_token_to_image",
        "mask_decoder.transformer.layers.{}.cross_attn_token_to_image",
    ),
    (
        "mask_decoder.transformer.layers.{}.cross_attn_image_to_token",
        "mask_decoder.transformer.layers.{}.cross_attn_image_to_token",
    ),
    ("mask_decoder.transformer.layers.{}.mlp", "mask_decoder.transformer.layers.{}.mlp"),
    ("mask_decoder.transformer.norm_final_attn", "mask_decoder.transformer.layer_norm_final_attn"),
    (
        "mask_decoder.transformer.final_attn_token_to_image",
        "mask_decoder.transformer.final_attn_token_to_image",
    ),
    ("mask_decoder.output_upscaling.0", "mask_decoder.upscale_conv1"),
    ("mask_decoder.output_upscaling.1", "mask_decoder.upscale_layer_norm"),
    ("mask_decoder.output_upscaling.3", "mask_decoder.upscale_conv2"),
)
_MLP = re.compile(
    r"(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))"
    r"\.(layers\.\d+|proj_in|proj_out)\.(weight|bias)"
)


def is_hf(keys: Mapping[str, Tensor]) -> bool:
    """Whether these keys are in Hugging Face's layout."""
    return any(key.startswith("vision_encoder.") for key in keys)


def to_hf(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official keys → Hugging Face keys, the tied frequencies twice.

    Raises:
        CheckpointError: a key has no name there (only plain ViT models do).
    """
    depths = _mlp_depths(state, "layers.")
    out: dict[str, Tensor] = {}
    for key, tensor in state.items():
        renamed = _translate(key, _rules(0, 1), lambda head, layer: _mlp_to_hf(layer, depths[head]))
        out[renamed] = tensor
    out[TIED_EMBEDDING] = state[GAUSSIAN].clone()
    return out


def from_hf(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face keys → official keys; either copy of the tied frequencies is enough.

    Raises:
        CheckpointError: a key is not a SAM key, or the two tied copies differ.
    """
    rest = dict(state)
    tied = rest.pop(TIED_EMBEDDING, None)
    depths = {head: count + 2 for head, count in _mlp_depths(rest, "layers.").items()}
    out = {
        _translate(key, _rules(1, 0), lambda head, layer: _mlp_from_hf(layer, depths.get(head, 2))): tensor
        for key, tensor in rest.items()
    }
    if tied is not None and not torch.equal(out.setdefault(GAUSSIAN, tied), tied):
        raise CheckpointError(
            f"{TIED_EMBEDDING} and prompt_encoder.shared_embedding.positional_embedding are one tied tensor; "
            "this file holds two different ones. Save the model again with transformers."
        )
    return out


@cache
def _rules(source: int, target: int) -> tuple[tuple[re.Pattern[str], str], ...]:
    compiled = []
    for pair in _PREFIXES:
        pattern = re.escape(pair[source]).replace(r"\{\}", r"(\d+)")
        compiled.append((re.compile(pattern + r"(\.[a-z_0-9.]+)?"), pair[target]))
    return tuple(compiled)


def _translate(
    key: str, rules: tuple[tuple[re.Pattern[str], str], ...], rename_layer: Callable[[str, str], str]
) -> str:
    if found := _MLP.fullmatch(key):
        head, layer, leaf = found.groups()
        return f"{head}.{rename_layer(head, layer)}.{leaf}"
    for pattern, target in rules:
        if found := pattern.fullmatch(key):
            *indices, leaf = found.groups()
            return target.format(*indices) + (leaf or "")
    raise CheckpointError(
        f"every key must be one of a plain ViT SAM model, official or Hugging Face; got {key!r}. "
        "Only vit_b, vit_l, vit_h and models of their kind exist in both layouts."
    )


def _mlp_depths(state: Mapping[str, Tensor], prefix: str) -> dict[str, int]:
    """Number of `layers.{i}` of every small MLP."""
    depths: dict[str, int] = {}
    for key in state:
        found = _MLP.fullmatch(key)
        if found and found[3] == "weight" and found[2].startswith(prefix):
            depths[found[1]] = depths.get(found[1], 0) + 1
    return depths


def _mlp_to_hf(layer: str, depth: int) -> str:
    index = int(layer.removeprefix("layers."))
    if index == 0:
        return "proj_in"
    return "proj_out" if index == depth - 1 else f"layers.{index - 1}"


def _mlp_from_hf(layer: str, depth: int) -> str:
    if layer == "proj_in":
        return "layers.0"
    if layer == "proj_out":
        return f"layers.{depth - 1}"
    return f"layers.{int(layer.removeprefix('layers.')) + 1}"
