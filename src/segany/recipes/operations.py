"""How many floating-point operations a model's work needs, counted from its config (a multiply-add counts as two).

What the released architecture asks for is counted, padding of windows included, whatever the code makes of it: the
bound is the same before and after an optimisation. Norms, activations and softmax are not counted.

N tokens · C, D channels · g grid side · P prompts · T tokens per prompt · M masks
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segany.modeling.config import DecoderConfig, ModelConfig, ViTConfig

CLICK_TOKENS = 2
"""A click and the padding point that belongs to it."""


def encoder_operations(config: ModelConfig, encoder: nn.Module) -> float:
    """Operations of encoding one photo.

    Args:
        config: of the model.
        encoder: its image encoder; only run where no formula is written down, on an empty photo.
    """
    if isinstance(config.encoder, ViTConfig):
        return 2.0 * _vit_multiplications(config.encoder, config.grid, config.width)
    parameter = next(encoder.parameters())
    pixels = torch.zeros(1, 3, config.canvas, config.canvas, device=parameter.device, dtype=parameter.dtype)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(pixels)
    return float(counter.get_total_flops())


def _vit_multiplications(config: ViTConfig, grid: int, out_width: int) -> float:
    width, tokens = config.width, grid * grid
    padded = -(-grid // config.window) * config.window
    total = float(tokens * 3 * config.patch**2 * width)
    for index in range(config.depth):
        side, count = (grid, tokens) if index in config.global_blocks else (config.window, padded * padded)
        total += count * 4 * width * width  # q, k, v and the projection
        total += count * 2 * side * side * width  # scores and their use
        total += count * 2 * side * width  # position biases along rows and columns
        total += tokens * 2 * width * int(width * config.mlp_ratio)
    return total + tokens * (width * out_width + 9 * out_width * out_width)


def decoder_operations(config: ModelConfig, prompts: int, prompt_tokens: int = CLICK_TOKENS) -> float:
    """Operations of decoding some prompts of one photo, each worked out by itself as the published decoder does."""
    decoder, width = config.decoder, config.width
    image, masks = config.grid**2, decoder.multimask_outputs + 1
    tokens = 1 + masks + prompt_tokens
    inner = width // decoder.attention_downsample
    one = decoder.depth * _two_way(decoder, tokens, image, width, inner)
    one += _attention(tokens, image, width, inner)
    one += image * width * width  # 2 x 2 transposed convolution to a quarter of the channels
    one += 4 * image * (width // 4) * 4 * (width // 8)
    one += masks * (2 * width * width + width * (width // 8))
    one += masks * (width // 8) * 16 * image
    hidden, depth = decoder.iou_head_width, decoder.iou_head_depth
    one += width * hidden + max(0, depth - 2) * hidden * hidden + hidden * masks
    return 2.0 * prompts * one


def _two_way(decoder: DecoderConfig, tokens: int, image: int, width: int, inner: int) -> float:
    own = _attention(tokens, tokens, width, width)
    across = _attention(tokens, image, width, inner) + _attention(image, tokens, width, inner)
    return own + across + 2.0 * tokens * width * decoder.mlp_width


def _attention(queries: int, keys: int, width: int, inner: int) -> float:
    return 2.0 * (queries + keys) * width * inner + 2.0 * queries * keys * inner
