"""The two-way transformer: tokens attend to the image and the image attends back.

P prompts · T tokens · N image tokens · C channels
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than the token width.

    One side is always a handful of tokens, so the scores are small and written out: the fused kernels are several
    times slower at these shapes, most of all backwards.

    Args:
        embedding_dim: C.
        num_heads: heads.
        downsample_rate: inner width is C over this.
    """

    def __init__(self, embedding_dim: int, num_heads: int, downsample_rate: int = 1) -> None:
        super().__init__()
        self.num_heads = num_heads
        inner = embedding_dim // downsample_rate
        self.q_proj = nn.Linear(embedding_dim, inner)
        self.k_proj = nn.Linear(embedding_dim, inner)
        self.v_proj = nn.Linear(embedding_dim, inner)
        self.out_proj = nn.Linear(inner, embedding_dim)

    def _split(self, x: Tensor) -> Tensor:
        prompts, tokens, width = x.shape
        return x.reshape(prompts, tokens, self.num_heads, width // self.num_heads).transpose(1, 2)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """(P, Q, C), (P, K, C), (P, K, C) → (P, Q, C); `key_mask` (P, K) is False where a key is padding."""
        query, key = self._split(self.q_proj(q)), self._split(self.k_proj(k))
        # Keys along the second-last axis: a softmax over a handful of keys then runs along the long, contiguous one.
        scores = key @ query.transpose(-2, -1) * query.shape[-1] ** -0.5
        if key_mask is not None:
            scores = scores.masked_fill(~key_mask[:, None, :, None], float("-inf"))
        out = scores.softmax(dim=-2).to(query.dtype).transpose(-2, -1) @ self._split(self.v_proj(v))
        projected: Tensor = self.out_proj(out.transpose(1, 2).flatten(2))
        return projected


class MLPBlock(nn.Module):
    """Linear, activation, linear; keys `lin1`, `lin2`."""

    def __init__(self, embedding_dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(embedding_dim, mlp_dim)
        self.lin2 = nn.Linear(mlp_dim, embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lin2(functional.relu(self.lin1(x)))
        return out


class TwoWayAttentionBlock(nn.Module):
    """Token self-attention, token → image, token MLP, image → token; post-norm.

    The first block of the released models attends without positions and replaces the tokens instead of adding to
    them (`first=True`); weights depend on it.
    """

    def __init__(self, width: int, heads: int, mlp_width: int, downsample: int, first: bool) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, downsample)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLPBlock(width, mlp_width)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, downsample)
        self.first = first

    def attend_self(self, tokens: Tensor, token_pe: Tensor, token_mask: Tensor | None) -> Tensor:
        if self.first:
            replaced: Tensor = self.self_attn(tokens, tokens, tokens, token_mask)
            return replaced
        q = tokens + token_pe
        out: Tensor = tokens + self.self_attn(q, q, tokens, token_mask)
        return out

    def forward(
        self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor, token_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        tokens = self.norm1(self.attend_self(tokens, token_pe, token_mask))
        placed_image = image + image_pe
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pe, placed_image, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(placed_image, tokens + token_pe, tokens, token_mask))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Stack of two-way blocks and a final token → image attention.

    Args:
        depth: blocks.
        embedding_dim: C.
        num_heads: heads.
        mlp_dim: hidden width of the token MLP.
        attention_downsample_rate: cross-attention inner width is C over this.

    Source: Segment Anything (arXiv 2304.02643), mask decoder.
    """

    def __init__(
        self, depth: int, embedding_dim: int, num_heads: int, mlp_dim: int, attention_downsample_rate: int = 2
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(embedding_dim, num_heads, mlp_dim, attention_downsample_rate, first=index == 0)
            for index in range(depth)
        )
        self.final_attn_token_to_image = Attention(embedding_dim, num_heads, attention_downsample_rate)
        self.norm_final_attn = nn.LayerNorm(embedding_dim)

    def forward(
        self,
        image_embedding: Tensor,
        image_pe: Tensor,
        point_embedding: Tensor,
        token_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Args: image (1 or P, C, g, g), its positions (likewise), tokens (P, T, C), mask (P, T) of real tokens.

        Returns:
            tokens (P, T, C) and image tokens (P, N, C).
        """
        image = image_embedding.flatten(2).transpose(1, 2)
        positions = image_pe.flatten(2).transpose(1, 2)
        tokens = point_embedding
        for layer in self.layers:
            tokens, image = layer(tokens, image, point_embedding, positions, token_mask)
        attended = self.final_attn_token_to_image(tokens + point_embedding, image + positions, image)
        return self.norm_final_attn(tokens + attended), image


def all_real(tokens: Tensor) -> Tensor:
    """(P, T) mask that keeps every token of (P, T, C)."""
    return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
