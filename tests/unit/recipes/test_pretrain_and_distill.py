"""Pre-trained and distilled weights are of use afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from segany.core.errors import CheckpointError, DataError, OptionError
from segany.data.photo_sets import MemoryPhoto, MemorySet
from segany.data.synthetic import synthetic_scene
from segany.data.unlabelled import UnlabelledSet
from segany.modeling.build import build_model
from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.save import save_model
from segany.modeling.presets import TOY
from segany.pictures.save import save_picture
from segany.predict.predictor import Predictor
from segany.prompts.config import SimulationConfig
from segany.recipes import distill, pretrain_mae, train_promptable
from segany.recipes.distill_config import DISTILL
from segany.recipes.initial import start_from
from segany.recipes.mae_config import MAE
from segany.recipes.presets import PROMPTABLE
from segany.training.distilling import Distillation, DistillSource, DistillStep
from segany.training.features import FeatureStore
from segany.training.masked import CropSource
from segany.transforms.augment import square_crop
from segany.transforms.config import ViewConfig


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few steps of masked pre-training of `toy`."""
    out = tmp_path_factory.mktemp("mae")
    config = MAE["toy"]
    small = replace(config, images=4, per_device=4, schedule=replace(config.schedule, steps=3))
    pretrain_mae.run(small, out, device="cpu", board=False)
    return out


def test_promptable_training_starts_from_a_pretrained_encoder(pretrained: Path, tmp_path: Path) -> None:
    fresh = {name: tensor.clone() for name, tensor in build_model(TOY).state_dict().items()}
    model = build_model(TOY)
    model.load_state_dict(fresh)
    start_from(model, pretrained)
    now = model.state_dict()
    changed = {name for name in fresh if not torch.equal(fresh[name], now[name])}
    assert "image_encoder.pos_embed" in changed
    assert any(name.startswith("image_encoder.blocks.1.mlp") for name in changed)
    assert all(name.startswith("image_encoder.") and ".neck." not in name for name in changed)

    small = PROMPTABLE["toy"].shrunk()
    config = replace(small, model=TOY)
    train_promptable.run(config, tmp_path, initial=pretrained, max_steps=1, device="cpu", board=False)
    with pytest.raises(OptionError, match="initial weights"):
        train_promptable.run(config, tmp_path, max_steps=2, device="cpu", board=False)


def test_an_encoder_alone_is_no_model(pretrained: Path) -> None:
    with pytest.raises(CheckpointError, match=r"train promptable --init"):
        load_model(pretrained)
    with pytest.raises(CheckpointError, match="Choose the preset they belong to"):
        start_from(build_model(PROMPTABLE["tiny"].shrunk().model), pretrained)


def test_pretraining_draws_completed_photos(pretrained: Path) -> None:
    assert list((pretrained / "pictures").glob("step-*-painted.jpg"))


def test_crops_fill_their_square_and_know_nothing_of_the_past() -> None:
    rgb = np.full((50, 90, 3), 7, np.uint8)
    for seed in range(20):
        crop = square_crop(np.random.default_rng(seed), rgb, 32)
        assert crop.shape == (32, 32, 3) and (crop == 7).all()
    shared = {"images": 4, "per_device": 2, "canvas": 32, "units": 2, "min_area": 0.2, "seed": 1}
    norm = {"pixel_mean": TOY.pixel_mean, "pixel_std": TOY.pixel_std}
    photos = [MemorySet(name="p", photos=[MemoryPhoto(np.full((40, 40, 3), i, np.uint8), ()) for i in range(3)])]
    one, two = (CropSource(photos, **shared, **norm) for _ in range(2))  # type: ignore[arg-type]
    two(0)
    for a, b in zip(one(5), two(5), strict=True):
        assert torch.equal(a.pixels, b.pixels) and torch.equal(a.keys, b.keys)
    ranks = [CropSource(photos, **shared, **norm, rank=r, world=2)(5) for r in range(2)]  # type: ignore[arg-type]
    together = torch.cat([batch.pixels for batch in one(5)])
    assert torch.equal(together[0::2], ranks[0][0].pixels) and torch.equal(together[1::2], ranks[1][0].pixels)


def test_unlabelled_photos_are_any_images(tmp_path: Path) -> None:
    for name in ("b.png", "deep/a.png", ".hidden.png"):
        save_picture(tmp_path / name, np.zeros((4, 6, 3), np.uint8))
    photos = UnlabelledSet(tmp_path)
    assert len(photos) == 2
    assert photos.photo(0, 32).rgb.shape == (4, 6, 3) and photos.photo(0, 32).count == 0
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="at least one image"):
        UnlabelledSet(tmp_path / "empty")


# --- distillation


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    return save_model(build_model(TOY).state_dict(), TOY, tmp_path / "teacher.safetensors")


def scenes() -> MemorySet:
    painted = [synthetic_scene(np.random.default_rng(seed), 96) for seed in range(3)]
    return MemorySet(name="painted", photos=[MemoryPhoto(scene.rgb, ()) for scene in painted])


def test_a_student_that_is_its_teacher_has_little_to_learn(teacher: Path, tmp_path: Path) -> None:
    loaded, twin = load_model(teacher), load_model(teacher)
    store = FeatureStore(tmp_path / "features", "teacher", loaded.model.encode)
    source = DistillSource(
        [scenes()],
        images=2,
        per_device=2,
        views=2,
        view=ViewConfig(),
        student=TOY,
        teacher=TOY,
        store=store,
        seed=0,
    )
    step = DistillStep(loaded.model, 1.0, 1.0, 3, SimulationConfig(clicks=2, refine_inside=0, refine_last=0))
    model = Distillation(twin.model, TOY)
    assert isinstance(model.projection, torch.nn.Identity)
    with torch.no_grad():
        same = step(model, source(0)[0]).parts
        for parameter in twin.model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        other = step(model, source(0)[0]).parts
    assert float(same["embedding_loss"]) < 1e-4 < float(other["embedding_loss"])
    assert float(same["answer_loss"]) < float(other["answer_loss"])


def test_student_and_teacher_see_the_same_part_at_two_sizes(tmp_path: Path) -> None:
    large = replace(TOY, canvas=256)
    seen: list[torch.Tensor] = []

    def compute(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(pixels[0])
        return pixels[:, :, ::16, ::16]

    source = DistillSource(
        [scenes()],
        images=1,
        per_device=1,
        views=3,
        view=ViewConfig(whole=0.0),
        student=TOY,
        teacher=large,
        store=FeatureStore(tmp_path, "x", compute),
        seed=0,
    )
    for step in range(6):
        seen.clear()
        source._keys.clear()
        for path in list(tmp_path.rglob("*.safetensors")):
            path.unlink()
        batch = source(step)[0]
        assert seen[0].shape == (3, 256, 256)
        half = torch.nn.functional.avg_pool2d(seen[0], 2)
        filled = batch.valid_hw[0] - 4
        difference = (half - batch.pixels[0])[:, : filled[0], : filled[1]].abs().mean()
        assert float(difference) < 0.15


def test_a_fresh_student_takes_over_a_decoder_that_fits(teacher: Path, tmp_path: Path) -> None:
    config = replace(DISTILL["embedding"].shrunk(), schedule=replace(DISTILL["embedding"].schedule, steps=2))
    run = {"teacher": teacher, "sets": [scenes()], "device": "cpu", "board": False}
    distill.run(config, tmp_path / "out", student="toy", **run)  # type: ignore[arg-type]
    taught, master = load_model(tmp_path / "out"), load_model(teacher)
    assert not any(name.startswith("projection") for name in taught.model.state_dict())
    for name, tensor in master.model.state_dict().items():
        if name.startswith("mask_decoder."):
            assert torch.equal(tensor, taught.model.state_dict()[name])
    Predictor.from_pretrained(tmp_path / "out", device="cpu")
    with pytest.raises(OptionError, match="would never teach it"):
        distill.run(config, tmp_path / "x", student="tiny", **run)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="--student must be"):
        distill.run(config, tmp_path / "x", student="nobody", **run)  # type: ignore[arg-type]
