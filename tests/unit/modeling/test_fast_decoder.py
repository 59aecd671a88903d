"""The fast decoder against the modules it stands for: same masks, whatever the sizes, lengths and steps."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from segany.modeling.build import build_model
from segany.modeling.config import ConvConfig, DecoderConfig, ModelConfig, ViTConfig
from segany.modeling.fast_decoder import FastDecoder
from segany.modeling.presets import PRESETS
from segany.modeling.sam import Sam

SMALL_ENCODER = ViTConfig(width=32, depth=1, heads=2, global_blocks=(0,), window=4)
CONFIGS = {
    "toy": PRESETS["toy"],
    "tiny": replace(PRESETS["tiny"], encoder=SMALL_ENCODER, detail=False),
    "detailed": replace(PRESETS["tiny"], encoder=ConvConfig(widths=(8, 8, 16, 16), depths=(1, 1, 1, 1)), canvas=160),
    "vit_b": replace(PRESETS["vit_b"], encoder=SMALL_ENCODER),
    "deep": ModelConfig(  # three layers, an odd grid, four heads, other outputs
        name="deep",
        encoder=SMALL_ENCODER,
        canvas=112,
        width=48,
        decoder=DecoderConfig(depth=3, heads=4, mlp_width=64, multimask_outputs=2, iou_head_depth=4, iou_head_width=24),
    ),
    "shallow": ModelConfig(
        name="shallow", encoder=SMALL_ENCODER, canvas=96, width=96, decoder=DecoderConfig(depth=1, mlp_width=80)
    ),
}


def alive(config: ModelConfig) -> Sam:
    """Every weight from a seeded normal: constants and gains that stay 0 and 1 would hide a forgotten one."""
    model = build_model(config).eval()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            tensor.normal_(generator=draw)
            if "gaussian" in name:
                continue
            if tensor.ndim == 1 or "embed" in name or "token" in name.rsplit(".", 2)[-2]:
                tensor.mul_(0.5).add_(1.0 if tensor.ndim == 1 and name.endswith("weight") else 0.0)
            else:
                tensor.mul_((3.0 if "hypernetworks" in name else 1.0) / math.sqrt(tensor[0].numel()))
    return model


@pytest.fixture(scope="module", params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Sam:
    return alive(CONFIGS[request.param])


def clicks(model: Sam, prompts: int, points: int, seed: int = 1) -> tuple[Tensor, dict[str, Any]]:
    """An image embedding and clicks on it."""
    draw = torch.Generator().manual_seed(seed)
    config = model.config
    features = torch.randn(config.channels, config.grid, config.grid, generator=draw) + 0.3
    xy = torch.rand(prompts, points, 2, generator=draw) * config.canvas
    labels = torch.randint(0, 2, (prompts, points), generator=draw)
    return features, {"points": xy, "labels": labels}


def sparse_of(model: Sam, prompts: dict[str, Any]) -> Tensor:
    return model.prompt_encoder.embed_sparse((prompts["points"], prompts["labels"]), None, len(prompts["points"]))


def share(one: Tensor, other: Tensor) -> float:
    """Largest difference as a share of the largest magnitude."""
    return float((one - other).abs().max() / other.abs().max())


def overlap(one: Tensor, other: Tensor) -> float:
    a, b = one > 0, other > 0
    return float((a & b).sum() / (a | b).sum())


def fast_of(model: Sam, dtype: torch.dtype = torch.float32) -> FastDecoder:
    return FastDecoder(model.prompt_encoder, model.mask_decoder, dtype)


@torch.no_grad()
@pytest.mark.parametrize("ragged", [False, True])
def test_float32_is_the_modules(model: Sam, ragged: bool) -> None:
    features, prompts = clicks(model, 3, 3)
    mask = torch.tensor([[True, True, True], [True, False, True], [True, False, False]]) if ragged else None
    low_res, iou = model.decode(features[None], **prompts, token_mask=mask)
    fast = fast_of(model)
    whole = None if mask is None else torch.cat([mask, torch.ones(3, 1, dtype=torch.bool)], dim=1)
    ours, quality = fast.decode(fast.prepare(features), sparse_of(model, prompts), whole)
    assert ours.dtype == quality.dtype == torch.float32
    assert share(ours, low_res) < 1e-5 and share(quality, iou) < 1e-5


@torch.no_grad()
def test_bfloat16_keeps_the_masks(model: Sam) -> None:
    """As near as the modules under autocast come, or nearer: noise weights, so the boundary is everywhere."""
    features, prompts = clicks(model, 4, 1)
    low_res, iou = model.decode(features[None], **prompts)
    fast = fast_of(model, torch.bfloat16)
    ours, quality = fast.decode(fast.prepare(features), sparse_of(model, prompts))
    assert ours.dtype == torch.float32
    assert overlap(ours, low_res) > 0.97 and share(quality, iou) < 0.01
    assert share(ours, low_res) > 1e-4, "bfloat16 was not used"


@torch.no_grad()
def test_mask_hints(model: Sam) -> None:
    features, prompts = clicks(model, 1, 2)
    hint = torch.randn(1, 1, *2 * [model.config.low_res], generator=torch.Generator().manual_seed(2))
    low_res, iou = model.decode(features[None], **prompts, masks=hint)
    fast = fast_of(model)
    image = fast.prepare(features, model.prompt_encoder.embed_dense(hint, 1)[0])
    ours, quality = fast.decode(image, sparse_of(model, prompts))
    assert share(ours, low_res) < 1e-5 and share(quality, iou) < 1e-5
    unhinted, _ = fast.decode(fast.prepare(features), sparse_of(model, prompts))
    assert share(unhinted, low_res) > 1e-3, "the hint changed nothing"


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_and_given_memory_change_nothing(dtype: torch.dtype) -> None:
    model = alive(CONFIGS["toy"])
    features, prompts = clicks(model, 70, 1)
    fast, sparse = fast_of(model, dtype), sparse_of(model, prompts)
    image = fast.prepare(features)
    whole = fast.decode(image, sparse)
    given = fast.empty(sparse)
    stepped = fast.decode(image, sparse, step=3, out=given)
    assert stepped[0].data_ptr() == given[0].data_ptr()
    tolerance = 1e-5 if dtype is torch.float32 else 0.05
    assert share(stepped[0], whole[0]) < tolerance and share(stepped[1], whole[1]) < tolerance
    alone = torch.cat([fast.decode(image, sparse[i : i + 1])[0] for i in (0, 31, 69)])
    assert share(alone, whole[0][[0, 31, 69]]) < tolerance


@torch.no_grad()
def test_an_image_far_from_zero() -> None:
    """Channel means are taken out of the weights, not of the image: what is left must not drown in rounding."""
    model = alive(CONFIGS["toy"])
    features, prompts = clicks(model, 2, 1)
    features = 3 * features + 10
    exact = copy.deepcopy(model).double()
    low_res, _ = exact.decode(features[None].double(), **prompts)
    fast = fast_of(model)
    ours, _ = fast.decode(fast.prepare(features), sparse_of(model, prompts))
    modules, _ = model.decode(features[None], **prompts)
    assert share(ours.double(), low_res) < max(1e-5, 10 * share(modules.double(), low_res))


def test_decoding_by_the_modules_still_trains() -> None:
    model = alive(CONFIGS["toy"])
    features, prompts = clicks(model, 2, 1)
    low_res, iou = model.decode(features[None], **prompts)
    (low_res.mean() + iou.mean()).backward()  # type: ignore[no-untyped-call]
    without = [name for name, x in model.mask_decoder.named_parameters() if x.grad is None or not x.grad.any()]
    assert without == [name for name in without if name.endswith("k_proj.bias")], without


def test_only_short_prompts_pay() -> None:
    fast = fast_of(alive(CONFIGS["tiny"]))
    lengths: list[Any] = [fast.pays(tokens) for tokens in range(1, 30)]
    assert lengths[1] and not lengths[-1] and lengths == sorted(lengths, reverse=True)
