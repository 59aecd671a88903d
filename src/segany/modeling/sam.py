"""The whole promptable model, under the official module names.

B images · P prompts · K points per prompt · M masks per prompt · C channels · g grid side · S canvas side
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from segany.geometry.frames import Frame
from segany.modeling.config import ModelConfig
from segany.modeling.mask_decoder import MaskDecoder
from segany.modeling.prompt_encoder import PromptEncoder
from segany.modeling.two_way import all_real


class Sam(nn.Module):
    """Image encoder, prompt encoder and mask decoder; its `state_dict` is an official checkpoint for `vit_*`.

    Nothing here switches gradients off; callers that only predict do.

    Args:
        config: every size.
        image_encoder: (B, 3, S, S) → (B, C, g, g), with an `img_size`.
        prompt_encoder: see `PromptEncoder`.
        mask_decoder: see `MaskDecoder`.
    """

    image_format = "RGB"
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        config: ModelConfig,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
    ) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.mask_threshold = config.mask_threshold
        self.register_buffer("pixel_mean", torch.tensor(config.pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(config.pixel_std).view(-1, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def preprocess(self, pixels: Tensor) -> Tensor:
        """(…, 3, h, w) RGB in 0–255, longest side = canvas → normalised, zero-padded bottom/right to the canvas."""
        normalised = (pixels - self.pixel_mean) / self.pixel_std
        height, width = pixels.shape[-2:]
        return functional.pad(normalised, (0, self.config.canvas - width, 0, self.config.canvas - height))

    def encode(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised and padded pixels → image embeddings (B, C, g, g)."""
        embedding: Tensor = self.image_encoder(pixels)
        return embedding

    def decode(
        self,
        embeddings: Tensor,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        image_index: Tensor | None = None,
        token_mask: Tensor | None = None,
        extra_tokens: Tensor | None = None,
        pad_points: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """All four masks of every prompt; which of them to show is the caller's choice.

        Args:
            embeddings: (B, C, g, g).
            points: (P, K, 2) x, y in canvas pixels.
            labels: (P, K); 1 foreground, 0 background, −1 padding that belongs to the prompt.
            boxes: (P, 4) XYXY canvas pixels.
            masks: (P, 1, 4g, 4g) logits.
            image_index: (P,) image of each prompt; not needed when B is 1 or P.
            token_mask: (P, K), False where a point only fills the batch; such points change nothing.
            extra_tokens: (P, T, C) further prompt tokens, for example a projected text embedding.
            pad_points: add the padding point that belongs to points without a box. False when `points` hold every
                token themselves, padding points and box corners (labels 2 and 3) included: this is how prompts of
                different kinds share a batch.

        Returns:
            (P, M, 4g, 4g) mask logits and (P, M) predicted IoU.
        """
        given = (points, boxes, masks, extra_tokens)
        prompts = next((len(x) for x in given if x is not None), len(embeddings))
        pair = None if points is None or labels is None else (points, labels)
        sparse = self.prompt_encoder.embed_sparse(pair, boxes, prompts, pad_points=pad_points)
        if extra_tokens is not None:
            sparse = torch.cat([sparse, extra_tokens.to(sparse.dtype)], dim=1)
        if token_mask is not None:
            rest = sparse[:, token_mask.shape[1] :]
            token_mask = torch.cat([token_mask, all_real(rest)], dim=1)
        low_res, iou = self.mask_decoder.predict_masks(
            embeddings,
            self.prompt_encoder.get_dense_pe(),
            sparse,
            self.prompt_encoder.embed_dense(masks, prompts),
            image_index=image_index,
            token_mask=token_mask,
        )
        return low_res, iou

    def postprocess_masks(self, masks: Tensor, input_size: tuple[int, int], original_size: tuple[int, int]) -> Tensor:
        """(P, M, 4g, 4g) logits → (P, M, H, W) logits of the original photo: canvas, cut, original, all bilinear."""
        canvas = self.config.canvas
        on_canvas = functional.interpolate(masks.float(), (canvas, canvas), mode="bilinear", align_corners=False)
        cut = on_canvas[..., : input_size[0], : input_size[1]]
        return functional.interpolate(cut, original_size, mode="bilinear", align_corners=False)

    def forward(self, batched_input: list[dict[str, Any]], multimask_output: bool) -> list[dict[str, Tensor]]:
        """End to end on a list of images, trainable.

        Args:
            batched_input: per image `image` (3, h, w) RGB 0–255 with longest side = canvas, `original_size` (H, W),
                and optionally `point_coords` (P, K, 2) and `boxes` (P, 4) in canvas pixels, `point_labels` (P, K),
                `mask_inputs` (P, 1, 4g, 4g).
            multimask_output: three masks per prompt, or one.

        Returns:
            per image `masks` (P, M, H, W) bool, `iou_predictions` (P, M), `low_res_logits` (P, M, 4g, 4g).
        """
        embeddings = self.encode(torch.stack([self.preprocess(item["image"]) for item in batched_input]))
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        outputs = []
        for item, embedding in zip(batched_input, embeddings, strict=True):
            low_res, iou = self.decode(
                embedding.unsqueeze(0),
                points=item.get("point_coords"),
                labels=item.get("point_labels"),
                boxes=item.get("boxes"),
                masks=item.get("mask_inputs"),
            )
            low_res, iou = low_res[:, chosen], iou[:, chosen]
            size = (int(item["image"].shape[-2]), int(item["image"].shape[-1]))
            logits = self.postprocess_masks(low_res, size, item["original_size"])
            outputs.append({"masks": logits > self.mask_threshold, "iou_predictions": iou, "low_res_logits": low_res})
        return outputs

    def frame(self, original_hw: tuple[int, int]) -> Frame:
        """How a photo of this (H, W) lies on the canvas."""
        return Frame.of(original_hw, self.config.canvas, self.config.low_res)
