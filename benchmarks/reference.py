"""The reference algorithm of automatic masks, written plainly: what this project's speed is measured against.

    python benchmarks/reference.py [--points-per-side 8] [--photo F]        times it alone, on random ViT-B weights

It follows the published description step by step, as a competent engineer would write it first: an encoder whose
attention scores and position biases are whole matrices in float32; a decoder that repeats the image's tokens for every
prompt; every candidate brought to the size of the photo before it is judged; run lengths counted mask by mask in
Python; suppression by boxes. One photo, no crops. It reads the official state dict, so both sides have the same
weights, and `tests/unit/benchmarks/test_reference.py` holds it to the same masks as this package's exact path.

B images · P prompts · T tokens · C channels · D channels per head · g grid side · h, w low-res grid · H, W photo
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from segany.modeling.config import ModelConfig, ViTConfig

Weights = Mapping[str, Tensor]
Inject = Callable[[int, int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(first prompt, one past the last, logits, IoU) → the logits and IoU to go on with."""


class Stages:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def layer_norm(weights: Weights, name: str, x: Tensor, eps: float) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps)


def channel_norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Layer norm over the channels of (B, C, H, W)."""
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    x = (x - mean) / torch.sqrt(variance + 1e-6)
    return weights[f"{name}.weight"][:, None, None] * x + weights[f"{name}.bias"][:, None, None]


# ---------------------------------------------------------------- image encoder


def position_table(table: Tensor, size: int) -> Tensor:
    """(size, size, D): the position vector of query line i against key line j."""
    if len(table) != 2 * size - 1:
        table = functional.interpolate(table.T[None], size=2 * size - 1, mode="linear")[0].T
    lines = torch.arange(size)
    return table[lines[:, None] - lines[None, :] + size - 1]


def grid_attention(weights: Weights, name: str, x: Tensor, heads: int) -> Tensor:
    """Self-attention over (B, H, W, C), scores and biases as whole matrices."""
    batch, height, width, channels = x.shape
    tokens = height * width
    qkv = linear(weights, f"{name}.qkv", x).reshape(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.reshape(3, batch * heads, tokens, -1).unbind(0)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    grid_q = q.reshape(batch * heads, height, width, -1)
    rows = torch.einsum("bhwd,hkd->bhwk", grid_q, position_table(weights[f"{name}.rel_pos_h"], height))
    columns = torch.einsum("bhwd,wkd->bhwk", grid_q, position_table(weights[f"{name}.rel_pos_w"], width))
    shaped = scores.view(batch * heads, height, width, height, width)
    shaped.add_(rows[..., :, None]).add_(columns[..., None, :])
    out = scores.softmax(dim=-1) @ v
    out = out.view(batch, heads, height, width, -1).permute(0, 2, 3, 1, 4).reshape(batch, height, width, channels)
    return linear(weights, f"{name}.proj", out)


def windowed_attention(weights: Weights, name: str, x: Tensor, heads: int, window: int) -> Tensor:
    """The same inside windows; the grid is padded to whole windows, and the padding takes part."""
    batch, height, width, channels = x.shape
    x = functional.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    down, across = x.shape[1] // window, x.shape[2] // window
    x = x.view(batch, down, window, across, window, channels).permute(0, 1, 3, 2, 4, 5)
    x = grid_attention(weights, name, x.reshape(-1, window, window, channels), heads)
    x = x.view(batch, down, across, window, window, channels).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, down * window, across * window, channels)[:, :height, :width]


def encode(weights: Weights, config: ModelConfig, pixels: Tensor) -> Tensor:
    """(B, 3, S, S) → (B, C, g, g)."""
    encoder = config.encoder
    assert isinstance(encoder, ViTConfig)
    patches = weights["image_encoder.patch_embed.proj.weight"], weights["image_encoder.patch_embed.proj.bias"]
    x = functional.conv2d(pixels, *patches, stride=encoder.patch).permute(0, 2, 3, 1)
    x = x + weights["image_encoder.pos_embed"]
    for index in range(encoder.depth):
        name = f"image_encoder.blocks.{index}"
        normed = layer_norm(weights, f"{name}.norm1", x, 1e-6)
        if index in encoder.global_blocks:
            x = x + grid_attention(weights, f"{name}.attn", normed, encoder.heads)
        else:
            x = x + windowed_attention(weights, f"{name}.attn", normed, encoder.heads, encoder.window)
        normed = layer_norm(weights, f"{name}.norm2", x, 1e-6)
        x = x + linear(weights, f"{name}.mlp.lin2", functional.gelu(linear(weights, f"{name}.mlp.lin1", normed)))
    x = functional.conv2d(x.permute(0, 3, 1, 2), weights["image_encoder.neck.0.weight"])
    x = channel_norm(weights, "image_encoder.neck.1", x)
    x = functional.conv2d(x, weights["image_encoder.neck.2.weight"], padding=1)
    return channel_norm(weights, "image_encoder.neck.3", x)


# ---------------------------------------------------------------- prompts and mask decoder


def positions(weights: Weights, unit_xy: Tensor) -> Tensor:
    """(…, 2) places in [0, 1] → (…, C)."""
    matrix = weights["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    angles = 2 * math.pi * ((2 * unit_xy - 1) @ matrix)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def click_tokens(weights: Weights, points: Tensor, canvas: int) -> Tensor:
    """(P, 2) canvas pixels → (P, 2, C): the foreground click and the padding point that belongs to it."""
    click = positions(weights, (points + 0.5) / canvas) + weights["prompt_encoder.point_embeddings.1.weight"]
    padding = weights["prompt_encoder.not_a_point_embed.weight"].expand_as(click)
    return torch.stack([click, padding], dim=1)


def attention(weights: Weights, name: str, heads: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(P, Q, C), (P, K, C), (P, K, C) → (P, Q, C)."""

    def split(x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)

    q, k, v = (split(linear(weights, f"{name}.{part}_proj", x)) for part, x in (("q", q), ("k", k), ("v", v)))
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    out = (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
    return linear(weights, f"{name}.out_proj", out)


def mlp(weights: Weights, name: str, x: Tensor, depth: int) -> Tensor:
    for layer in range(depth):
        x = linear(weights, f"{name}.layers.{layer}", x)
        x = functional.relu(x) if layer < depth - 1 else x
    return x


def decode(weights: Weights, config: ModelConfig, features: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """(1, C, g, g), (P, 2) canvas pixels → (P, M, h, w) logits of every mask token and (P, M) predicted IoU."""
    decoder, grid, prompts = config.decoder, config.grid, len(points)
    lines = (torch.arange(grid) + 0.5) / grid
    cells = torch.stack([lines.expand(grid, grid), lines[:, None].expand(grid, grid)], dim=-1)
    dense_pe = positions(weights, cells).permute(2, 0, 1)[None]
    own = torch.cat([weights["mask_decoder.iou_token.weight"], weights["mask_decoder.mask_tokens.weight"]])
    token_pe = torch.cat([own.expand(prompts, -1, -1), click_tokens(weights, points, config.canvas)], dim=1)
    no_mask = weights["prompt_encoder.no_mask_embed.weight"].reshape(1, -1, 1, 1).expand(prompts, -1, grid, grid)
    image = (features.repeat_interleave(prompts, dim=0) + no_mask).flatten(2).permute(0, 2, 1)
    image_pe = dense_pe.repeat_interleave(prompts, dim=0).flatten(2).permute(0, 2, 1)

    tokens, trunk = token_pe, "mask_decoder.transformer"
    for index in range(decoder.depth):
        tokens, image = two_way(weights, f"{trunk}.layers.{index}", decoder.heads, tokens, image, token_pe, image_pe)
    attended = attention(
        weights, f"{trunk}.final_attn_token_to_image", decoder.heads, tokens + token_pe, image + image_pe, image
    )
    tokens = layer_norm(weights, f"{trunk}.norm_final_attn", tokens + attended, 1e-5)

    fine = upscale_features(weights, image.transpose(1, 2).reshape(prompts, -1, grid, grid))
    masks = decoder.multimask_outputs + 1
    kernels = torch.stack(
        [mlp(weights, f"mask_decoder.output_hypernetworks_mlps.{i}", tokens[:, 1 + i], 3) for i in range(masks)], dim=1
    )
    logits = (kernels @ fine.flatten(2)).view(prompts, masks, *fine.shape[-2:])
    return logits, mlp(weights, "mask_decoder.iou_prediction_head", tokens[:, 0], decoder.iou_head_depth)


def two_way(
    weights: Weights, name: str, heads: int, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor
) -> tuple[Tensor, Tensor]:
    """One layer: tokens to themselves, to the image, through an MLP, and the image to the tokens."""
    if name.endswith("layers.0"):  # the released weights expect no positions and no residual here
        tokens = attention(weights, f"{name}.self_attn", heads, tokens, tokens, tokens)
    else:
        q = tokens + token_pe
        tokens = tokens + attention(weights, f"{name}.self_attn", heads, q, q, tokens)
    tokens = layer_norm(weights, f"{name}.norm1", tokens, 1e-5)
    q, k = tokens + token_pe, image + image_pe
    tokens = tokens + attention(weights, f"{name}.cross_attn_token_to_image", heads, q, k, image)
    tokens = layer_norm(weights, f"{name}.norm2", tokens, 1e-5)
    hidden = functional.relu(linear(weights, f"{name}.mlp.lin1", tokens))
    tokens = layer_norm(weights, f"{name}.norm3", tokens + linear(weights, f"{name}.mlp.lin2", hidden), 1e-5)
    q, k = tokens + token_pe, image + image_pe
    image = image + attention(weights, f"{name}.cross_attn_image_to_token", heads, k, q, tokens)
    return tokens, layer_norm(weights, f"{name}.norm4", image, 1e-5)


def upscale_features(weights: Weights, image: Tensor) -> Tensor:
    """(P, C, g, g) → (P, C / 8, 4g, 4g)."""
    name = "mask_decoder.output_upscaling"
    x = functional.conv_transpose2d(image, weights[f"{name}.0.weight"], weights[f"{name}.0.bias"], stride=2)
    x = functional.gelu(channel_norm(weights, f"{name}.1", x))
    x = functional.conv_transpose2d(x, weights[f"{name}.3.weight"], weights[f"{name}.3.bias"], stride=2)
    return functional.gelu(x)


# ---------------------------------------------------------------- automatic masks


@dataclass
class Kept:
    """Columns of the candidates that passed the filters."""

    rles: list[dict[str, Any]] = field(default_factory=list)
    boxes: list[list[int]] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    stability: list[float] = field(default_factory=list)
    points: list[list[float]] = field(default_factory=list)


@dataclass
class Reference:
    """Everything in a photo, the plain way.

    Attributes:
        weights: official keys, float32.
        config: sizes.
        image_encoder: (B, 3, S, S) → (B, C, g, g), for models whose encoder is no ViT; None uses the one above.
    """

    weights: Weights
    config: ModelConfig
    image_encoder: Callable[[Tensor], Tensor] | None = None

    def pixels(self, rgb: NDArray[np.uint8]) -> tuple[Tensor, tuple[int, int]]:
        """(1, 3, S, S) normalised and padded, and the size of the resized photo in it."""
        canvas = self.config.canvas
        scale = canvas / max(rgb.shape[:2])
        height, width = (int(side * scale + 0.5) for side in rgb.shape[:2])
        resized = Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR)
        x = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float()
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (self.config.pixel_mean, self.config.pixel_std))
        x = functional.pad((x - mean) / std, (0, canvas - width, 0, canvas - height))
        return x[None], (height, width)

    def encode(self, rgb: NDArray[np.uint8]) -> Tensor:
        """(1, C, g, g)."""
        return self.encode_pixels(self.pixels(rgb)[0])

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """(1, 3, S, S) → (1, C, g, g)."""
        with torch.no_grad():
            if self.image_encoder is not None:
                return self.image_encoder(pixels)
            return encode(self.weights, self.config, pixels)

    def decode(self, features: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Clicks in canvas pixels, (P, 2) → (P, M, h, w) logits and (P, M) predicted IoU."""
        with torch.no_grad():
            return decode(self.weights, self.config, features, points)

    def generate(
        self,
        rgb: NDArray[np.uint8],
        *,
        points_per_side: int = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        inject: Inject | None = None,
        stages: Stages | None = None,
    ) -> list[dict[str, Any]]:
        """Records with uncompressed run lengths, in the order of the suppression.

        Args:
            rgb: (H, W, 3).
            inject: replaces what the decoder said, after it has run; its time counts for no stage.
            stages: gets the seconds of each stage.
        """
        stages = stages or Stages()
        height, width = rgb.shape[:2]
        with stages("encode"):
            pixels, resized_hw = self.pixels(rgb)
            features = self.encode_pixels(pixels)
        line = np.linspace(0.5 / points_per_side, 1 - 0.5 / points_per_side, points_per_side)
        x, y = np.meshgrid(line, line)
        points = np.stack([x.ravel(), y.ravel()], axis=1) * [width, height]
        scale = np.array([resized_hw[1] / width, resized_hw[0] / height])
        kept = Kept()
        for start in range(0, len(points), points_per_batch):
            batch = points[start : start + points_per_batch]
            with stages("decode"):
                low_res, iou = self.decode(features, torch.from_numpy((batch * scale).astype(np.float32)))
            if inject is not None:
                low_res, iou = inject(start, start + len(batch), low_res, iou)
            with stages("post-processing"):
                masks = self.full_size(low_res[:, 1:], resized_hw, (height, width)).flatten(0, 1)
                self.filter(
                    kept,
                    masks,
                    iou[:, 1:].flatten(),
                    np.repeat(batch, low_res.shape[1] - 1, axis=0),
                    (pred_iou_thresh, stability_score_thresh, stability_score_offset),
                )
        with stages("suppression"):
            order = box_nms(np.array(kept.boxes, float).reshape(-1, 4), np.array(kept.iou), box_nms_thresh)
        return [record(kept, i, (height, width)) for i in order]

    def full_size(self, low_res: Tensor, resized_hw: tuple[int, int], size_hw: tuple[int, int]) -> Tensor:
        """(P, M, h, w) logits → (P, M, H, W), every one of them."""
        canvas = self.config.canvas
        masks = functional.interpolate(low_res, (canvas, canvas), mode="bilinear", align_corners=False)
        masks = masks[..., : resized_hw[0], : resized_hw[1]]
        return functional.interpolate(masks, size_hw, mode="bilinear", align_corners=False)

    def filter(
        self, kept: Kept, masks: Tensor, iou: Tensor, points: NDArray[Any], thresholds: tuple[float, float, float]
    ) -> None:
        """Judge (N, H, W) full-size logits; survivors become run lengths."""
        pred_iou_thresh, stability_thresh, offset = thresholds
        threshold = self.config.mask_threshold
        sure = iou > pred_iou_thresh if pred_iou_thresh > 0 else torch.ones_like(iou, dtype=torch.bool)
        masks, iou, points = masks[sure], iou[sure], points[sure.numpy()]
        inner = (masks > threshold + offset).sum((-1, -2))
        outer = (masks > threshold - offset).sum((-1, -2))
        stability = torch.where(outer > 0, inner / outer, 0.0)
        if stability_thresh > 0:
            stable = stability >= stability_thresh
            masks, iou, points, stability = masks[stable], iou[stable], points[stable.numpy()], stability[stable]
        binary = masks > threshold
        kept.boxes += boxes_of(binary)
        kept.iou += iou.tolist()
        kept.stability += stability.tolist()
        kept.points += points.tolist()
        kept.rles += [run_lengths(mask) for mask in binary]


def boxes_of(masks: Tensor) -> list[list[int]]:
    """(N, H, W) bool → XYXY with inclusive maximum; zeros for an empty mask."""
    boxes = []
    for mask in masks:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        empty = len(rows) == 0
        boxes.append([0, 0, 0, 0] if empty else [int(v) for v in (columns[0], rows[0], columns[-1], rows[-1])])
    return boxes


def run_lengths(mask: Tensor) -> dict[str, Any]:
    """(H, W) bool → uncompressed column-major run lengths, zeros first."""
    line = mask.T.flatten()
    changes = (line[1:] != line[:-1]).nonzero().flatten() + 1
    counts = [0] if bool(line[0]) else []
    counts += [end - start for start, end in pairwise([0, *changes.tolist(), len(line)])]
    return {"size": list(mask.shape), "counts": counts}


def box_nms(boxes: NDArray[np.float64], scores: NDArray[np.float64], threshold: float) -> list[int]:
    """Greedy suppression of XYXY boxes; places of the kept ones, best first."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low, high = np.maximum(boxes[best, :2], boxes[rest, :2]), np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        union = areas[best] + areas[rest] - shared
        overlap = np.divide(shared, union, out=np.zeros(len(rest)), where=union > 0)
        order = rest[overlap <= threshold]
    return kept


def record(kept: Kept, index: int, size_hw: tuple[int, int]) -> dict[str, Any]:
    x0, y0, x1, y1 = kept.boxes[index]
    return {
        "segmentation": kept.rles[index],
        "area": sum(kept.rles[index]["counts"][1::2]),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "predicted_iou": kept.iou[index],
        "point_coords": [kept.points[index]],
        "stability_score": kept.stability[index],
        "crop_box": [0, 0, size_hw[1], size_hw[0]],
    }


def main() -> None:
    from _common import demo_sheet, random_model

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points-per-side", type=int, default=8)
    parser.add_argument("--photo", type=Path, help="default: a sheet of demo photos, 1800 x 1200")
    options = parser.parse_args()
    model = random_model("vit_b")
    stages = Stages()
    Reference(model.state_dict(), model.config).generate(
        demo_sheet(options.photo), points_per_side=options.points_per_side, stages=stages
    )
    print(json.dumps(stages.seconds, indent=1))


if __name__ == "__main__":
    main()
