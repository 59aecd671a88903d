"""Encoders arranged for prediction give what the plain modules give."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from segany.core.errors import ImageError
from segany.modeling import vit as plain
from segany.modeling.build import build_encoder
from segany.modeling.checkpoints.load import load_model
from segany.modeling.config import ConvConfig, ModelConfig, ViTConfig
from segany.modeling.presets import PRESETS, TINY
from segany.modeling.sam import Sam
from segany.predict.backends import vit as prepared
from segany.predict.backends.conv import PreparedConv
from segany.predict.backends.encoder import KNOWN, PredictionEncoder, choose_dtype, has_prepared
from segany.predict.backends.linear import Linear, can_pack

from . import _toys

VITS = {
    "padded on two sides": (ViTConfig(width=48, depth=3, heads=3, global_blocks=(1,), window=4), 160),
    "whole windows": (ViTConfig(width=64, depth=3, heads=2, global_blocks=(0, 2), window=3), 96),
    "one window, mostly padding": (ViTConfig(width=40, depth=2, heads=5, global_blocks=(1,), window=9, patch=8), 40),
    "odd grid": (ViTConfig(width=48, depth=2, heads=3, global_blocks=(1,), window=5, patch=8), 88),
    "a single cell": (ViTConfig(width=48, depth=2, heads=3, global_blocks=(1,), window=2, patch=8), 8),
}
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 0.03}
"""Norm of the difference over that of the embedding; bfloat16 gives these lively toys about 0.01."""


def filled(encoder: nn.Module) -> nn.Module:
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in sorted(encoder.state_dict().items()):
            tensor.normal_(generator=draw)
            if tensor.ndim == 1 or "pos" in name:
                tensor.mul_(0.5).add_(1.0 if tensor.ndim == 1 and name.endswith("weight") else 0.0)
            else:
                tensor.div_(tensor[0].numel() ** 0.5)
    return encoder.eval()


def vit_of(name: str) -> tuple[plain.ImageEncoderViT, int]:
    config, canvas = VITS[name]
    encoder = filled(plain.ImageEncoderViT(config, canvas, 24))
    assert isinstance(encoder, plain.ImageEncoderViT)
    return encoder, canvas


def conv_of(config: ConvConfig, canvas: int = 96, *, detail: bool = False) -> nn.Module:
    return filled(build_encoder(replace(TINY, encoder=config, canvas=canvas, width=64, detail=detail)))


def difference(got: Tensor, expected: Tensor) -> float:
    assert got.shape == expected.shape and got.dtype is torch.float32
    return float((got - expected).norm() / expected.norm())


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("name", VITS)
@torch.no_grad()
def test_vit(name: str, images: int, dtype: torch.dtype) -> None:
    encoder, canvas = vit_of(name)
    pixels = torch.randn(images, 3, canvas, canvas, generator=torch.Generator().manual_seed(1))
    got = prepared.PreparedViT(encoder, dtype)(pixels)
    assert difference(got, encoder(pixels)) < TOLERANCES[dtype]


@pytest.mark.parametrize("elements", [1, 7 * 11 * 121, 2**20])
@torch.no_grad()
def test_uneven_strips_change_nothing(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, canvas = vit_of("odd grid")
    pixels = torch.randn(1, 3, canvas, canvas)
    monkeypatch.setattr(prepared, "STRIP_ELEMENTS", elements)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert difference(prepared.PreparedViT(encoder, torch.float32)(pixels), encoder(pixels)) < 1e-5


@pytest.mark.parametrize("elements", [1, 5000, 2**25])
@torch.no_grad()
def test_attention_as_on_a_gpu(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch that other devices take, run here: fused kernels, all windows at once."""
    encoder, canvas = vit_of("odd grid")
    pixels = torch.randn(2, 3, canvas, canvas)
    monkeypatch.setattr(prepared, "MAX_BIAS_ELEMENTS", elements)
    monkeypatch.setattr(prepared, "_attend_by_strips", prepared._attend_fused)
    run = prepared.PreparedViT(encoder, torch.float32)
    assert difference(run._embed(pixels), encoder(pixels)) < 1e-5


@torch.no_grad()
def test_position_views_are_the_gathered_terms() -> None:
    attention = plain.Attention(width=12, heads=2, size=5)
    for table in (attention.rel_pos_h, attention.rel_pos_w):
        table.normal_()
    q = torch.randn(3, 2, 5, 5, 6)
    rows, columns = attention.position_terms(q)
    got_rows, got_columns = prepared.position_views(q.view(6, 25, 6), prepared.mirrored_table(attention), 5)
    assert torch.allclose(got_rows.reshape(rows.shape), rows, atol=1e-6)
    assert torch.allclose(got_columns.reshape(columns.shape), columns, atol=1e-6)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("attention", [0, 2])
@pytest.mark.parametrize("detail", [False, True])
@pytest.mark.parametrize("size_hw", [(96, 96), (64, 160)])
@torch.no_grad()
def test_conv(size_hw: tuple[int, int], detail: bool, attention: int, images: int, dtype: torch.dtype) -> None:
    config = ConvConfig(widths=(24, 40, 48, 64), depths=(1, 2, 1, 2), attention=attention)
    encoder = conv_of(config, detail=detail)
    pixels = torch.randn(images, 3, *size_hw, generator=torch.Generator().manual_seed(1))
    got = PreparedConv(encoder, dtype)(pixels)  # type: ignore[arg-type]
    assert difference(got, encoder(pixels)) < TOLERANCES[dtype]


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@torch.no_grad()
def test_linear_and_what_follows_it(dtype: torch.dtype, pack: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    shapes = ((48, 32), (48,), (7, 32), (7, 48))
    weight, bias, x, onto = (torch.randn(*shape, generator=draw).to(dtype) for shape in shapes)
    weight = weight / 8
    layer = Linear(weight, bias, rows=64, pack=pack)
    exact = functional.linear(x.double(), weight.double(), bias.double())
    expected = {"add": exact + onto.double(), "relu": exact.relu(), "gelu": functional.gelu(exact), "": exact}
    got = {"add": layer.add(x, onto), "relu": layer.relu(x), "gelu": layer.gelu(x), "": layer(x)}
    assert max(value.abs().max() for value in expected.values()) < 8
    for name, value in expected.items():
        assert got[name].dtype is dtype
        assert torch.allclose(got[name].double(), value, atol=2 * 8 * 2**-9 if dtype is torch.bfloat16 else 1e-5), (
            name
        )  # two roundings


def test_packing_answers_for_every_precision() -> None:
    assert can_pack(torch.int8) is False
    assert isinstance(can_pack(torch.bfloat16), bool)


def test_weights_changed_in_place_count() -> None:
    model = _toys.lively_model(PRESETS["toy"])
    pixels = torch.randn(1, 3, 128, 128)
    encode = PredictionEncoder(model, torch.bfloat16)
    before = encode(pixels)
    assert torch.equal(encode(pixels), before)
    with torch.no_grad():
        model.image_encoder.blocks[0].mlp.lin1.weight.mul_(3.0)  # type: ignore[union-attr, index]
    after = encode(pixels)
    assert difference(after, before) > 0.05
    with torch.no_grad():
        assert difference(after, model.encode(pixels)) < 0.03


def test_a_part_it_does_not_know_goes_through_the_module() -> None:
    class Adapter(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    model = _toys.lively_model(PRESETS["toy"])
    assert has_prepared(model)
    changed = copy.deepcopy(model)
    old = changed.image_encoder.blocks[0].attn.proj  # type: ignore[union-attr, index]
    new = Adapter(old.in_features, old.out_features)
    new.load_state_dict(old.state_dict())
    changed.image_encoder.blocks[0].attn.proj = new  # type: ignore[union-attr, index]
    assert not has_prepared(changed)
    pixels = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        expected = changed.encode(pixels)
    assert torch.equal(PredictionEncoder(changed, torch.float32)(pixels), expected)
    assert difference(PredictionEncoder(model, torch.float32)(pixels), expected) > 1e-3


def test_hooks_and_overridden_models_go_through_the_module() -> None:
    class Other(Sam):
        pass

    model = _toys.lively_model(PRESETS["toy"])
    parts = (model.image_encoder, model.prompt_encoder, model.mask_decoder)
    assert not has_prepared(Other(model.config, *parts))
    model.image_encoder.register_forward_hook(lambda module, args, out: None)
    assert not has_prepared(model)


@pytest.mark.parametrize("name", ["tiny", "toy", "vit_b"])
def test_the_presets_are_prepared(name: str) -> None:
    """A part of a model that the prepared form does not know would make it slow without a word."""
    with torch.device("meta"):
        parts = {type(part) for part in build_encoder(PRESETS[name]).modules()}
    assert parts <= KNOWN


def test_the_embedded_model_is_prepared() -> None:
    assert has_prepared(load_model("tiny").model)


def test_another_canvas_is_answered_as_the_module_answers() -> None:
    encode = PredictionEncoder(_toys.lively_model(PRESETS["toy"]), torch.float32)
    with pytest.raises(ImageError, match="expects a canvas of 128 x 128"):
        encode(torch.zeros(1, 3, 64, 128))


def test_it_travels_to_another_process() -> None:
    encode = PredictionEncoder(_toys.lively_model(PRESETS["toy"]), torch.bfloat16)
    pixels = torch.randn(1, 3, 128, 128)
    assert torch.equal(pickle.loads(pickle.dumps(encode))(pixels), encode(pixels))


def test_surrounding_autocast_changes_nothing() -> None:
    encode = PredictionEncoder(_toys.lively_model(PRESETS["toy"]), torch.float32)
    pixels = torch.randn(1, 3, 128, 128)
    expected = encode(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encode(pixels), expected)


def test_auto_is_float32_where_nothing_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    import segany.core.device as device

    monkeypatch.delenv("SEGANY_DTYPE")
    monkeypatch.setattr(device, "bfloat16_speedup", lambda: 3.0)
    known = _toys.lively_model(PRESETS["toy"])
    assert choose_dtype("auto", known) is torch.bfloat16
    known.image_encoder.register_forward_hook(lambda module, args, out: None)
    assert choose_dtype("auto", known) is torch.float32
    assert choose_dtype("bfloat16", known) is torch.bfloat16


def test_vit_b_sizes_in_bfloat16() -> None:
    """Two blocks of the real width and grid: the relative error stays under the 2 % that bfloat16 is allowed."""
    config = ViTConfig(depth=2, global_blocks=(1,))
    encoder = filled(build_encoder(ModelConfig(name="part", encoder=config, canvas=512)))
    assert isinstance(encoder, plain.ImageEncoderViT)
    pixels = torch.randn(1, 3, 512, 512, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert difference(prepared.PreparedViT(encoder, torch.bfloat16)(pixels), encoder(pixels)) < 0.02
