"""The decoder of training gives the numbers and gradients of the model's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segany.modeling.build import build_model
from segany.modeling.canvas import at_canvas
from segany.modeling.folded_decoder import decode, fold
from segany.modeling.presets import TINY, TOY
from segany.modeling.sam import Sam

IMAGES = torch.tensor([0, 0, 1, 1, 1, 2, 2])
PROMPTS, CANVAS = len(IMAGES), 128


def stirred(name: str) -> Sam:
    """Weights away from the zeros that some layers start at."""
    torch.manual_seed(0)
    model = build_model({"tiny": TINY, "toy": TOY}[name])
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    at_canvas(model, CANVAS)
    return model


@pytest.mark.parametrize("name", ["tiny", "toy"])
@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_same_masks_and_gradients(name: str, with_mask: bool, padded: bool) -> None:
    model = stirred(name)
    embeddings = model.encode(torch.randn(3, 3, CANVAS, CANVAS)).detach().requires_grad_()
    points = torch.rand(PROMPTS, 4, 2) * CANVAS
    labels = torch.tensor([[1, -1, 0, 1]] * 4 + [[2, 3, 1, -1]] * 3)
    side = model.prompt_encoder.mask_input_size[0]
    masks = 5 * torch.randn(PROMPTS, 1, side, side) if with_mask else None
    real = torch.ones(PROMPTS, 4, dtype=torch.bool)
    real[1, 3] = real[6, 2] = real[6, 3] = False
    prompt = {"points": points, "labels": labels, "masks": masks, "token_mask": real if padded else None}

    def outcome(low_res: Tensor, iou: Tensor) -> dict[str, Tensor]:
        (low_res.sigmoid().mean() + iou.square().sum()).backward()
        assert embeddings.grad is not None
        found = {"low_res": low_res.detach(), "iou": iou.detach(), "embeddings": embeddings.grad.clone()}
        found |= {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        embeddings.grad = None
        model.zero_grad()
        return found

    expected = outcome(*model.decode(embeddings, image_index=IMAGES, pad_points=False, **prompt))
    actual = outcome(*decode(model, fold(model.mask_decoder, embeddings, IMAGES), **prompt))
    assert expected.keys() == actual.keys()
    for key, value in expected.items():
        # The gradient of a key's bias is zero but for rounding, hence a floor for the tolerance.
        torch.testing.assert_close(actual[key], value, rtol=1e-4, atol=1e-5 * max(1.0, float(value.abs().max())))


def test_takes_half_precision() -> None:
    model = stirred("tiny")
    prompt = {"points": torch.rand(PROMPTS, 2, 2) * CANVAS, "labels": torch.tensor([[1, -1]] * PROMPTS)}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        embeddings = model.encode(torch.randn(3, 3, CANVAS, CANVAS))
        half, _ = decode(model, fold(model.mask_decoder, embeddings, IMAGES), **prompt)
    with torch.no_grad():
        full, _ = decode(model, fold(model.mask_decoder, embeddings.float(), IMAGES), **prompt)
    assert float((half.float() - full).norm() / full.norm()) < 0.05
