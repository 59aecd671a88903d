"""The decoder cut in two gives what the whole one gives: in torch to rounding, and as written files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from segany.export.decoder import PromptDecoder
from segany.export.graph import open_session, run_session, write_graph
from segany.export.split import ClickPart, ImagePart, Prepared, SplitWeights, split_specs
from segany.export.verify import Bench, mask_iou
from segany.modeling.build import build_model
from segany.modeling.checkpoints.load import load_model
from segany.modeling.config import ConvConfig, DecoderConfig, ModelConfig
from segany.modeling.sam import Sam

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def lively(config: ModelConfig, seed: int) -> Sam:
    """Random weights under which attention is sharp, norms have gains and offsets, and no bias is zero."""
    torch.manual_seed(seed)
    model = build_model(config).eval()
    with torch.no_grad():
        for part in (model.prompt_encoder, model.mask_decoder):
            for name, tensor in part.state_dict().items():
                if "embed" in name or "token.weight" in name or "tokens.weight" in name:
                    tensor.normal_()
                elif tensor.ndim > 1 and "matrix" not in name:
                    tensor.normal_(std=1.5 / tensor[0].numel() ** 0.5)
                elif tensor.ndim == 1:
                    tensor.normal_(std=0.3).add_(1.0 if name.endswith("weight") else 0.0)
    return model


def decoder_only(width: int, grid: int, decoder: DecoderConfig, *, detail: bool = False) -> ModelConfig:
    encoder = ConvConfig(widths=(8, 8, 8, 8), depths=(1, 1, 1, 1))
    return ModelConfig(
        name="part", encoder=encoder, canvas=16 * grid, width=width, mask_channels=8, decoder=decoder, detail=detail
    )


def prompt(model: Sam, points: int, has_mask: bool, seed: int) -> tuple[Tensor, ...]:
    """Embedding, coordinates, labels of every kind, a mask hint and its switch."""
    config, draw = model.config, torch.Generator().manual_seed(seed)
    return (
        torch.randn(1, config.channels, config.grid, config.grid, generator=draw),
        torch.rand(1, points, 2, generator=draw) * config.canvas,
        torch.randint(-1, 4, (1, points), generator=draw).float(),
        5 * torch.randn(1, 1, config.low_res, config.low_res, generator=draw),
        torch.tensor([float(has_mask)]),
    )


def difference(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


@settings(max_examples=15)
@given(
    heads=st.sampled_from((2, 4)),
    head_width=st.sampled_from((8, 16)),
    downsample=st.sampled_from((1, 2)),
    outputs=st.sampled_from((1, 3)),
    grid=st.sampled_from((2, 5, 8)),
    points=st.integers(1, 9),
    has_mask=st.booleans(),
    detail=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_split_is_the_whole_decoder(
    heads: int,
    head_width: int,
    downsample: int,
    outputs: int,
    grid: int,
    points: int,
    has_mask: bool,
    detail: bool,
    seed: int,
) -> None:
    """Any sizes, any prompt, in double precision, where only algebra can make a difference."""
    shape = DecoderConfig(
        heads=heads, mlp_width=24, attention_downsample=downsample, multimask_outputs=outputs, iou_head_width=16
    )
    model = lively(decoder_only(heads * head_width, grid, shape, detail=detail), seed).double()
    embedding, coords, labels, hint, has = (x.double() for x in prompt(model, points, has_mask, seed))
    weights = SplitWeights(model).double()
    with torch.no_grad():
        masks, iou = PromptDecoder(model)(embedding, coords, labels, hint, has)
        ready = ImagePart(weights)(embedding, hint, has)
        click = ClickPart(weights, tanh_gelu=False).double()
        found, quality = click(coords, labels, *ready)
    # positions are computed in single precision in both, in another order of operations
    assert difference(found, masks) < 1e-5
    assert difference(quality, iou) < 1e-5


@pytest.mark.parametrize("part", Prepared._fields)
def test_every_prepared_tensor_matters(part: str) -> None:
    """A tensor the click part did not need would be memory and time for nothing."""
    model = lively(decoder_only(32, 4, DecoderConfig(heads=4, mlp_width=32, iou_head_width=16), detail=True), 0)
    weights = SplitWeights(model)
    embedding, coords, labels, hint, has = prompt(model, 3, False, 0)
    click = ClickPart(weights, tanh_gelu=False)
    with torch.no_grad():
        ready = Prepared(*ImagePart(weights)(embedding, hint, has))
        spoiled = ready._replace(**{part: getattr(ready, part) * 1.5})
        assert difference(click(coords, labels, *spoiled)[0], click(coords, labels, *ready)[0]) > 1e-4


def test_written_parts_of_tiny(tmp_path: Path) -> None:
    """Real weights, photos, 30 prompts with and without mask hints: exact with erf, the same masks with tanh."""
    model = load_model("tiny").model
    bench = Bench(model)
    for tanh, largest, lowest, mean in ((False, 1e-4, 0.999, 0.9999), (True, 1e-2, 0.98, 0.999)):
        folder = tmp_path / str(tanh)
        folder.mkdir()
        image, click = split_specs(model, tanh_gelu=tanh)
        assert bench.measure(image, write_graph(image, folder, 17)[0]).largest_difference < 1e-4
        agreement = bench.measure(click, write_graph(click, folder, 17)[0])
        assert agreement.cases == 30
        assert agreement.largest_difference < largest
        # A pixel whose logit is nearly 0 may fall on either side: of one small mask that is a share, of all a trace.
        assert agreement.lowest_mask_iou is not None and agreement.lowest_mask_iou > lowest
        assert agreement.mean_mask_iou is not None and agreement.mean_mask_iou > mean


def test_written_parts_at_full_size(tmp_path: Path) -> None:
    """The released decoder's sizes, random weights: one photo prepared once, then clicks of several lengths."""
    model = lively(decoder_only(256, 64, DecoderConfig()), 0)
    image, click = (write_graph(spec, tmp_path, 17)[0] for spec in split_specs(model))
    image_session, click_session = open_session(image), open_session(click)
    embedding, _, _, hint, has = prompt(model, 1, False, 0)
    ready = run_session(image_session, (embedding, hint, has))
    for points in (2, 5):
        _, coords, labels, _, _ = prompt(model, points, False, points)
        with torch.no_grad():
            masks, iou = PromptDecoder(model)(embedding, coords, labels, hint, has)
        found, quality = run_session(click_session, (coords, labels, *ready))
        assert difference(found, masks) < 5e-3
        assert difference(quality, iou) < 1e-3
        assert float(mask_iou(found, masks, 0.0).min()) > 0.99
