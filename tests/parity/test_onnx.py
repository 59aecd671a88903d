"""Written ONNX files against the model and the official outputs, read as a client of the reference file reads them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segany.export.config import ExportConfig
from segany.export.decoder import BATCH_FILLER, PromptDecoder
from segany.export.graph import open_session, write_graph
from segany.export.specs import decoder_spec, encoder_spec
from segany.masks.iou import mask_iou
from segany.masks.rle import decode as decode_rle
from segany.masks.stability import stability_score
from segany.modeling.build import build_model
from segany.modeling.checkpoints.load import load_model
from segany.modeling.config import ConvConfig, ModelConfig, TinyViTConfig, ViTConfig
from segany.modeling.sam import Sam
from segany.predict.predictor import Predictor
from segany.predict.sam_predictor import SamPredictor
from segany.transforms.image import read_image

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TOLERANCE = 1e-4
SIZES = ((300, 451), (512, 512), (1, 700), (733, 90), (37, 38), (1025, 683))
"""Heights and widths whose longest side is scaled up, down, not at all, and to a side of one pixel."""

Arrays = Mapping[str, np.ndarray]


class Client:
    """What a program written for the reference's decoder file does, in numpy alone."""

    def __init__(self, path: Path, canvas: int, low_res: int) -> None:
        self.session, self.canvas, self.low_res = open_session(path), canvas, low_res

    def __call__(
        self,
        embedding: np.ndarray,
        size_hw: tuple[int, int],
        points: Any = (),
        labels: Any = (),
        box: Any = None,
        mask: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        corners = [] if box is None else [box[:2], box[2:]]
        coords = np.array([*points, *corners], dtype=np.float64).reshape(-1, 2)
        kinds = [*labels, *([] if box is None else [2, 3])]
        height, width = (int(side * self.canvas / max(size_hw) + 0.5) for side in size_hw)
        coords = coords * [width / size_hw[1], height / size_hw[0]]
        if box is None and len(coords):
            coords, kinds = np.concatenate([coords, [[0, 0]]]), [*kinds, -1]
        empty = np.zeros((1, self.low_res, self.low_res))
        return list(
            self.session.run(
                None,
                {
                    "image_embeddings": embedding,
                    "point_coords": coords[None].astype(np.float32),
                    "point_labels": np.array([kinds], dtype=np.float32),
                    "mask_input": (empty if mask is None else mask)[None].astype(np.float32),
                    "has_mask_input": np.array([mask is not None], dtype=np.float32),
                    "orig_im_size": np.array(size_hw, dtype=np.float32),
                },
            )
        )


def close(found: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert float(np.abs(found - expected).max()) <= tolerance * float(np.abs(expected).max())


def random_prompt(draw: np.random.Generator, size_hw: tuple[int, int]) -> dict[str, Any]:
    """Clicks, a box, or both, in original pixels."""
    height, width = size_hw
    kind, count = draw.integers(3), int(draw.integers(1, 6))
    prompt: dict[str, Any] = {}
    if kind != 1:
        prompt["points"] = draw.random((count, 2)) * [width, height]
        prompt["labels"] = draw.integers(0, 2, count)
    if kind != 0:
        prompt["box"] = np.sort(draw.random((2, 2)) * [width, height], axis=0).ravel()
    return prompt


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    return Predictor.from_pretrained("tiny", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="module")
def tiny_client(tiny: Predictor, folder: Path) -> Client:
    (path,) = write_graph(decoder_spec(tiny.model, ExportConfig(), batch=False), folder, 17)
    return Client(path, tiny.config.canvas, tiny.config.low_res)


@pytest.mark.parametrize("size_hw", SIZES)
def test_client_of_the_references_file_gets_the_predictors_masks(
    size_hw: tuple[int, int], tiny: Predictor, tiny_client: Client, scene: Any
) -> None:
    """Real weights, seeded prompts in every mix, each size; then a second look with the first answer as mask hint."""
    face = SamPredictor(tiny)
    face.set_image(scene(*size_hw))
    embedding = face.get_image_embedding().numpy()
    draw = np.random.default_rng(list(size_hw))
    for _ in range(3):
        prompt, hint = random_prompt(draw, size_hw), None
        for _ in range(2):
            masks, iou, low_res = tiny_client(embedding, size_hw, **prompt, mask=hint)
            for many, own in ((True, slice(1, 4)), (False, slice(0, 1))):
                expected, quality, logits = face.predict(
                    prompt.get("points"),
                    prompt.get("labels"),
                    prompt.get("box"),
                    hint,
                    multimask_output=many,
                    return_logits=True,
                )
                close(low_res[0, own], logits)
                close(iou[0, own], quality)
                close(masks[0, own], expected)
            hint = low_res[0, 1:2]


def test_rounding_of_sizes_is_the_frames(tiny: Predictor, tiny_client: Client) -> None:
    """Sides whose scaled length lies at, or a rounding error from, one half."""
    embedding = torch.zeros(1, tiny.config.channels, tiny.config.grid, tiny.config.grid).numpy()
    for size_hw in ((1, 1024), (3, 1024), (511, 1024), (335, 488), (1000, 333), (2, 2000)):
        masks, _, low_res = tiny_client(embedding, size_hw, points=[(0, 0)], labels=[1])
        frame = tiny.model.frame(size_hw)
        expected = tiny.model.postprocess_masks(torch.from_numpy(low_res), frame.resized_hw, size_hw)
        close(masks, expected)


@pytest.mark.parametrize(
    ("prompt", "single"),
    [
        ({"points": [(60, 40)], "labels": [1]}, False),
        ({"box": (10, 10, 90, 60)}, False),
        ({"points": [(60, 40), (20, 20)], "labels": [1, 0]}, True),
        ({"points": [(60, 40)], "labels": [1], "box": (10, 10, 90, 60)}, True),
    ],
)
def test_single_mask_follows_the_references_rule(
    prompt: dict[str, Any], single: bool, toy_predictor: Predictor, folder: Path, scene: Any
) -> None:
    """One click or one box: the best of the three; anything more: the unambiguous mask."""
    config, size_hw = toy_predictor.config, (70, 100)
    path = folder / "single" / "decoder.onnx"
    if not path.exists():
        path.parent.mkdir()
        write_graph(decoder_spec(toy_predictor.model, ExportConfig(single_mask=True), batch=False), path.parent, 17)
    client = Client(path, config.canvas, config.low_res)
    face = SamPredictor(toy_predictor)
    face.set_image(scene(*size_hw))
    arguments = (prompt.get("points"), prompt.get("labels"), prompt.get("box"))
    given = tuple(None if x is None else np.array(x) for x in arguments)
    masks, quality, _ = face.predict(*given, multimask_output=not single, return_logits=True)
    best = int(quality.argmax())
    found, iou, low_res = client(face.get_image_embedding().numpy(), size_hw, **prompt)
    assert found.shape == (1, 1, *size_hw) and iou.shape == (1, 1) and low_res.shape[1] == 1
    close(found[0, 0], masks[best], 1e-3)
    close(iou[0, 0], quality[best], 1e-3)


def test_other_outputs_and_rules(toy_predictor: Predictor, folder: Path, scene: Any) -> None:
    """Stability in place of the predicted IoU, extra metrics, tanh GELU, and another operator set, in one file."""
    model, config, size_hw = toy_predictor.model, toy_predictor.config, (70, 100)
    knobs = ExportConfig(stability_score=True, extra_metrics=True, tanh_gelu=True, opset=20)
    spec = decoder_spec(model, knobs, batch=False)
    (folder / "other").mkdir()
    (path,) = write_graph(spec, folder / "other", knobs.opset)
    face = SamPredictor(toy_predictor)
    face.set_image(scene(*size_hw))
    client = Client(path, config.canvas, config.low_res)
    outputs = client(face.get_image_embedding().numpy(), size_hw, points=[(60, 40)], labels=[1])
    found = dict(zip(spec.module.output_names, outputs, strict=True))  # type: ignore[arg-type]
    close(found["iou_predictions"], stability_score(torch.from_numpy(found["low_res_masks"])))
    close(found["stability_scores"], stability_score(torch.from_numpy(found["masks"])))
    assert np.array_equal(found["areas"], (found["masks"] > 0).sum(axis=(2, 3)))
    assert found["areas"].max() > 100
    _, _, exact = face.predict(np.array([(60, 40)]), np.array([1]))
    close(found["low_res_masks"][0, 1:], exact, 1e-2)
    assert np.abs(found["low_res_masks"][0, 1:] - exact).max() > 0
    assert all(isinstance(m.mask_downscaling[2], torch.nn.GELU) for m in (model.prompt_encoder,)), "the model is kept"


def test_ragged_batch_gives_each_prompt_its_own_answer(tiny: Predictor, folder: Path) -> None:
    """Prompts with different numbers of points, filled up, with and without mask hints; real weights."""
    config, draw = tiny.config, torch.Generator().manual_seed(1)
    (path,) = write_graph(decoder_spec(tiny.model, ExportConfig(), batch=True), folder, 17)
    session, decode = open_session(path), PromptDecoder(tiny.model)
    embedding = torch.randn(1, config.channels, config.grid, config.grid, generator=draw)
    labels = torch.full((4, 6), float(BATCH_FILLER))
    for row, own in enumerate(((1, -1), (2, 3), (1, 0, 1, 0, 1, -1), (0, 2, 3))):
        labels[row, : len(own)] = torch.tensor(own, dtype=torch.float32)
    coords = torch.rand(4, 6, 2, generator=draw) * config.canvas
    hints = 5 * torch.randn(4, 1, config.low_res, config.low_res, generator=draw)
    has = torch.tensor([0.0, 1.0, 0.0, 1.0])
    inputs = (embedding, coords, labels, hints, has, torch.tensor([60.0, 80.0]))
    named = {value.name: tensor.numpy() for value, tensor in zip(session.get_inputs(), inputs, strict=True)}
    masks, iou, low_res = session.run(None, named)
    assert masks.shape == (4, 4, 60, 80)
    for row in range(4):
        own = int((labels[row] != BATCH_FILLER).sum())
        with torch.no_grad():
            alone, quality = decode(
                embedding, coords[row : row + 1, :own], labels[row : row + 1, :own], hints[row : row + 1], has[[row]]
            )
        close(low_res[row], alone[0])
        close(iou[row], quality[0])


ENCODERS = {
    "vit": ViTConfig(width=32, depth=2, heads=2, global_blocks=(1,), window=3),
    "conv": ConvConfig(widths=(8, 8, 16, 32), depths=(1, 1, 1, 1)),
    "conv with attention": ConvConfig(widths=(8, 8, 16, 64), depths=(1, 1, 1, 1), attention=2),
    "tiny_vit": TinyViTConfig(widths=(8, 16, 16, 32), depths=(1, 1, 2, 1), heads=(1, 2, 2, 2), classes=2),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_encoder(kind: str, tmp_path: Path) -> None:
    """Every kind of encoder, random weights, none of them left at its silent start."""
    torch.manual_seed(0)
    model = build_model(ModelConfig(name=kind, encoder=ENCODERS[kind], canvas=128, width=32)).eval()
    with torch.no_grad():
        for parameter in model.image_encoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter) / max(1, parameter[0].numel()) ** 0.5)
    (path,) = write_graph(encoder_spec(model), tmp_path, 17)
    session = open_session(path)
    pixels = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        expected = model.encode(pixels)
    assert float(expected.std()) > 0.1
    close(session.run(None, {"pixels": pixels.numpy()})[0], expected)


def full_size_decoder() -> Sam:
    """The released decoder's sizes with random, lively weights, behind a small encoder that is not used."""
    torch.manual_seed(0)
    encoder = ConvConfig(widths=(8, 8, 8, 8), depths=(1, 1, 1, 1))
    model = build_model(ModelConfig(name="wide", encoder=encoder)).eval()
    with torch.no_grad():
        for part in (model.prompt_encoder, model.mask_decoder):
            for name, tensor in part.state_dict().items():
                if "embed" in name or "token.weight" in name or "tokens.weight" in name:
                    tensor.normal_()
                elif tensor.ndim > 1 and "matrix" not in name:
                    tensor.normal_(std=1.5 / tensor[0].numel() ** 0.5)
    return model


def test_full_size_decoder(tmp_path: Path) -> None:
    model = full_size_decoder()
    assert (model.config.grid, model.config.width, model.config.low_res) == (64, 256, 256)
    (path,) = write_graph(decoder_spec(model, ExportConfig(), batch=False), tmp_path, 17)
    session, draw = open_session(path), torch.Generator().manual_seed(0)
    embedding = torch.randn(1, 256, 64, 64, generator=draw)
    coords, labels = torch.rand(1, 3, 2, generator=draw) * 1024, torch.tensor([[1.0, 0.0, -1.0]])
    hint, has = torch.randn(1, 1, 256, 256, generator=draw), torch.ones(1)
    given = (embedding, coords, labels, hint, has, torch.tensor([40.0, 60.0]))
    named = {value.name: tensor.numpy() for value, tensor in zip(session.get_inputs(), given, strict=True)}
    masks, iou, low_res = session.run(None, named)
    with torch.no_grad():
        expected, quality = model.decode(embedding, points=coords, labels=labels, masks=hint, pad_points=False)
    close(low_res, expected)
    close(iou, quality)
    close(masks, model.postprocess_masks(expected, model.frame((40, 60)).resized_hw, (40, 60)))


def test_official_outputs(shared: Path, tmp_path: Path) -> None:
    """The 36 golden cases through `encoder.onnx` and `decoder.onnx`, as a client would run them."""
    golden = shared / "golden"
    loaded = load_model(golden / "toy_official.pth")
    model, config = loaded.model, loaded.config
    (encoder,) = write_graph(encoder_spec(model), tmp_path, 17)
    (decoder,) = write_graph(decoder_spec(model, ExportConfig(), batch=False), tmp_path, 17)
    client, encode = Client(decoder, config.canvas, config.low_res), open_session(encoder)
    from segany.transforms.resize import ImageTransform

    transform = ImageTransform(config.canvas, config.low_res, config.pixel_mean, config.pixel_std)
    photos: dict[str, tuple[Any, tuple[int, int]]] = {}
    with np.load(golden / "predictor.npz") as arrays:
        for case in json.loads((golden / "predictor.json").read_text(encoding="utf-8")):
            name = case["image"].removesuffix(".png")
            if name not in photos:
                pixels, frame = transform(read_image(golden / case["image"]))
                embedding = encode.run(None, {"pixels": pixels[None].numpy()})[0]
                close(embedding[0], arrays[f"{name}.embedding"])
                photos[name] = (embedding, frame.original_hw)
            hint = arrays.get(f"{case['id']}.mask_input")
            masks, iou, low_res = client(
                *photos[name],
                case.get("point_coords", ()),
                case.get("point_labels", ()),
                None if "box" not in case else np.array(case["box"]),
                hint,
            )
            own = slice(1, 4) if case["multimask_output"] else slice(0, 1)
            close(low_res[0, own], arrays[f"{case['id']}.low_res_logits"])
            close(iou[0, own], np.array(case["iou_predictions"]))
            for mask, rle in zip(masks[0, own] > config.mask_threshold, case["masks"], strict=True):
                official = decode_rle(rle)
                assert np.array_equal(mask, official) or mask_iou(mask, official) >= 0.999
    assert len(photos) == 3


def test_three_layers_have_no_split_and_say_so(toy_predictor: Predictor) -> None:
    from segany.core.errors import OptionError
    from segany.export.folder import specs_of
    from segany.export.split import split_specs

    config = toy_predictor.config
    deep = build_model(dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, depth=3)))
    assert [spec.name for spec in specs_of(deep, ExportConfig())] == ["encoder", "decoder", "decoder_batch"]
    with pytest.raises(OptionError, match="2 layers"):
        split_specs(deep)
