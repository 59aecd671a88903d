"""The prompt encoder and mask decoder once more, for training: the same numbers and gradients, arranged for speed.

Training decodes every mask several times and goes back through all of it. Written as convolutions, most of that time
is spent moving data between layouts. Here every map keeps the embedding's cells as rows and folds what is finer than
a cell into columns, so that strided convolutions are matrix products and nothing is unfolded before the masks.

B images · P prompts · T tokens · N cells of the embedding · M mask tokens · C channels · g grid side
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from segany.modeling.layers import LayerNorm2d
from segany.modeling.mask_decoder import MaskDecoder
from segany.modeling.prompt_encoder import PromptEncoder
from segany.modeling.sam import Sam
from segany.modeling.two_way import Attention, TwoWayAttentionBlock, all_real


@dataclass(frozen=True)
class FoldedImages:
    """What P prompts see of their images.

    Attributes:
        cells: (P, N, C) embeddings.
        eighth: (P, N, 4, C/4) features at stride 8, the four of a cell side by side; None without fine features.
        quarter: (P, N, 16, C/8) features at stride 4, ordered as two upscalings by 2 order them; likewise.
    """

    cells: Tensor
    eighth: Tensor | None = None
    quarter: Tensor | None = None


def fold(decoder: MaskDecoder, embeddings: Tensor, image_index: Tensor) -> FoldedImages:
    """Image embeddings, once per prompt.

    Args:
        decoder: says how the channels split.
        embeddings: (B, C + …, g, g).
        image_index: (P,) row of `embeddings` for each prompt.
    """
    batch, cells = len(embeddings), embeddings.shape[-2] * embeddings.shape[-1]
    width = decoder.transformer_dim
    if not decoder.detail:
        return FoldedImages(_rows(embeddings)[image_index])
    plain, eighth, quarter = torch.split(embeddings, [width, width, 2 * width], dim=1)
    eighth = eighth.reshape(batch, width // 4, 4, cells).permute(0, 3, 2, 1)
    quarter = quarter.reshape(batch, width // 8, 2, 2, 2, 2, cells).permute(0, 6, 2, 4, 3, 5, 1)
    quarter = quarter.reshape(batch, cells, 16, width // 8)
    return FoldedImages(_rows(plain)[image_index], eighth.contiguous()[image_index], quarter[image_index])


def decode(
    model: Sam,
    images: FoldedImages,
    *,
    points: Tensor,
    labels: Tensor,
    masks: Tensor | None = None,
    token_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`Sam.decode` with `pad_points=False`.

    Args:
        model: whose prompt encoder, at the canvas of the images, and decoder are run.
        images: as `fold` gives them.
        points, labels, masks, token_mask: as there.

    Returns:
        (P, M, 4g, 4g) mask logits and (P, M) predicted IoU.
    """
    encoder, decoder = model.prompt_encoder, model.mask_decoder
    sparse = encoder.embed_sparse((points, labels), None, len(points), pad_points=False)
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse.to(own.dtype)], dim=1)
    if token_mask is not None:
        token_mask = torch.cat([all_real(tokens[:, : len(own)]), token_mask], dim=1)
    dense = encoder.no_mask_embed.weight if masks is None else _mask_prompt(encoder, masks)
    positions = _rows(encoder.get_dense_pe())
    kept = images.cells.dtype
    tokens, image = _two_way(decoder, images.cells + dense.to(kept), positions.to(kept), tokens, token_mask)
    upscaled = _upscaled(decoder, image, images)
    mask_tokens = tokens[:, 1 : 1 + decoder.num_mask_tokens]
    kernels = torch.stack(
        [head(mask_tokens[:, index]) for index, head in enumerate(decoder.output_hypernetworks_mlps)], dim=1
    )
    return _unfolded(upscaled @ kernels.transpose(1, 2), encoder), decoder.iou_prediction_head(tokens[:, 0])


def _rows(maps: Tensor) -> Tensor:
    """(B, C, h, w) → (B, h · w, C)."""
    return maps.flatten(2).transpose(1, 2).contiguous()


def _mask_prompt(encoder: PromptEncoder, masks: Tensor) -> Tensor:
    """(P, 1, 4g, 4g) logits → (P, N, C); channels come first inside, the cells of all prompts last."""
    first, norm, _, second, other, _, last = cast(
        tuple[nn.Conv2d, LayerNorm2d, nn.Module, nn.Conv2d, LayerNorm2d, nn.Module, nn.Conv2d],
        tuple(encoder.mask_downscaling),
    )
    prompts, height, width = len(masks), masks.shape[-2] // 4, masks.shape[-1] // 4
    folded = masks.reshape(prompts, height, 2, 2, width, 2, 2).permute(3, 6, 2, 5, 0, 1, 4)
    quarters = folded.reshape(4, -1)
    halves = functional.gelu(_over_channels(norm, _matrix(first) @ quarters + _column(first)))
    cells = _matrix(second) @ halves.reshape(second.in_channels * 4, -1) + _column(second)
    cells = functional.gelu(_over_channels(other, cells))
    return functional.linear(cells.t(), last.weight.flatten(1), last.bias).reshape(prompts, height * width, -1)


def _matrix(layer: nn.Conv2d) -> Tensor:
    return layer.weight.flatten(1)


def _column(layer: nn.Conv2d) -> Tensor:
    return cast(Tensor, layer.bias).unsqueeze(1)


def _over_channels(norm: LayerNorm2d, x: Tensor) -> Tensor:
    """Layer normalisation of (C, n) over its few channels; the library's is slow for rows of four."""
    x = x.float()
    centred = x - x.mean(dim=0)
    scale = (centred.square().mean(dim=0) + norm.eps).rsqrt()
    return centred * scale * norm.weight.unsqueeze(1) + norm.bias.unsqueeze(1)


def _two_way(
    decoder: MaskDecoder, image: Tensor, positions: Tensor, tokens: Tensor, token_mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Tokens (P, T, C) and image (P, N, C) after the two-way transformer."""
    transformer, prompt = decoder.transformer, tokens
    for block in transformer.layers:
        layer = cast(TwoWayAttentionBlock, block)
        tokens = layer.norm1(layer.attend_self(tokens, prompt, token_mask))
        placed = image + positions
        tokens = layer.norm2(tokens + _to_image(layer.cross_attn_token_to_image, tokens + prompt, placed, image))
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        answer = _to_tokens(layer.cross_attn_image_to_token, placed, tokens + prompt, tokens, token_mask)
        image = layer.norm4(image + answer)
    attended = _to_image(transformer.final_attn_token_to_image, tokens + prompt, image + positions, image)
    return transformer.norm_final_attn(tokens + attended), image


def _heads_apart(attention: Attention, tokens: Tensor) -> Tensor:
    """(P, T, I) → (P, T · H, I): a row for every head, zero outside its own channels.

    With it one product serves all heads, and the image's side is never rearranged.
    """
    prompts, count, width = tokens.shape
    own = torch.eye(attention.num_heads, dtype=tokens.dtype, device=tokens.device)
    own = own.repeat_interleave(width // attention.num_heads, dim=1)
    return (tokens.unsqueeze(2) * own).reshape(prompts, count * attention.num_heads, width)


def _to_image(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Tokens attend to cells: (P, T, C), (P, N, C), (P, N, C) → (P, T, C)."""
    query, key, value = attention.q_proj(q), attention.k_proj(k), attention.v_proj(v)
    heads, width = attention.num_heads, query.shape[-1]
    query = _heads_apart(attention, query * (width // heads) ** -0.5)
    gathered = _softmax(query @ key.transpose(1, 2), -1) @ value
    prompts, rows = gathered.shape[:2]
    split = gathered.reshape(prompts, rows // heads, heads, heads, width // heads)
    out: Tensor = attention.out_proj(split.diagonal(dim1=2, dim2=3).transpose(2, 3).flatten(2))
    return out


def _to_tokens(attention: Attention, q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None) -> Tensor:
    """Cells attend to tokens: (P, N, C), (P, T, C), (P, T, C) → (P, N, C); `key_mask` (P, T) marks real tokens."""
    query, key, value = attention.q_proj(q), attention.k_proj(k), attention.v_proj(v)
    heads, width = attention.num_heads, query.shape[-1]
    key = _heads_apart(attention, key * (width // heads) ** -0.5)
    scores = (key @ query.transpose(1, 2)).unflatten(1, (-1, heads))
    if key_mask is not None:
        scores = scores.masked_fill(~key_mask[:, :, None, None], float("-inf"))
    shares = _softmax(scores, 1).flatten(1, 2)
    out: Tensor = attention.out_proj(shares.transpose(1, 2) @ _heads_apart(attention, value))
    return out


def _softmax(scores: Tensor, dim: int) -> Tensor:
    """Softmax in the scores' own type; its sums are kept in float32 all the same."""
    with torch.autocast(scores.device.type, enabled=False):
        return scores.softmax(dim=dim)


def _upscaled(decoder: MaskDecoder, image: Tensor, images: FoldedImages) -> Tensor:
    """(P, N, C) → (P, N · 16, C/8), the sixteen of a cell next to each other."""
    first, norm, _, second, _ = cast(
        tuple[nn.ConvTranspose2d, LayerNorm2d, nn.Module, nn.ConvTranspose2d, nn.Module],
        tuple(decoder.output_upscaling),
    )
    halves = _doubled(first, image)
    halves = halves if images.eighth is None else halves + images.eighth
    halves = functional.gelu(functional.layer_norm(halves, norm.weight.shape, norm.weight, norm.bias, norm.eps))
    quarters = _doubled(second, halves).flatten(2, 3)
    quarters = quarters if images.quarter is None else quarters + images.quarter
    return functional.gelu(quarters).flatten(1, 2)


def _doubled(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """Transposed convolution of kernel and stride 2, unfolded later: (…, C) → (…, 4, C')."""
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)
    bias = cast(Tensor, layer.bias).repeat(4)
    return functional.linear(x, weight, bias).reshape(*x.shape[:-1], 4, -1)


def _unfolded(folded: Tensor, encoder: PromptEncoder) -> Tensor:
    """(P, N · 16, M) → (P, M, 4h, 4w)."""
    prompts, _, count = folded.shape
    height, width = encoder.image_embedding_size
    apart = folded.reshape(prompts, height, width, 2, 2, 2, 2, count)
    return apart.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(prompts, count, 4 * height, 4 * width)
