"""Fine-tuning on one's own photos: the split, the resumed run, the report, what goes wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segany.cli.app import main
from segany.core.errors import Cancelled, DataError, OptionError
from segany.modeling.build import build_model
from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.save import save_model
from segany.modeling.presets import TOY
from segany.recipes.finetune import FinetuneResult, run
from segany.recipes.finetune_config import FINETUNE
from segany.recipes.finetune_data import painted_coco, split
from segany.training.contract import Status
from segany.training.journal import METRICS, read_lines

CONFIG = FINETUNE["decoder"].shrunk()
CONFIG = replace(
    CONFIG,
    schedule=replace(CONFIG.schedule, steps=6),
    loop=replace(CONFIG.loop, save_every=2, look_every=3),
    batch=replace(CONFIG.batch, images=2),
)


@pytest.fixture(scope="module")
def given_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four painted photos with masks, and an untrained model."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("own")
    painted_coco(folder, 4, 64)
    torch.manual_seed(0)
    save_model(build_model(TOY).state_dict(), TOY, folder / "toy.safetensors")
    return folder


def tune(folder: Path, out: Path, config=CONFIG, **more) -> FinetuneResult:  # type: ignore[no-untyped-def]
    more = {"images": folder / "images", "annotations": folder / "annotations.json", **more}
    return run(config, out, model=folder / "toy.safetensors", device="cpu", board=False, **more)


def curve(out: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_lines(out / METRICS)]


@given(st.lists(st.text(min_size=1), min_size=2, max_size=40, unique=True), st.floats(0.01, 0.99), st.randoms())
def test_the_split_follows_names_alone(keys: list[str], share: float, random) -> None:  # type: ignore[no-untyped-def]
    train, heldout = split(keys, share)
    assert sorted(train + heldout) == list(range(len(keys)))
    assert train and heldout
    shuffled = list(keys)
    random.shuffle(shuffled)
    assert {shuffled[i] for i in split(shuffled, share)[1]} == {keys[i] for i in heldout}


def test_a_stopped_run_goes_on_as_if_it_had_not(given_files: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = tune(given_files, whole)

    def stop(status: Status) -> None:
        if status.step == 3:
            raise Cancelled("as if killed")

    with pytest.raises(Cancelled):
        tune(given_files, broken, told=stop)
    resumed = tune(given_files, broken)
    assert [step for step, _ in curve(whole)] == list(range(1, 7))
    assert curve(broken) == curve(whole)
    assert resumed.gain == expected.gain and resumed.best_step == expected.best_step
    for name, tensor in load_model(whole).model.state_dict().items():
        assert torch.equal(tensor, load_model(broken).model.state_dict()[name])


def test_what_a_run_leaves(given_files: Path, tmp_path: Path) -> None:
    result = tune(given_files, tmp_path)
    before = load_model(given_files / "toy.safetensors").model.state_dict()
    after = load_model(tmp_path).model.state_dict()
    frozen = [name for name in before if name.startswith("image_encoder.")]
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    official = load_model(tmp_path / "model.pth")
    assert all(torch.equal(tensor, after[name]) for name, tensor in official.model.state_dict().items())
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["heldout"]["images"] == 1
    assert report["change"]["box"]["mean"] == pytest.approx(
        report["after"]["box"]["mean"] - report["before"]["box"]["mean"]
    )
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert result.gain.verdict in text and "Few photos are held out (1)" in text
    assert list((tmp_path / "pictures").glob("*-heldout.jpg"))


def test_weights_that_got_worse_are_not_kept(given_files: Path, tmp_path: Path) -> None:
    """A learning rate that destroys the model: OUT holds what it started from and says so."""
    schedule = replace(CONFIG.schedule, rate=3.0, warm_up=0, shape="constant")
    config = replace(CONFIG, schedule=schedule, optimizer=replace(CONFIG.optimizer, average=None), patience=1)
    painted = tmp_path / "start"
    tune(given_files, painted, replace(CONFIG, schedule=replace(CONFIG.schedule, steps=60, rate=5e-3)))
    files = {"images": given_files / "images", "annotations": given_files / "annotations.json"}
    result = run(config, tmp_path / "out", model=painted, device="cpu", board=False, **files)
    assert result.best_step == 0
    assert any("unchanged" in note for note in result.notes)
    start = load_model(painted).model.state_dict()
    assert all(torch.equal(t, start[n]) for n, t in load_model(tmp_path / "out").model.state_dict().items())
    assert result.fitted.steps == 3, "one look without anything better should have ended it"


def test_a_changed_config_is_refused(given_files: Path, tmp_path: Path) -> None:
    tune(given_files, tmp_path, max_steps=1)
    with pytest.raises(OptionError, match=r"views: 2 → 3"):
        tune(given_files, tmp_path, replace(CONFIG, views=3))
    other = json.loads((given_files / "annotations.json").read_text(encoding="utf-8"))
    other["annotations"] = other["annotations"][1:]
    changed = tmp_path / "other.json"
    changed.write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(OptionError, match=r"data\.annotations"):
        tune(given_files, tmp_path, annotations=changed)


def test_one_photo_is_too_few(given_files: Path, tmp_path: Path) -> None:
    images, annotations = painted_coco(tmp_path, 1, 64)
    with pytest.raises(DataError, match="two photos with masks or more"):
        tune(given_files, tmp_path / "out", images=images, annotations=annotations)


def test_the_command(given_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "small.json"
    small = {"views": 1, "schedule": {"steps": 2}, "batch": {"images": 2, "masks_per_image": 2, "masks_per_device": 4}}
    config.write_text(json.dumps(small), encoding="utf-8")
    words = ["--images", str(given_files / "images"), "--annotations", str(given_files / "annotations.json")]
    words += ["--model", str(given_files / "toy.safetensors"), "--config", str(config), "--device", "cpu"]
    assert main(["train", "finetune", *words, "-o", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert "One-click IoU on held-out photos" in told.out
    assert "report.md" in told.err
    assert main(["train", "finetune", *words, "--preset", "head", "-o", str(tmp_path / "x")]) == 2
    assert "decoder, decoder+neck, lora, all" in capsys.readouterr().err
