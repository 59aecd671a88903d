"""Our model config ↔ the `config.json` of a Hugging Face SAM folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segany.core.errors import CheckpointError
from segany.modeling.config import DecoderConfig, ModelConfig, ViTConfig
from segany.modeling.presets import PRESETS


def hf_config(config: ModelConfig) -> dict[str, Any]:
    """The `config.json` that makes transformers build the same model.

    Raises:
        CheckpointError: the model has no counterpart there.
    """
    encoder, decoder = config.encoder, config.decoder
    # transformers ignores another attention_downsample_rate in its layers
    if not isinstance(encoder, ViTConfig) or decoder.iou_head_depth < 2 or decoder.attention_downsample != 2:
        raise CheckpointError(
            "the Hugging Face layout holds plain ViT models with an IoU head of two layers or more and "
            f"cross-attention at half width; got {config.name!r} ({encoder.kind}, {decoder.iou_head_depth} "
            f"layers, 1/{decoder.attention_downsample}). Save it as safetensors instead."
        )
    return {
        "architectures": ["SamModel"],
        "model_type": "sam",
        "vision_config": _vision(encoder, config),
        "prompt_encoder_config": {
            "model_type": "sam_prompt_encoder",
            "hidden_size": config.width,
            "image_size": config.canvas,
            "patch_size": encoder.patch,
            "image_embedding_size": config.grid,
            "mask_input_channels": config.mask_channels,
            "num_point_embeddings": 4,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-6,
        },
        "mask_decoder_config": _decoder(decoder, config.width),
        "initializer_range": 0.02,
        "torch_dtype": "float32",
    }


def _vision(encoder: ViTConfig, config: ModelConfig) -> dict[str, Any]:
    return {
        "model_type": "sam_vision_model",
        "hidden_size": encoder.width,
        "output_channels": config.width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.heads,
        "num_channels": 3,
        "image_size": config.canvas,
        "patch_size": encoder.patch,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "qkv_bias": True,
        "mlp_ratio": encoder.mlp_ratio,
        "mlp_dim": int(encoder.width * encoder.mlp_ratio),
        "use_abs_pos": True,
        "use_rel_pos": True,
        "window_size": encoder.window,
        "global_attn_indexes": list(encoder.global_blocks),
        "num_pos_feats": config.width // 2,
    }


def _decoder(decoder: DecoderConfig, width: int) -> dict[str, Any]:
    return {
        "model_type": "sam_mask_decoder",
        "hidden_size": width,
        "hidden_act": "relu",
        "mlp_dim": decoder.mlp_width,
        "num_hidden_layers": decoder.depth,
        "num_attention_heads": decoder.heads,
        "attention_downsample_rate": decoder.attention_downsample,
        "num_multimask_outputs": decoder.multimask_outputs,
        "iou_head_depth": decoder.iou_head_depth,
        "iou_head_hidden_dim": decoder.iou_head_width,
        # transformers' default is 1e-6; the official decoder normalises with 1e-5, and the weights expect it
        "layer_norm_eps": 1e-5,
    }


def hf_preprocessor(config: ModelConfig) -> dict[str, Any]:
    """The `preprocessor_config.json` beside it."""
    return {
        "image_processor_type": "SamImageProcessor",
        "processor_class": "SamProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"longest_edge": config.canvas},
        "mask_size": {"longest_edge": config.low_res},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [value / 255 for value in config.pixel_mean],
        "image_std": [value / 255 for value in config.pixel_std],
        "do_pad": True,
        "pad_size": {"height": config.canvas, "width": config.canvas},
        "mask_pad_size": {"height": config.low_res, "width": config.low_res},
    }


def from_hf_config(value: Mapping[str, Any]) -> ModelConfig:
    """Read a Hugging Face `config.json`; what it leaves out has transformers' defaults.

    Raises:
        CheckpointError: another kind of model, or values that cannot be read.
    """
    if value.get("model_type") != "sam":
        raise CheckpointError(
            f"config.json must have model_type 'sam'; got {value.get('model_type')!r}. "
            "Other families (sam2, sam_hq, …) are different models."
        )
    try:
        return named(_read(value))
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"config.json must describe a SAM model as transformers writes it; reading failed at {error!r}. "
            "Fetch the folder again."
        ) from error


def _read(value: Mapping[str, Any]) -> ModelConfig:
    vision = value.get("vision_config") or {}
    prompt = value.get("prompt_encoder_config") or {}
    decoder = value.get("mask_decoder_config") or {}
    width = int(vision.get("hidden_size", 768))
    mlp_width = vision.get("mlp_dim") or int(width * vision.get("mlp_ratio", 4.0))
    return ModelConfig(
        name="custom",
        encoder=ViTConfig(
            width=width,
            depth=int(vision.get("num_hidden_layers", 12)),
            heads=int(vision.get("num_attention_heads", 12)),
            global_blocks=tuple(int(index) for index in vision.get("global_attn_indexes", (2, 5, 8, 11))),
            window=int(vision.get("window_size", 14)),
            patch=int(vision.get("patch_size", 16)),
            mlp_ratio=mlp_width / width,
        ),
        canvas=int(vision.get("image_size", 1024)),
        width=int(decoder.get("hidden_size", 256)),
        mask_channels=int(prompt.get("mask_input_channels", 16)),
        decoder=DecoderConfig(
            depth=int(decoder.get("num_hidden_layers", 2)),
            heads=int(decoder.get("num_attention_heads", 8)),
            mlp_width=int(decoder.get("mlp_dim", 2048)),
            attention_downsample=int(decoder.get("attention_downsample_rate", 2)),
            multimask_outputs=int(decoder.get("num_multimask_outputs", 3)),
            iou_head_depth=int(decoder.get("iou_head_depth", 3)),
            iou_head_width=int(decoder.get("iou_head_hidden_dim", 256)),
        ),
    )


def named(config: ModelConfig) -> ModelConfig:
    """The preset with these very sizes, else the config itself."""
    own = {**config.to_dict(), "name": ""}
    for preset in PRESETS.values():
        if {**preset.to_dict(), "name": ""} == own:
            return preset
    return config
