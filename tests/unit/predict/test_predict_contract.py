"""The predictor: shapes and rules of its answers, batches equal to single calls, threads, pictures of every kind."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from segany.core.errors import CheckpointError, EmbeddingError, ImageError, NotAvailableError, OptionError, PromptError
from segany.geometry.frames import Frame
from segany.modeling.sam import Sam
from segany.predict.embedding import ImageEmbedding
from segany.predict.prediction import Prediction
from segany.predict.predictor import Predictor
from segany.predict.rows import BINARY_MASK_LOGIT, binary_to_logits, rows_of
from segany.predict.upscale import Upscaler
from segany.prompts.prompt import Prompt

Scene = Callable[[int, int], NDArray[np.uint8]]
LOW_RES = 32


@pytest.fixture(scope="module")
def image(toy_predictor: Predictor, scene: Scene) -> ImageEmbedding:
    return toy_predictor.encode(scene(90, 140))


@pytest.fixture(scope="module")
def calm(toy_predictor: Predictor) -> Predictor:
    """The toy with flatter attention: its own is so sharp that one prompt in fifty enlarges rounding past 1e-4."""
    model = copy.deepcopy(toy_predictor.model)
    with torch.no_grad():
        for name, tensor in model.mask_decoder.named_parameters():
            if name.endswith("q_proj.weight"):
                tensor.mul_(0.25)
    return Predictor(model, device="cpu")


def assert_equal(one: Prediction, other: Prediction) -> None:
    largest = float(np.abs(other.low_res_logits).max())
    assert float(np.abs(one.low_res_logits - other.low_res_logits).max()) <= 1e-4 * largest
    np.testing.assert_allclose(one.predicted_iou, other.predicted_iou, atol=1e-4)
    assert one.masks.shape == other.masks.shape and one.output_index == other.output_index
    assert (one.masks != other.masks).mean() < 1e-3


@pytest.mark.parametrize(
    ("prompt", "lead", "masks"),
    [
        ({"points": [(20, 30)], "labels": [1]}, (), 3),
        ({"boxes": (5, 5, 60, 70)}, (), 3),
        ({"points": [(20, 30), (80, 40)], "labels": [1, 0]}, (), 1),
        ({"points": [(20, 30)], "labels": [1], "multimask": False}, (), 1),
        ({"points": np.full((4, 1, 2), 9), "labels": np.ones((4, 1))}, (4,), 3),
        ({"points": np.full((1, 2, 2), 9), "labels": np.ones((1, 2)), "boxes": [(0, 0, 50, 50)]}, (1,), 1),
        ({"mask": np.ones((2, 1, LOW_RES, LOW_RES), np.float32)}, (2,), 1),
    ],
)
def test_shapes(
    prompt: dict[str, Any], lead: tuple[int, ...], masks: int, toy_predictor: Predictor, image: ImageEmbedding
) -> None:
    result = toy_predictor.decode(image, **prompt)
    assert result.masks.shape == (*lead, masks, 90, 140) and result.masks.dtype == np.bool_
    assert result.predicted_iou.shape == (*lead, masks)
    assert result.low_res_logits.shape == (*lead, masks, LOW_RES, LOW_RES)
    assert result.output_index == ((1, 2, 3) if masks == 3 else (0,))
    assert np.array_equal(result.best, result.predicted_iou.argmax(axis=-1))
    assert result.best_mask.shape == (*lead, 90, 140)
    chosen = np.take_along_axis(result.masks, np.asarray(result.best)[..., None, None, None], axis=-3)
    assert np.array_equal(result.best_mask, chosen.squeeze(-3))


def test_masks_are_the_upscaled_logits_strictly_above_zero(toy_predictor: Predictor, image: ImageEmbedding) -> None:
    result = toy_predictor.decode(image, points=[(20, 30)], labels=[1])
    slow = toy_predictor.model.postprocess_masks(
        torch.from_numpy(result.low_res_logits)[None], image.frame.resized_hw, (90, 140)
    )[0].numpy()
    sure = np.abs(slow) > 1e-4
    assert sure.mean() > 0.99 and result.masks.any() and not result.masks.all()
    assert np.array_equal(result.masks[sure], (slow > 0)[sure])
    nothing = Upscaler(image.frame).mask(torch.zeros(LOW_RES, LOW_RES), 0.0)
    assert not nothing.any()


@pytest.mark.parametrize("size_hw", [(90, 140), (140, 90), (128, 128), (700, 33), (1, 200), (17, 1), (31, 40)])
def test_upscaling_is_the_two_step_rule_in_any_window(size_hw: tuple[int, int], toy_predictor: Predictor) -> None:
    frame = toy_predictor.model.frame(size_hw)
    low_res = torch.randn(LOW_RES, LOW_RES, generator=torch.Generator().manual_seed(1)) * 5
    slow = toy_predictor.model.postprocess_masks(low_res[None, None], frame.resized_hw, size_hw)[0, 0]
    upscaler = Upscaler(frame)
    torch.testing.assert_close(upscaler.logits(low_res), slow, atol=2e-3, rtol=0)
    low_res[:5], low_res[9:] = -9, -9
    whole = upscaler.logits(low_res)
    y0, y1, x0, x1 = upscaler.window(low_res, -1.0)
    outside = whole.clone()
    outside[y0:y1, x0:x1] = -9
    assert float(outside.max()) <= -1.0 + 1e-5
    torch.testing.assert_close(upscaler.logits(low_res, (y0, y1, x0, x1)), whole[y0:y1, x0:x1], atol=1e-4, rtol=0)


def test_a_ragged_batch_gives_what_each_prompt_gives_alone(calm: Predictor, scene: Scene) -> None:
    images = [calm.encode(scene(*size)) for size in ((90, 140), (60, 33), (128, 128))]
    draw = np.random.default_rng(3)
    pairs: list[tuple[ImageEmbedding, Prompt]] = []
    for number in range(24):
        embedding = images[number % 3]
        height, width = embedding.size_hw
        clicks = int(draw.integers(0, 6))
        box = (2, 3, width - 4, height - 5) if number % 2 or not clicks else None
        logits = draw.normal(0, 5, (LOW_RES, LOW_RES)) if number % 5 == 0 else None
        points = draw.uniform(0, min(height, width), (clicks, 2)) if clicks else None
        labels = draw.integers(0, 2, clicks) if clicks else None
        pairs.append((embedding, Prompt(points=points, labels=labels, boxes=box, mask=logits)))
    together = calm.decode_many(pairs)
    for pair, result in zip(pairs, together, strict=True):
        assert_equal(result, calm.decode_many([pair])[0])


def test_a_prompt_axis_gives_what_each_row_gives_alone(toy_predictor: Predictor, image: ImageEmbedding) -> None:
    points = np.random.default_rng(5).uniform(0, 90, (70, 2, 2))
    labels = np.tile([1, 0], (70, 1))
    together = toy_predictor.decode(image, points=points, labels=labels)
    for row in (0, 1, 63, 64, 69):
        alone = toy_predictor.decode(image, points=points[row], labels=labels[row])
        np.testing.assert_allclose(together.low_res_logits[row], alone.low_res_logits, atol=2e-3)
        assert together.best[row] == alone.best


def test_encoding_together_is_encoding_alone(toy_predictor: Predictor, scene: Scene) -> None:
    pictures = [scene(*size) for size in ((90, 140), (20, 200), (64, 64))]
    for one, picture in zip(toy_predictor.encode_many(iter(pictures), batch_size=2), pictures, strict=True):
        alone = toy_predictor.encode(picture)
        torch.testing.assert_close(one.features, alone.features, atol=1e-4, rtol=1e-4)
        assert one.frame == alone.frame and one.size_hw == picture.shape[:2]
    assert toy_predictor.encode_many([]) == [] and toy_predictor.decode_many([]) == []


def test_eight_threads_share_one_predictor(toy_predictor: Predictor, scene: Scene) -> None:
    pictures = [scene(60 + 9 * number, 150 - 11 * number) for number in range(8)]

    def work(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
        embedding = toy_predictor.encode(picture)
        results = [toy_predictor.decode(embedding, points=[(x, x)], labels=[1]).masks for x in (5, 30, 50)]
        return np.stack(results)

    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(work, pictures))
    for mine, picture in zip(together, pictures, strict=True):
        assert np.array_equal(mine, work(picture))


def test_the_embedding_is_not_changed_by_prompting(toy_predictor: Predictor, image: ImageEmbedding) -> None:
    before = image.features.clone()
    toy_predictor.decode(image, boxes=(0, 0, 50, 50), mask=np.zeros((LOW_RES, LOW_RES), np.float32))
    assert torch.equal(before, image.features)
    assert not image.features.requires_grad and not image.features.is_inference()


def test_a_lone_binary_mask_brings_its_exact_box(toy_predictor: Predictor, image: ImageEmbedding) -> None:
    mask = np.zeros((90, 140), bool)
    mask[20:50, 30:100] = True
    alone = toy_predictor.decode(image, mask=mask)
    assert_equal(alone, toy_predictor.decode(image, mask=mask, boxes=(30, 20, 100, 50), multimask=False))
    clicked = toy_predictor.decode(image, mask=mask, points=[(60, 30)], labels=[1])
    row = rows_of(Prompt(mask=mask, points=[(60, 30)], labels=[1]), image.frame)[0]
    assert row.box is None and clicked.output_index == (0,)
    stacked = toy_predictor.decode(image, mask=np.stack([mask, np.roll(mask, 9, axis=1)]))
    np.testing.assert_allclose(stacked.low_res_logits[0], alone.low_res_logits, atol=2e-3)


def test_binary_masks_become_logits_by_the_share_of_each_cell() -> None:
    frame = Frame.of((64, 128), 128, 32)
    mask = np.zeros((64, 128), bool)
    mask[:32, :64] = True
    mask[32:34, :4] = True
    logits = binary_to_logits(mask, frame)
    assert logits[:8, :16].min() == BINARY_MASK_LOGIT
    assert logits[8, 0] == 0.0
    assert logits[9:].max() == logits[:, 16:].max() == -BINARY_MASK_LOGIT


def test_what_is_wrong_with_a_call_is_said(toy_predictor: Predictor, image: ImageEmbedding, scene: Scene) -> None:
    with pytest.raises(NotAvailableError, match="not available yet"):
        toy_predictor.decode(image, text="a cat")
    with pytest.raises(NotAvailableError, match="not available yet"):
        toy_predictor.decode_many([(image, {"text": "a cat"})])
    with pytest.raises(PromptError, match="ImageEmbedding"):
        toy_predictor.decode(scene(9, 9), points=[(1, 1)], labels=[1])  # type: ignore[arg-type]
    with pytest.raises(PromptError, match="Rename"):
        toy_predictor.decode_many([(image, {"point": [(1, 1)]})])
    with pytest.raises(PromptError, match="pairs"):
        toy_predictor.decode_many([(image, "here")])  # type: ignore[list-item]
    with pytest.raises(PromptError, match="inside the image"):
        toy_predictor.decode(image, points=[(100, 95)], labels=[1])
    with pytest.raises(OptionError, match="batch_size"):
        toy_predictor.encode_many([], batch_size=0)
    with pytest.raises(CheckpointError, match="neither"):
        Predictor.from_pretrained("no such model")


@pytest.mark.parametrize(
    "options", [{"device": "toaster"}, {"dtype": "int4"}, {"dtype": "float16", "device": "cpu"}, {"threads": 0}]
)
def test_impossible_options(options: dict[str, Any], toy_predictor: Predictor) -> None:
    with pytest.raises(OptionError, match=r"; got|needs"):
        Predictor(toy_predictor.model, **{"device": "cpu", **options})


def test_a_predictor_pickles(toy_predictor: Predictor, image: ImageEmbedding) -> None:
    twin = pickle.loads(pickle.dumps(toy_predictor))
    assert twin.fingerprint == toy_predictor.fingerprint
    one, other = (p.decode(image, boxes=(5, 5, 60, 70)) for p in (twin, toy_predictor))
    assert np.array_equal(one.masks, other.masks)


def test_other_weights_have_another_fingerprint(toy_predictor: Predictor, image: ImageEmbedding) -> None:
    changed: Sam = pickle.loads(pickle.dumps(toy_predictor.model))
    with torch.no_grad():
        changed.mask_decoder.iou_token.weight[0, 0] += 1e-3
    other = Predictor(changed, device="cpu")
    with pytest.raises(EmbeddingError, match="Encode the photo again"):
        other.decode(image, points=[(1, 1)], labels=[1])


def test_embeddings_are_saved_and_loaded(toy_predictor: Predictor, image: ImageEmbedding, tmp_path: Path) -> None:
    path = image.save(tmp_path / "deep" / "photo.safetensors")
    loaded = ImageEmbedding.load(path)
    assert torch.equal(loaded.features, image.features)
    assert (loaded.frame, loaded.fingerprint) == (image.frame, image.fingerprint)
    before, after = (toy_predictor.decode(e, boxes=(5, 5, 60, 70)) for e in (image, loaded))
    assert np.array_equal(before.masks, after.masks)
    assert [file.name for file in path.parent.iterdir()] == ["photo.safetensors"]


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "other", "tampered"])
def test_damaged_embeddings(damage: str, image: ImageEmbedding, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "photo.safetensors"
    image.save(path)
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "text":
        path.write_text("hello", encoding="utf-8")
    elif damage == "other":
        save_file({"weights": torch.zeros(3)}, path)
    else:
        about = {"format": "segany-embedding-1", "fingerprint": "0", "frame": '{"original_hw": [0, 5], "canvas": 1}'}
        save_file({"features": torch.zeros(1, 2, 2)}, path, metadata=about)
    with pytest.raises(EmbeddingError, match="expected") as caught:
        ImageEmbedding.load(path)
    assert str(path) in str(caught.value)


def picture(kind: str, rgb: NDArray[np.uint8], folder: Path) -> Any:
    if kind == "exif":
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(np.rot90(rgb)).save(folder / "a.png", exif=exif)
        return folder / "a.png"
    if kind == "grey":
        return rgb[..., 0]
    if kind == "rgba":
        return Image.fromarray(np.dstack([rgb, np.full(rgb.shape[:2], 9, np.uint8)]), "RGBA")
    if kind == "deep":
        return rgb.astype(np.uint16) * 257
    return torch.from_numpy(rgb) if kind == "tensor" else rgb.astype(np.float32) / 255


@pytest.mark.parametrize("kind", ["exif", "rgba", "deep", "tensor", "floating"])
def test_pictures_of_every_kind_are_the_same_photo(
    kind: str, toy_predictor: Predictor, scene: Scene, image: ImageEmbedding, tmp_path: Path
) -> None:
    embedding = toy_predictor.encode(picture(kind, scene(90, 140), tmp_path))
    assert embedding.size_hw == (90, 140)
    torch.testing.assert_close(embedding.features, image.features)


def test_grey_is_three_equal_channels(toy_predictor: Predictor, scene: Scene) -> None:
    grey = scene(90, 140)[..., 0]
    one, three = (toy_predictor.encode(x).features for x in (grey, np.repeat(grey[..., None], 3, axis=2)))
    assert torch.equal(one, three)


@pytest.mark.parametrize("size_hw", [(1, 300), (300, 1), (1, 1), (2, 3)])
def test_thin_pictures(size_hw: tuple[int, int], toy_predictor: Predictor, scene: Scene) -> None:
    embedding = toy_predictor.encode(scene(*size_hw))
    mask = np.ones(size_hw, bool)
    result = toy_predictor.decode(embedding, points=[(0, 0)], labels=[1])
    refined = toy_predictor.decode(embedding, mask=mask)
    assert result.masks.shape == (3, *size_hw) and refined.masks.shape == (1, *size_hw)


def test_what_is_no_photo(toy_predictor: Predictor) -> None:
    for bad in (np.zeros((0, 5, 3), np.uint8), np.full((5, 5, 3), 7.0), np.zeros((5, 5, 2), np.uint8), "nowhere.png"):
        with pytest.raises(ImageError):
            toy_predictor.encode(bad)
