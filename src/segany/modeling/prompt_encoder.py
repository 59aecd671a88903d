"""Prompts → tokens and a dense map: points, boxes, low-res mask logits.

P prompts · K points per prompt · T tokens per prompt · C channels · g grid side
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from segany.modeling.layers import LayerNorm2d

BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT, PADDING = 0, 1, 2, 3, -1
PIXEL_CENTRE = 0.5


class PositionEmbeddingRandom(nn.Module):
    """Random Fourier features of 2-D positions, always computed in float32.

    Args:
        features: half the number of channels of the embedding.
        scale: deviation of the Gaussian frequencies.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", scale * torch.randn(2, features))

    def encode(self, unit_xy: Tensor) -> Tensor:
        """(…, 2) positions in [0, 1] → (…, C)."""
        with torch.autocast(unit_xy.device.type, enabled=False):
            frequencies = self.positional_encoding_gaussian_matrix.float()
            angles = (2 * unit_xy.float() - 1) @ frequencies * (2 * math.pi)
            return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def forward(self, size_hw: tuple[int, int]) -> Tensor:
        """Embedding of every cell centre of an (h, w) grid: (C, h, w)."""
        height, width = size_hw
        device = self.positional_encoding_gaussian_matrix.device
        y = (torch.arange(height, device=device, dtype=torch.float32) + PIXEL_CENTRE) / height
        x = (torch.arange(width, device=device, dtype=torch.float32) + PIXEL_CENTRE) / width
        unit_xy = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
        return self.encode(unit_xy).permute(2, 0, 1)


class PromptEncoder(nn.Module):
    """What a person points at, as tokens for the mask decoder.

    Args:
        embed_dim: C.
        image_embedding_size: (g, g) of the image embedding.
        input_image_size: (S, S) of the canvas, pixels.
        mask_in_chans: inner channels of the mask prompt's downscaling.

    Source: Segment Anything (arXiv 2304.02643), prompt encoder.
    """

    def __init__(
        self,
        embed_dim: int,
        image_embedding_size: tuple[int, int],
        input_image_size: tuple[int, int],
        mask_in_chans: int,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.image_embedding_size = image_embedding_size
        self.input_image_size = input_image_size
        self.mask_input_size = (4 * image_embedding_size[0], 4 * image_embedding_size[1])
        self.pe_layer = PositionEmbeddingRandom(embed_dim // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_in_chans // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_in_chans // 4),
            nn.GELU(),
            nn.Conv2d(mask_in_chans // 4, mask_in_chans, kernel_size=2, stride=2),
            LayerNorm2d(mask_in_chans),
            nn.GELU(),
            nn.Conv2d(mask_in_chans, embed_dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def get_dense_pe(self) -> Tensor:
        """Positional encoding of the image embedding's cells, (1, C, g, g)."""
        encoding: Tensor = self.pe_layer(self.image_embedding_size)
        return encoding.unsqueeze(0)

    def _unit(self, canvas_xy: Tensor) -> Tensor:
        height, width = self.input_image_size
        size = canvas_xy.new_tensor([width, height], dtype=torch.float32)
        return (canvas_xy.float() + PIXEL_CENTRE) / size

    def _kind(self, label: int) -> Tensor:
        embedding = self.point_embeddings[label]
        assert isinstance(embedding, nn.Embedding)
        return embedding.weight

    def _embed_points(self, points: Tensor, labels: Tensor, pad: bool) -> Tensor:
        if pad:
            points = torch.cat([points.float(), points.new_zeros(len(points), 1, 2, dtype=torch.float32)], dim=1)
            labels = torch.cat([labels, labels.new_full((len(labels), 1), PADDING)], dim=1)
        kind = labels.unsqueeze(-1)
        position = self.pe_layer.encode(self._unit(points))
        out = torch.where(kind == PADDING, self.not_a_point_embed.weight, position)
        for label in range(len(self.point_embeddings)):
            out = torch.where(kind == label, position + self._kind(label), out)
        return out

    def _embed_boxes(self, boxes: Tensor) -> Tensor:
        corners = self.pe_layer.encode(self._unit(boxes.reshape(-1, 2, 2)))
        kinds = torch.cat([self._kind(TOP_LEFT), self._kind(BOTTOM_RIGHT)])
        return corners + kinds

    def embed_sparse(
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        prompts: int,
        *,
        pad_points: bool = True,
    ) -> Tensor:
        """Tokens of points then of box corners.

        Args:
            points: ((P, K, 2) canvas pixels, (P, K) labels 1 foreground, 0 background, 2/3 box corners, −1 padding).
            boxes: (P, 4) XYXY canvas pixels.
            prompts: P, for when neither is given.
            pad_points: add the padding point; False when the points hold every token already.

        Returns:
            (P, T, C) float32; T = K + 1 without boxes (the padding point belongs to the model), K + 2 with boxes.
        """
        parts = []
        if points is not None:
            parts.append(self._embed_points(*points, pad=pad_points and boxes is None))
        if boxes is not None:
            parts.append(self._embed_boxes(boxes))
        if not parts:
            return self.no_mask_embed.weight.new_empty(prompts, 0, self.embed_dim)
        return torch.cat(parts, dim=1)

    def embed_dense(self, masks: Tensor | None, prompts: int) -> Tensor:
        """(P, 1, 4g, 4g) logits or None → (P, C, g, g), a broadcast view when None."""
        if masks is not None:
            dense: Tensor = self.mask_downscaling(masks)
            return dense
        height, width = self.image_embedding_size
        return self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(prompts, -1, height, width)

    def forward(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Sparse (P, T, C) and dense (P, C, g, g) embeddings of P prompts; arguments as in the two methods above."""
        prompts = next((len(x) for x in (points[0] if points else None, boxes, masks) if x is not None), 1)
        return self.embed_sparse(points, boxes, prompts), self.embed_dense(masks, prompts)
