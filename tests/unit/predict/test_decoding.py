"""What the predictor keeps of a decoder and a photo between calls, and when it leaves decoding to the modules."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segany.core.errors import OptionError
from segany.modeling.build import build_model
from segany.modeling.fast_decoder import FastDecoder
from segany.modeling.presets import PRESETS
from segany.modeling.sam import Sam
from segany.predict.decoding import KEPT_IMAGES, Decoding, module_bytes, prompts_per_pass, result_bytes
from segany.predict.predictor import Predictor

TOY = replace(PRESETS["toy"], width=64)
"""Wide enough that short prompts go the fast way."""


@cache
def filled() -> Sam:
    """Every weight of the decoder alive, its attention flat enough that rounding is not enlarged."""
    model = build_model(TOY)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in sorted(model.mask_decoder.state_dict().items()):
            noise = torch.randn(tensor.shape, generator=draw)
            if tensor.ndim == 1 or "token" in name.split(".")[0]:
                tensor.copy_(0.5 * noise + (1.0 if name.endswith("weight") else 0.0))
            else:
                tensor.copy_((3.0 if "hypernetworks" in name else 1.0) * noise / tensor[0].numel() ** 0.5)
    return model


@pytest.fixture
def calm() -> Predictor:
    return Predictor(copy.deepcopy(filled()), device="cpu", dtype="float32")


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """Embeddings that were prepared."""
    seen: list[Tensor] = []
    real = FastDecoder.prepare

    def prepare(self: FastDecoder, features: Tensor, dense: Tensor | None = None) -> Any:
        seen.append(features)
        return real(self, features, dense)

    monkeypatch.setattr(FastDecoder, "prepare", prepare)
    yield seen


def embeddings(count: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, TOY.width, TOY.grid, TOY.grid, generator=draw)


def prompts_of(kind: str, count: int) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(7)
    points = torch.rand(count, 2, 2, generator=draw) * TOY.canvas
    labels = torch.randint(0, 2, (count, 2), generator=draw)
    low = torch.rand(count, 2, generator=draw) * TOY.canvas / 2
    boxes = torch.cat([low, low + 30], dim=1)
    masks = torch.randn(count, 1, TOY.low_res, TOY.low_res, generator=draw)
    return {
        "points": {"points": points, "labels": labels},
        "boxes": {"boxes": boxes},
        "points and boxes": {"points": points, "labels": labels, "boxes": boxes},
        "masks": {"masks": masks},
        "boxes and masks": {"boxes": boxes, "masks": masks},
        "many points": {"points": points.repeat(1, 40, 1), "labels": labels.repeat(1, 40)},
    }[kind]


def by_modules(model: Sam, features: Tensor, **prompts: Any) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        low_res, iou = model.decode(features, **prompts)
    return low_res, iou


def assert_near(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor], tolerance: float = 3e-5) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape and one.dtype == torch.float32
        assert float((one - other).abs().max()) <= tolerance * float(other.abs().max())


@pytest.mark.parametrize("kind", ["points", "boxes", "points and boxes", "masks", "boxes and masks", "many points"])
@pytest.mark.parametrize("index", [None, [0, 0, 0, 0, 0], [2, 0, 2, 1, 1]])
def test_every_kind_of_prompt_on_one_and_several_images(
    calm: Predictor, prepared: list[Tensor], kind: str, index: list[int] | None
) -> None:
    features = embeddings(1 if index is None else 3)
    image_index = None if index is None else torch.tensor(index)
    prompts = prompts_of(kind, 5)
    ours = calm.decode_canvas(features, image_index=image_index, **prompts)
    assert_near(ours, by_modules(calm.model, features, image_index=image_index, **prompts))
    assert bool(prepared) is (kind != "many points")


def test_one_image_per_prompt_and_padding_points(calm: Predictor) -> None:
    features, prompts = embeddings(4), prompts_of("points", 4)
    mask = torch.tensor([[True, True], [True, False], [True, True], [True, False]])
    ours = calm.decode_canvas(features, token_mask=mask, **prompts)
    assert_near(ours, by_modules(calm.model, features, token_mask=mask, **prompts))
    single = calm.decode_canvas(features[1:2], **{name: value[1:2, :1] for name, value in prompts.items()})
    assert_near((ours[0][1:2], ours[1][1:2]), single)


def test_a_photo_is_prepared_once(calm: Predictor, prepared: list[Tensor]) -> None:
    features, prompts = embeddings(1), prompts_of("points", 2)
    first = calm.decode_canvas(features, **prompts)
    again = calm.decode_canvas(features.clone(), **prompts)
    assert len(prepared) == 1 and all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_embeddings_that_change_in_place_are_seen(calm: Predictor, prepared: list[Tensor]) -> None:
    pixels = embeddings(1).numpy()
    features, prompts = torch.from_numpy(pixels), prompts_of("points", 2)
    calm.decode_canvas(features, **prompts)
    pixels[0, 3, 2, 1] += 5.0
    assert_near(calm.decode_canvas(features, **prompts), by_modules(calm.model, features, **prompts))
    assert len(prepared) == 2


def test_few_photos_are_kept(calm: Predictor, prepared: list[Tensor]) -> None:
    features, prompts = embeddings(KEPT_IMAGES + 1), prompts_of("points", 1)
    for image in (*features, features[-1]):
        calm.decode_canvas(image[None], **prompts)
    assert len(prepared) == KEPT_IMAGES + 1
    calm.decode_canvas(features[:1], **prompts)
    assert len(prepared) == KEPT_IMAGES + 2, "the oldest was let go"


@pytest.mark.parametrize("name", ["transformer.layers.1.norm4.bias", "output_upscaling.3.weight", "iou_token.weight"])
def test_changed_weights_are_seen(calm: Predictor, name: str) -> None:
    features, prompts = embeddings(1), prompts_of("points", 2)
    before = calm.decode_canvas(features, **prompts)
    parameter = calm.model.mask_decoder.get_parameter(name)
    with torch.no_grad():
        parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    after = calm.decode_canvas(features, **prompts)
    assert not torch.allclose(before[0], after[0], atol=1e-2)
    assert_near(after, by_modules(calm.model, features, **prompts))


def test_replaced_parameters_and_loaded_states_are_seen(calm: Predictor) -> None:
    features, prompts = embeddings(1), prompts_of("points", 2)
    calm.decode_canvas(features, **prompts)
    norm = calm.model.mask_decoder.transformer.layers[0].norm4
    assert isinstance(norm, nn.LayerNorm)
    norm.weight = nn.Parameter(2 * norm.weight.detach())
    assert_near(calm.decode_canvas(features, **prompts), by_modules(calm.model, features, **prompts))
    calm.model.load_state_dict({name: 0.9 * value for name, value in filled().state_dict().items()})
    assert_near(calm.decode_canvas(features, **prompts), by_modules(calm.model, features, **prompts))


def test_foreign_modules_and_own_decode_are_respected(calm: Predictor) -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    features, prompts = embeddings(1), prompts_of("points", 2)
    attention: Any = calm.model.mask_decoder.transformer.final_attn_token_to_image
    other = Doubled(attention.k_proj.in_features, attention.k_proj.out_features)
    other.load_state_dict(attention.k_proj.state_dict())
    attention.k_proj = other
    assert_near(calm.decode_canvas(features, **prompts), by_modules(calm.model, features, **prompts))
    calm.model.decode = lambda features, **_: (torch.ones(2, 4, 1, 1), torch.ones(2, 4))  # type: ignore[method-assign]
    assert calm.decode_canvas(features, **prompts)[0].shape == (2, 4, 1, 1)


def test_bfloat16_goes_the_fast_way_too(calm: Predictor, prepared: list[Tensor]) -> None:
    half = Predictor(calm.model, device="cpu", dtype="bfloat16")
    features, prompts = embeddings(1), prompts_of("points", 6)
    low_res, iou = half.decode_canvas(features, **prompts)
    exact, quality = calm.decode_canvas(features, **prompts)
    overlap = ((low_res > 0) & (exact > 0)).sum() / ((low_res > 0) | (exact > 0)).sum()
    assert len(prepared) == 2 and low_res.dtype == torch.float32
    assert float(overlap) > 0.97 and float((iou - quality).abs().max()) < 0.02 * float(quality.abs().max())


def test_many_threads_one_decoding(calm: Predictor) -> None:
    features, prompts = embeddings(6), prompts_of("points", 3)
    alone = [by_modules(calm.model, image[None], **prompts) for image in features]

    def work(number: int) -> tuple[Tensor, Tensor]:
        return calm.decode_canvas(features[number % 6][None], **prompts)

    with ThreadPoolExecutor(6) as pool:
        for number, result in enumerate(pool.map(work, range(60))):
            assert_near(result, alone[number % 6])


def test_it_pickles_without_what_it_keeps(calm: Predictor) -> None:
    features, prompts = embeddings(1), prompts_of("points", 2)
    empty = len(pickle.dumps(Decoding(calm.model, torch.float32)))
    decoding = Decoding(calm.model, torch.float32)
    arguments: dict[str, Any] = {"boxes": None, "masks": None, "image_index": None, **prompts}
    first = decoding.decode(list(features), **arguments)
    written = pickle.dumps(decoding)
    assert abs(len(written) - empty) < 1000
    assert_near(pickle.loads(written).decode(list(features), **arguments), first)


def test_prompts_per_pass_follow_the_budget() -> None:
    for config in (TOY, PRESETS["tiny"], PRESETS["vit_b"]):
        few, many = (prompts_per_pass(config, size << 20) for size in (1, 4096))
        assert few == 1 < many and many * result_bytes(config) < 4096 << 20
        assert prompts_per_pass(config, 4096 << 20, torch.bfloat16) >= many
    assert result_bytes(PRESETS["vit_b"]) == 4 * 256 * 256 * 4


def test_modules_stay_within_the_budget(calm: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    real = Sam.decode

    def decode(self: Sam, embeddings: Tensor, **prompts: Any) -> tuple[Tensor, Tensor]:
        sizes.append(len(prompts["points"]))
        return real(self, embeddings, **prompts)

    features, prompts = embeddings(3), prompts_of("many points", 7)
    index = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    expected = by_modules(calm.model, features, image_index=index, **prompts)
    monkeypatch.setattr(Sam, "decode", decode)
    budget = 3 * module_bytes(TOY, torch.float32)
    assert_near(calm.decode_canvas(features, image_index=index, memory=budget, **prompts), expected)
    assert sizes == [3, 3, 1]
    with pytest.raises(OptionError, match="memory"):
        Predictor(calm.model, memory=0)
