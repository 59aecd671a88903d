"""The embedded model's convolutional encoder, arranged for prediction.

B images · C channels · g grid side. Maps lie channels last throughout, so that normalisation and the MLPs see rows.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from segany.modeling.conv import ConvBlock, ConvEncoder, GlobalAttention
from segany.modeling.layers import LayerNorm2d
from segany.predict.backends.linear import Linear, Norm, linear, norm_of


class _Conv:
    """A convolution's weights in one precision, channels last."""

    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype) -> None:
        self.weight = layer.weight.detach().to(dtype, memory_format=torch.channels_last)
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)
        self.stride, self.padding, self.groups = layer.stride, layer.padding, layer.groups

    def __call__(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)


def as_rows(x: Tensor) -> Tensor:
    """(B, C, H, W) → (B·H·W, C); no copy when it lies channels last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def as_map(rows: Tensor, like: Tensor) -> Tensor:
    """(B·H·W, C) → (B, C, H, W) over the grid of `like`, without a copy."""
    batch, _, height, width = like.shape
    return rows.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _normed(x: Tensor, norm: Norm) -> Tensor:
    return as_map(functional.layer_norm(as_rows(x), (x.shape[1],), *norm), x)


class _Block:
    def __init__(self, block: ConvBlock, rows: int, dtype: torch.dtype) -> None:
        self.depthwise, self.norm = _Conv(block.dw, dtype), norm_of(block.norm, dtype)
        self.lin1, self.lin2 = (linear(layer, dtype, rows=rows) for layer in (block.lin1, block.lin2))

    def __call__(self, x: Tensor) -> Tensor:
        inner = as_rows(self.depthwise(x))
        inner = functional.layer_norm(inner, inner.shape[1:], *self.norm)
        return as_map(self.lin2.add(self.lin1.relu(inner), as_rows(x)), x)


class _Attention:
    def __init__(self, layer: GlobalAttention, rows: int, dtype: torch.dtype) -> None:
        self.heads, self.norm = layer.heads, norm_of(layer.norm, dtype)
        self.qkv, self.proj = (linear(part, dtype, rows=rows) for part in (layer.qkv, layer.proj))

    def __call__(self, x: Tensor) -> Tensor:
        rows = as_rows(x)
        projected = self.qkv(functional.layer_norm(rows, rows.shape[1:], *self.norm))
        split = projected.view(len(x), -1, 3, self.heads, x.shape[1] // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
        gathered = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows.shape)
        return as_map(self.proj.add(gathered, rows), x)


class _Lateral:
    """A branch into the embedding; the 1 × 1 ones are linear layers."""

    def __init__(self, layer: nn.Conv2d, rows: int, dtype: torch.dtype) -> None:
        single = layer.kernel_size == (1, 1)
        self.run: Linear | _Conv = linear(layer, dtype, rows=rows) if single else _Conv(layer, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return as_map(self.run(as_rows(x)), x) if isinstance(self.run, Linear) else self.run(x)


class PreparedConv:
    """A `ConvEncoder` for prediction.

    Args:
        encoder: on the device it will run on.
        dtype: precision of the weights and of everything up to the last normalisation.
    """

    def __init__(self, encoder: ConvEncoder, dtype: torch.dtype) -> None:
        self.dtype = dtype
        side = encoder.img_size // 4
        counts = [(side >> index) ** 2 for index in range(len(encoder.stages))]
        self.stem, self.stem_norm = _stem(encoder, dtype)
        self.stages = [
            [_Block(cast(ConvBlock, block), rows, dtype) for block in cast(nn.Sequential, stage)]
            for stage, rows in zip(encoder.stages, counts, strict=True)
        ]
        self.attention = [_Attention(cast(GlobalAttention, one), counts[-1], dtype) for one in encoder.attention]
        pairs = [cast(nn.Sequential, pair) for pair in encoder.downsample]
        self.downsample = [(norm_of(pair[0], dtype), _Conv(cast(nn.Conv2d, pair[1]), dtype)) for pair in pairs]
        branches = zip(encoder.lateral, counts, strict=True)
        self.lateral = [_Lateral(cast(nn.Conv2d, layer), rows, dtype) for layer, rows in branches]
        norm, wide, last = encoder.neck
        self.norm, self.wide, self.last = norm_of(norm, dtype), _Conv(cast(nn.Conv2d, wide), dtype), last
        layers = [cast(nn.Sequential, layer) for layer in encoder.detail]
        self.detail = [
            (norm_of(layer[0], dtype), _Lateral(cast(nn.Conv2d, layer[1]), counts[1 - index], dtype))
            for index, layer in enumerate(layers)
        ]

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, 3, canvas, canvas) normalised pixels → (B, C, g, g) float32, fine features behind the C channels."""
        x = pixels.to(self.dtype, memory_format=torch.channels_last)
        x = _normed(self.stem(x), self.stem_norm)
        features = []
        for index, stage in enumerate(self.stages):
            if index:
                norm, shrink = self.downsample[index - 1]
                x = shrink(_normed(x, norm))
            for step in (*(self.attention if index == len(self.stages) - 1 else ()), *stage):
                x = step(x)
            features.append(x)
        fine = [layer(_normed(features[1 - i], norm)) for i, (norm, layer) in enumerate(self.detail)]
        fused = self._fuse(features)
        out: Tensor = self.last(self.wide(_normed(fused, self.norm)).float())
        folded = [functional.pixel_unshuffle(x, factor).float() for x, factor in zip(fine, (2, 4), strict=False)]
        return torch.cat([out, *folded], dim=1).contiguous() if folded else out.contiguous()

    def _fuse(self, features: list[Tensor]) -> Tensor:
        *fine, coarse = [lateral(x) for lateral, x in zip(self.lateral, features, strict=True)]
        spread = functional.interpolate(coarse, size=fine[-1].shape[-2:], mode="bilinear", align_corners=False)
        for branch in fine:
            spread = spread.add_(branch)
        return spread


def _stem(encoder: ConvEncoder, dtype: torch.dtype) -> tuple[_Conv, Norm]:
    conv, norm = encoder.stem
    return _Conv(cast(nn.Conv2d, conv), dtype), norm_of(cast(LayerNorm2d, norm), dtype)
