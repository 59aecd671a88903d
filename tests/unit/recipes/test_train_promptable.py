"""The promptable recipe on photos of several layouts, and what its folder holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from segany.cli.app import main
from segany.core.errors import OptionError
from segany.modeling.checkpoints.load import load_model
from segany.recipes.config import PhaseConfig
from segany.recipes.presets import PROMPTABLE
from segany.recipes.train_promptable import PRESETS, run, stretches
from segany.training.config import LoopConfig


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_packs_are_decoded_once_and_trained_on(packs_root: Path, tmp_path: Path) -> None:
    small = PRESETS["toy"].shrunk()
    config = replace(small, batch=replace(small.batch, synthetic=0.0), loop=LoopConfig(save_every=1))
    cache, out = tmp_path / "cache", tmp_path / "out"
    run(config, out, data=[packs_root], cache=cache, max_steps=1, device="cpu", board=False)
    written = (cache / "pixels.bin").stat().st_mtime_ns
    run(config, out, data=[packs_root], cache=cache, max_steps=2, device="cpu", board=False)
    assert (cache / "pixels.bin").stat().st_mtime_ns == written
    noted = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert set(noted["data"]) == {"bsds500", "dsb2018", "camvid", "coco", "coco-person"}
    assert noted["config"]["batch"]["synthetic"] == 0.0
    assert list((out / "pictures").glob("step-*.jpg"))
    loaded = load_model(out / "model.safetensors")
    assert json.loads(loaded.metadata["training"])["name"] == "toy-shrunk"
    assert json.loads(loaded.metadata["data"]).keys() == noted["data"].keys()


def test_parts_learn_alone(tmp_path: Path) -> None:
    """The head that predicts the IoU, taught behind a model that holds still."""
    small, head = PRESETS["toy"].shrunk(), "mask_decoder.iou_prediction_head."
    whole = run(small, tmp_path / "whole", max_steps=1, device="cpu", board=False).state
    config = replace(small, optimizer=replace(small.optimizer, only=(head,), average=None))
    state = run(config, tmp_path / "head", initial=tmp_path / "whole", max_steps=2, device="cpu", board=False).state
    changed = {name for name in whole if not torch.equal(whole[name], state[name])}
    assert changed and all(name.startswith(head) for name in changed)


def test_a_run_from_before_a_knob_existed_goes_on(tmp_path: Path) -> None:
    config, out = PRESETS["toy"].shrunk(), tmp_path / "out"
    run(config, out, max_steps=1, device="cpu", board=False)
    noted = json.loads((out / "config.json").read_text(encoding="utf-8"))
    del noted["config"]["step"]["simulation"]["at_once"], noted["config"]["optimizer"]["only"]
    (out / "config.json").write_text(json.dumps(noted), encoding="utf-8")
    assert run(config, out, max_steps=2, device="cpu", board=False).steps == 2
    del noted["config"]["step"]["simulation"]["clicks"]
    (out / "config.json").write_text(json.dumps(noted), encoding="utf-8")
    with pytest.raises(OptionError, match=r"step\.simulation\.clicks: 8 → 1"):
        run(config, out, max_steps=3, device="cpu", board=False)


def test_other_data_is_another_run(packs_root: Path, tmp_path: Path) -> None:
    config = PRESETS["toy"].shrunk()
    coco = packs_root / "coco"
    run(config, tmp_path / "out", data=[coco], max_steps=1, device="cpu", board=False)
    with pytest.raises(OptionError, match=r"data\.coco: .* → '\(absent\)'"):
        run(config, tmp_path / "out", max_steps=2, device="cpu", board=False)


def test_phases_say_what_is_drawn() -> None:
    canvases = [(s.steps, s.canvas, s.batch.images, s.simulation.clicks) for s in stretches(PROMPTABLE["tiny"])]
    assert canvases == [(3500, 256, 8, 1), (4600, 384, 8, 3), (3200, 512, 6, 3)]
    assert [s.canvas for s in stretches(PROMPTABLE["vit_b"])] == [1024]


def test_only_convolutions_take_another_canvas() -> None:
    toy = PROMPTABLE["toy"]
    phase = PhaseConfig(steps=1, start_rate=1e-3, end_rate=1e-3, canvas=64)
    with pytest.raises(OptionError, match="convolutional"):
        replace(toy, phases=(phase,), schedule=replace(toy.schedule, shape="phases"))
    with pytest.raises(OptionError, match="go together"):
        replace(toy, phases=(replace(phase, canvas=None),))


def test_the_command_takes_a_changed_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = tmp_path / "small.json"
    changes.write_text(json.dumps({"batch": {"images": 2, "masks_per_image": 1}, "loop": {"look_every": 5}}))
    arguments = ["train", "promptable", "--preset", "toy", "--max-steps", "1", "--device", "cpu", "--seed", "4"]
    out = tmp_path / "out"
    assert main([*arguments, "--config", str(changes), "-o", str(out)]) == 0
    noted = json.loads((out / "config.json").read_text(encoding="utf-8"))["config"]
    assert (noted["batch"]["images"], noted["loop"]["look_every"], noted["seed"]) == (2, 5, 4)
    assert "model.safetensors" in capsys.readouterr().err
    assert main([*arguments, "-o", str(out)]) == 2
    assert "batch.images: 2 → 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "huge"], "--preset must be one of"),
        (["--max-steps", "0"], "--max-steps must be 1 or more"),
        (["--config", "nowhere.json"], "nowhere.json"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_wrong_words_are_answered(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "promptable", *arguments, "-o", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
