"""The embedded model's encoder: convolutions only, fused on the stride-16 grid, cheap on a CPU and in a browser.

B images · C channels · g grid side
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from segany.modeling.config import ConvConfig
from segany.modeling.layers import LayerNorm2d, ResidualBlock

HEAD_WIDTH = 32
"""Channels of an attention head."""


class ConvBlock(ResidualBlock):
    """Depthwise convolution, layer normalisation, channel MLP, residual.

    Source: ConvNeXt (arXiv 2201.03545), block design, without layer scale.
    """

    def __init__(self, channels: int, kernel: int, expand: int) -> None:
        super().__init__()
        self.dw = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.lin1 = nn.Linear(channels, expand * channels)
        self.lin2 = nn.Linear(expand * channels, channels)

    def body(self, x: Tensor) -> Tensor:
        inner = self.norm(self.dw(x).permute(0, 2, 3, 1))
        inner = self.lin2(functional.relu(self.lin1(inner)))
        out: Tensor = x + self.thinned(inner.permute(0, 3, 1, 2))
        return out


class GlobalAttention(ResidualBlock):
    """Every cell of a coarse grid looks at all the others; starts as the identity.

    No positions: the convolutions before it carry them.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.begin()

    def begin(self) -> None:
        """Make the layer the identity."""
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def body(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        split = self.qkv(tokens).reshape(batch, height * width, 3, self.heads, channels // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) * (channels // self.heads) ** -0.5
        gathered = (scores.softmax(dim=-1).to(value.dtype) @ value).transpose(1, 2).flatten(2)
        branch = self.proj(gathered).transpose(1, 2).reshape(x.shape)
        out: Tensor = x + self.thinned(branch)
        return out


def _handed_on(channels: int, out_channels: int) -> nn.Sequential:
    """Fine features for the decoder; zero until trained."""
    layer = nn.Conv2d(channels, out_channels, kernel_size=1)
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return nn.Sequential(LayerNorm2d(channels), layer)


class Neck(nn.Sequential):
    """Its layers take the first C channels; fine features behind them pass."""

    def forward(self, fused: Tensor) -> Tensor:
        """(B, C + …, g, g) → the same shape."""
        channels = len(cast(Tensor, self[0].weight))
        done = fused[:, :channels]
        for layer in self:
            done = layer(done)
        return done if fused.shape[1] == channels else torch.cat([done, fused[:, channels:]], dim=1)


def _stages(config: ConvConfig) -> nn.ModuleList:
    shapes = zip(config.widths, config.depths, config.kernels, strict=True)
    return nn.ModuleList(
        nn.Sequential(*(ConvBlock(channels, kernel, config.expand) for _ in range(depth)))
        for channels, depth, kernel in shapes
    )


class ConvEncoder(nn.Module):
    """Four stages at strides 4, 8, 16 and 32, brought together at stride 16.

    Fine stages enter by strided convolutions, so that the embedding carries detail below its own grid; the coarse
    stage enters by bilinear upsampling.

    Args:
        config: widths and depths.
        canvas: side of the input, pixels; any multiple of 32 works at run time.
        out_channels: C of the image embedding.
        detail: channels of the features at strides 8 and 4 that are folded onto the embedding's grid and follow its
            C channels; 0, 0 for none. They start at zero.
    """

    def __init__(self, config: ConvConfig, canvas: int, out_channels: int, detail: tuple[int, int] = (0, 0)) -> None:
        super().__init__()
        self.img_size = canvas
        w = config.widths
        self.stem = nn.Sequential(nn.Conv2d(3, w[0], kernel_size=4, stride=4), LayerNorm2d(w[0]))
        self.stages = _stages(config)
        self.attention = nn.ModuleList(GlobalAttention(w[3], w[3] // HEAD_WIDTH) for _ in range(config.attention))
        self.downsample = nn.ModuleList(
            nn.Sequential(LayerNorm2d(a), nn.Conv2d(a, b, kernel_size=2, stride=2)) for a, b in itertools.pairwise(w)
        )
        self.lateral = nn.ModuleList(
            [
                nn.Conv2d(w[0], out_channels, kernel_size=4, stride=4),
                nn.Conv2d(w[1], out_channels, kernel_size=2, stride=2),
                nn.Conv2d(w[2], out_channels, kernel_size=1),
                nn.Conv2d(w[3], out_channels, kernel_size=1),
            ]
        )
        self.neck = Neck(
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )
        self._init_weights()
        self.detail = nn.ModuleList(_handed_on(w[1 - i], channels) for i, channels in enumerate(detail) if channels)

    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for layer in self.attention:
            cast(GlobalAttention, layer).begin()

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels → (B, C, g, g), with fine features (B, C + 4·C₈ + 16·C₄, g, g)."""
        embedding: Tensor = self.neck(self.trunk(pixels))
        return embedding

    def trunk(self, pixels: Tensor) -> Tensor:
        """Everything before the neck, of the same shape as after it."""
        features = self.features(pixels)
        fused = self.fuse(features)
        if not self.detail:
            return fused
        eighth, quarter = (layer(features[1 - index]) for index, layer in enumerate(self.detail))
        folded = [functional.pixel_unshuffle(eighth, 2), functional.pixel_unshuffle(quarter, 4)]
        return torch.cat([fused, *folded], dim=1)

    def features(self, pixels: Tensor) -> list[Tensor]:
        """The four stages' outputs, strides 4, 8, 16 and 32."""
        x = self.stem(pixels)
        features = []
        for index, stage in enumerate(self.stages):
            x = x if index == 0 else self.downsample[index - 1](x)
            if index == len(self.stages) - 1:
                x = self.look_around(x)
            x = stage(x)
            features.append(x)
        return features

    def look_around(self, x: Tensor) -> Tensor:
        """The attention layers, in front of the last stage: (B, C, h, w) → the same shape."""
        for layer in self.attention:
            x = layer(x)
        return x

    def fuse(self, features: Sequence[Tensor]) -> Tensor:
        """The four stages' outputs, brought together at stride 16: (B, C, g, g)."""
        *fine, coarse = [lateral(x) for lateral, x in zip(self.lateral, features, strict=True)]
        fused: Tensor = sum(fine[1:], start=fine[0]) + functional.interpolate(
            coarse, size=fine[-1].shape[-2:], mode="bilinear", align_corners=False
        )
        return fused
