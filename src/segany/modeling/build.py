"""Config → model, with fresh weights."""

from __future__ import annotations

from torch import nn

from segany.modeling.config import ConvConfig, ModelConfig, TinyViTConfig, ViTConfig
from segany.modeling.mask_decoder import MaskDecoder
from segany.modeling.prompt_encoder import PromptEncoder
from segany.modeling.sam import Sam
from segany.modeling.two_way import TwoWayTransformer


def build_encoder(config: ModelConfig) -> nn.Module:
    """The image encoder a config asks for, freshly initialised."""
    encoder = config.encoder
    if isinstance(encoder, ViTConfig):
        from segany.modeling.vit import ImageEncoderViT

        return ImageEncoderViT(encoder, config.canvas, config.width)
    if isinstance(encoder, TinyViTConfig):
        from segany.modeling.tiny_vit import TinyViT

        return TinyViT(encoder, config.canvas, config.width)
    assert isinstance(encoder, ConvConfig)
    from segany.modeling.conv import ConvEncoder

    return ConvEncoder(encoder, config.canvas, config.width, config.detail_channels)


def build_model(config: ModelConfig) -> Sam:
    """A freshly initialised model; weights come from `checkpoints.load_model` or from training."""
    decoder = config.decoder
    return Sam(
        config,
        build_encoder(config),
        PromptEncoder(
            embed_dim=config.width,
            image_embedding_size=(config.grid, config.grid),
            input_image_size=(config.canvas, config.canvas),
            mask_in_chans=config.mask_channels,
        ),
        MaskDecoder(
            transformer_dim=config.width,
            transformer=TwoWayTransformer(
                depth=decoder.depth,
                embedding_dim=config.width,
                num_heads=decoder.heads,
                mlp_dim=decoder.mlp_width,
                attention_downsample_rate=decoder.attention_downsample,
            ),
            num_multimask_outputs=decoder.multimask_outputs,
            iou_head_depth=decoder.iou_head_depth,
            iou_head_hidden_dim=decoder.iou_head_width,
            detail=config.detail,
        ),
    )
