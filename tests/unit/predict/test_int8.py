"""8-bit linear layers: how exact they are, and where they are refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from segany.core.errors import OptionError
from segany.modeling.presets import PRESETS
from segany.modeling.sam import Sam
from segany.predict.backends import encoder, int8
from segany.predict.predictor import Predictor

from . import _toys

needs_int8 = pytest.mark.skipif(int8.missing_int8() is not None, reason="no 8-bit products here")


def far(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.float() - b).norm() / b.norm())


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def layer_of(inputs: int, outputs: int) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs)


def vit() -> Sam:
    return _toys.lively_model(PRESETS["toy"])


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_rounded_values_are_half_a_step_off_at_most(shift: float) -> None:
    x = drawn(700, 500) + shift
    whole, scale, zero = int8.rounded(x)
    assert ((whole.float() - zero) * scale - x).abs().max() <= scale * 0.51
    by_row, scales, shared = int8.rounded_by_row(x)
    assert bool((((by_row.float() - shared) * scales - x).abs() <= scales * 0.51).all())


def test_rows_are_rounded_by_their_own_size() -> None:
    x = drawn(8, 64).abs() - 0.1
    x[3] *= 1000
    whole, scales, zero = int8.rounded_by_row(x.bfloat16())
    assert scales.dtype is torch.bfloat16
    each = ((whole.float() - zero) * scales.float() - x).norm(dim=1) / x.norm(dim=1)
    assert each.max() < 0.02


@needs_int8
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_agrees_with_float32(dtype: torch.dtype) -> None:
    plain, x, onto = layer_of(96, 160), drawn(300, 96), drawn(300, 160)
    fast = int8.int8_linear(plain, dtype, rows=300)
    with torch.no_grad():
        expected = plain(x)
        assert far(fast(x.to(dtype)), expected) < 0.015
        assert far(fast.gelu(x.to(dtype)), nn.functional.gelu(expected)) < 0.02
        assert far(fast.add(x.to(dtype), onto.to(dtype)), expected + onto) < 0.015


@needs_int8
def test_balancing_saves_the_rest_from_an_outlier_channel() -> None:
    norm, plain = nn.LayerNorm(96), layer_of(96, 160)
    with torch.no_grad():
        norm.weight[5] = 60.0
        x = norm(drawn(300, 96))
        expected = plain(x)
        factors = int8.balance(norm, plain)
        balanced = int8.int8_linear(plain, torch.float32, rows=300, factors=factors)(x / factors)
        raw = int8.int8_linear(plain, torch.float32, rows=300)(x)
    rest = expected - x[:, 5:6] * plain.weight[:, 5]
    assert (balanced - expected).norm() < 0.5 * (raw - expected).norm()
    assert (balanced - expected).norm() < 0.1 * rest.norm()


@needs_int8
def test_what_is_no_number_stays_none() -> None:
    plain, x = layer_of(32, 32), drawn(4, 32)
    x[2, 3] = math.nan
    fast = int8.int8_linear(plain, torch.float32, rows=4)
    assert bool(fast(x).isnan().all())
    assert fast.add(x, torch.zeros(4, 32)).isnan().all(dim=1).tolist() == [False, False, True, False]


@needs_int8
def test_a_predictor_in_int8() -> None:
    model, pixels = vit(), drawn(2, 3, 128, 128)
    exact = Predictor(model, dtype="float32", device="cpu").encode_pixels(pixels)
    fast = Predictor(model, dtype="int8", device="cpu")
    assert (fast.backend, fast.dtype) == ("int8", encoder.choose_dtype("auto", model))
    got = fast.encode_pixels(pixels)
    assert 0 < far(got, exact) < 0.05
    assert torch.equal(fast.encode_pixels(pixels), got)


def test_int8_is_refused_where_it_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = vit()
    changed.image_encoder.register_forward_hook(lambda module, args, out: None)
    monkeypatch.setattr(encoder, "missing_int8", lambda: None)
    with pytest.raises(OptionError, match=r"needs a plain ViT.*got model .*Use auto"):
        Predictor(changed, dtype="int8", device="cpu")
    with pytest.raises(OptionError, match="got model tiny"):
        Predictor.from_pretrained("tiny", dtype="int8", device="cpu")
    with pytest.raises(OptionError, match="got device cuda"):
        encoder.check_int8(torch.device("cuda"))
    monkeypatch.setattr(encoder, "missing_int8", lambda: "a processor without")
    with pytest.raises(OptionError, match="got a processor without"):
        Predictor(vit(), dtype="int8", device="cpu")


def test_a_torch_without_the_operators_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "Int8Linear", lambda *a, **k: torch.ops.onednn.there_is_no_such_thing)
    assert "which has no oneDNN" in str(int8.missing_int8.__wrapped__())
