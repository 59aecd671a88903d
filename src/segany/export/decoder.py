"""The prompt encoder and mask decoder as one graph, with the tensor names, shapes and rules of the reference's file.

P prompts · N prompt tokens · M masks per prompt · C channels · g grid side · h = 4g low-res side · H, W original photo
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from segany.export.config import ExportConfig
from segany.masks.stability import stability_score
from segany.modeling.sam import Sam

BATCH_FILLER = -10
"""Label of a point that only fills a batch: no token looks at it."""


class TanhGelu(nn.Module):
    """GELU by its tanh formula, spelled so that onnxruntime makes one operation of it: twice as fast as erf there.

    Source: Gaussian error linear units (arXiv 1606.08415), approximation; it is off by at most 0.0005.
    """

    def forward(self, x: Tensor) -> Tensor:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))
        return 0.5 * x * (1.0 + torch.tanh(inner))


class PromptDecoder(nn.Module):
    """Embedding and prompts in, all masks at low resolution out; written without a size that depends on its input.

    Args:
        model: its weights are shared, not copied, unless `tanh_gelu`.
        tanh_gelu: see `ExportConfig`.
    """

    def __init__(self, model: Sam, *, tanh_gelu: bool = False) -> None:
        super().__init__()
        if tanh_gelu:
            model = copy.deepcopy(model)
            for sequence in (model.prompt_encoder.mask_downscaling, model.mask_decoder.output_upscaling):
                for index, module in enumerate(sequence):
                    if isinstance(module, nn.GELU):
                        sequence[index] = TanhGelu()
        self.prompts = model.prompt_encoder
        self.decoder = model.mask_decoder
        self.own_tokens = 1 + self.decoder.num_mask_tokens

    def dense(self, mask_input: Tensor, has_mask_input: Tensor) -> Tensor:
        """(P, 1, h, h) logits and (P,) switches → (P, C, g, g); blended by arithmetic, not by control flow."""
        has = has_mask_input.reshape(-1, 1, 1, 1)
        without = self.prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
        dense: Tensor = has * self.prompts.mask_downscaling(mask_input) + (1 - has) * without
        return dense

    def sparse(self, point_coords: Tensor, point_labels: Tensor) -> Tensor:
        """(P, N, 2) canvas pixels and (P, N) labels → (P, N, C)."""
        return self.prompts.embed_sparse((point_coords, point_labels), None, 1, pad_points=False)

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        token_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(P, M, h, h) logits and (P, M) predicted IoU of every mask token."""
        sparse = self.sparse(point_coords, point_labels)
        own = torch.cat([self.decoder.iou_token.weight, self.decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        if token_mask is not None:
            real = torch.ones_like(tokens[:, : self.own_tokens, 0], dtype=torch.bool)
            token_mask = torch.cat([real, token_mask], dim=1)
        image_embeddings, *fine = self.decoder.split(image_embeddings)
        image = image_embeddings + self.dense(mask_input, has_mask_input)
        tokens, attended = self.decoder.transformer(image, self.prompts.get_dense_pe(), tokens, token_mask)
        channels, (height, width) = self.prompts.embed_dim, self.prompts.image_embedding_size
        upscaled = self.decoder.upscale(attended.transpose(1, 2).reshape(-1, channels, height, width), fine)
        kernels = torch.stack(
            [head(tokens[:, 1 + index]) for index, head in enumerate(self.decoder.output_hypernetworks_mlps)], dim=1
        )
        side_h, side_w = self.prompts.mask_input_size
        masks = (kernels @ upscaled.flatten(2)).reshape(-1, self.own_tokens - 1, side_h, side_w)
        quality: Tensor = self.decoder.iou_prediction_head(tokens[:, 0])
        return masks, quality


class DecoderGraph(nn.Module):
    """What `decoder.onnx` and `decoder_batch.onnx` compute.

    Args:
        model: the whole model.
        config: which outputs and rules.
        batch: prompts may come in any number; points labelled `BATCH_FILLER` are left out of every attention.
    """

    def __init__(self, model: Sam, config: ExportConfig, *, batch: bool = False) -> None:
        super().__init__()
        self.decode = PromptDecoder(model, tanh_gelu=config.tanh_gelu)
        self.config = config
        self.batch = batch
        self.canvas = model.config.canvas
        self.threshold = model.mask_threshold

    @property
    def output_names(self) -> tuple[str, ...]:
        """In the order of the reference's outputs."""
        extra = ("stability_scores", "areas") if self.config.extra_metrics else ()
        return ("masks", "iou_predictions", *extra, "low_res_masks")

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, ...]:
        """Names and shapes as in `docs/export.md`; every tensor is float32."""
        token_mask = point_labels != BATCH_FILLER if self.batch else None
        low_res, scores = self.decode(
            image_embeddings, point_coords, point_labels, mask_input, has_mask_input, token_mask
        )
        if self.config.stability_score:
            scores = stability_score(low_res, threshold=self.threshold, offset=self.config.stability_offset)
        if self.config.single_mask:
            low_res, scores = single_mask(low_res, scores, _real_points(point_labels, self.batch))
        masks = upscale(low_res, orig_im_size, self.canvas)
        if not self.config.extra_metrics:
            return masks, scores, low_res
        stability = stability_score(masks, threshold=self.threshold, offset=self.config.stability_offset)
        areas = (masks > self.threshold).flatten(-2).sum(dim=-1).to(masks.dtype)
        return masks, scores, stability, areas, low_res


def _real_points(labels: Tensor, batch: bool) -> Tensor:
    """(P or 1, 1) number of prompt tokens, the padding point included, batch fillers left out; float32."""
    counted = (labels != BATCH_FILLER) if batch else torch.ones_like(labels[:1])
    return counted.to(torch.float32).sum(dim=1, keepdim=True)


def single_mask(masks: Tensor, scores: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """The reference's choice of one mask: the unambiguous one from three prompt tokens on, else the best of the others.

    Args:
        masks: (P, M, h, h).
        scores: (P, M).
        points: (P, 1) number of prompt tokens N.

    Returns:
        (P, 1, h, h) and (P, 1).

    Source: Segment Anything released code: score + (N − 2.5) · [1000, 0, 0, 0], then the highest.
    """
    unambiguous = functional.one_hot(torch.zeros(1, dtype=torch.int64), masks.shape[1]).to(scores.dtype)
    best = (scores + (points - 2.5) * (1000.0 * unambiguous)).argmax(dim=1, keepdim=True)
    chosen = torch.gather(masks, 1, best[:, :, None, None].expand(-1, -1, masks.shape[2], masks.shape[3]))
    return chosen, torch.gather(scores, 1, best)


def upscale(low_res: Tensor, original_hw: Tensor, canvas: int) -> Tensor:
    """(P, M, h, h) logits → (P, M, H, W): canvas, cut, original, all bilinear; sizes are data, not constants.

    The rounding rule is computed in double precision, as `geometry.frames` does, so that no size is off by one.
    """
    on_canvas = functional.interpolate(low_res, (canvas, canvas), mode="bilinear", align_corners=False)
    size = original_hw.to(torch.float64)
    resized = (size * (canvas / size.max()) + 0.5).to(torch.int64).clamp(min=1)
    cut = on_canvas[..., : resized[0], : resized[1]]
    height, width = original_hw.to(torch.int64).unbind()
    target: Any = (height, width)
    return functional.interpolate(cut, size=target, mode="bilinear", align_corners=False)
