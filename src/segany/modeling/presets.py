"""Named models. The only place where the released models' sizes are written down."""

from __future__ import annotations

from segany.modeling.config import ConvConfig, DecoderConfig, ModelConfig, TinyViTConfig, ViTConfig

VIT_B = ModelConfig(name="vit_b", encoder=ViTConfig(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)))
VIT_L = ModelConfig(name="vit_l", encoder=ViTConfig(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)))
VIT_H = ModelConfig(name="vit_h", encoder=ViTConfig(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)))
VIT_T = ModelConfig(name="vit_t", encoder=TinyViTConfig())
TINY = ModelConfig(
    name="tiny",
    encoder=ConvConfig(attention=1),
    canvas=512,
    width=128,
    decoder=DecoderConfig(mlp_width=512, iou_head_width=128),
    detail=True,
)
TOY = ModelConfig(
    name="toy",
    encoder=ViTConfig(width=32, depth=2, heads=2, global_blocks=(1,), window=3),
    canvas=128,
    width=32,
    mask_channels=8,
    decoder=DecoderConfig(heads=4, mlp_width=64, iou_head_width=32),
)
PRESETS: dict[str, ModelConfig] = {config.name: config for config in (VIT_B, VIT_L, VIT_H, VIT_T, TINY, TOY)}
"""Every model that can be named; `toy` is for tests, seconds-fast and untrained."""
