"""Tokens and image embedding → four masks and their predicted IoU.

P prompts · T tokens · M mask tokens · C channels · g grid side
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segany.modeling.layers import MLP, LayerNorm2d
from segany.modeling.two_way import TwoWayTransformer, all_real


class MaskDecoder(nn.Module):
    """The released mask decoder: token 0 for unambiguous prompts, the others for ambiguous ones.

    Args:
        transformer_dim: C.
        transformer: the two-way transformer.
        num_multimask_outputs: masks for ambiguity.
        iou_head_depth: layers of the IoU head.
        detail: the image embedding is followed by fine features that join the upscaling; see `ModelConfig.detail`.
        iou_head_hidden_dim: its hidden width.

    Source: Segment Anything (arXiv 2304.02643), mask decoder.
    """

    def __init__(
        self,
        *,
        transformer_dim: int,
        transformer: TwoWayTransformer,
        num_multimask_outputs: int = 3,
        iou_head_depth: int = 3,
        iou_head_hidden_dim: int = 256,
        detail: bool = False,
    ) -> None:
        super().__init__()
        self.transformer_dim = transformer_dim
        self.detail = detail
        self.transformer = transformer
        self.num_mask_tokens = num_multimask_outputs + 1
        self.iou_token = nn.Embedding(1, transformer_dim)
        self.mask_tokens = nn.Embedding(self.num_mask_tokens, transformer_dim)
        inner, fine = transformer_dim // 4, transformer_dim // 8
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(transformer_dim, inner, kernel_size=2, stride=2),
            LayerNorm2d(inner),
            nn.GELU(),
            nn.ConvTranspose2d(inner, fine, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(transformer_dim, transformer_dim, fine, 3) for _ in range(self.num_mask_tokens)
        )
        self.iou_prediction_head = MLP(transformer_dim, iou_head_hidden_dim, self.num_mask_tokens, iou_head_depth)

    def split(self, image_embeddings: Tensor) -> list[Tensor]:
        """(B, C + …, g, g) → the C channels that tokens attend to and, with `detail`, the features at strides 8 and 4,
        unfolded: (B, C/4, 2g, 2g) and (B, C/8, 4g, 4g).
        """
        if not self.detail:
            return [image_embeddings]
        width = self.transformer_dim
        parts = torch.split(image_embeddings, [width, width, 2 * width], dim=1)
        return [parts[0], functional.pixel_shuffle(parts[1], 2), functional.pixel_shuffle(parts[2], 4)]

    def upscale(self, image: Tensor, fine: Sequence[Tensor]) -> Tensor:
        """(P, C, g, g) attended image → (P, C/8, 4g, 4g), with the fine features where there are any.

        Source: SAM 2 (arXiv 2408.00714), skip connections to the mask decoder.
        """
        if not fine:
            plain: Tensor = self.output_upscaling(image)
            return plain
        first, norm, bend, second, last = self.output_upscaling
        finer = second(bend(norm(first(image) + fine[0])))
        upscaled: Tensor = last(finer + fine[1])
        return upscaled

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
    ) -> tuple[Tensor, Tensor]:
        """Masks 1… when `multimask_output`, else mask 0; arguments as in `predict_masks`."""
        masks, iou = self.predict_masks(image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings)
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        return masks[:, chosen], iou[:, chosen]

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        *,
        image_index: Tensor | None = None,
        token_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Every mask token's output.

        Args:
            image_embeddings: (B, C, g, g); B = 1 serves all prompts, B = P one each, else `image_index` says which.
            image_pe: (1, C, g, g).
            sparse_prompt_embeddings: (P, T, C).
            dense_prompt_embeddings: (P, C, g, g).
            image_index: (P,) row of `image_embeddings` for each prompt.
            token_mask: (P, T), False where a sparse token is batch padding.

        Returns:
            (P, M, 4g, 4g) mask logits and (P, M) predicted IoU, unbounded.
        """
        prompts = len(sparse_prompt_embeddings)
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(prompts, -1, -1), sparse_prompt_embeddings.to(own.dtype)], dim=1)
        if token_mask is not None:
            token_mask = torch.cat([all_real(tokens[:, : len(own)]), token_mask], dim=1)
        if image_index is not None:
            image_embeddings = image_embeddings[image_index]
        elif len(image_embeddings) == 1 and dense_prompt_embeddings.stride(0) == 0:
            # One image and no mask hints: until tokens touch it the image side is the same for all prompts.
            dense_prompt_embeddings = dense_prompt_embeddings[:1]
        image_embeddings, *fine = self.split(image_embeddings)
        image = image_embeddings + dense_prompt_embeddings
        tokens, attended = self.transformer(image, image_pe.to(own.dtype), tokens, token_mask)

        upscaled = self.upscale(attended.transpose(1, 2).reshape(-1, *image.shape[1:]), fine)
        mask_tokens = tokens[:, 1 : 1 + self.num_mask_tokens]
        kernels = torch.stack(
            [head(mask_tokens[:, index]) for index, head in enumerate(self.output_hypernetworks_mlps)], dim=1
        )
        masks = (kernels @ upscaled.flatten(2)).reshape(prompts, -1, *upscaled.shape[-2:])
        return masks, self.iou_prediction_head(tokens[:, 0])
