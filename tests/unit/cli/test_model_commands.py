"""Commands that run a model, with a small untrained one: what they write, and that they go on where they stopped."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segany.records.formats import WRITERS
from segany.records.sa1b import read_sa1b
from segany.transforms.image import read_image, read_mask

from .conftest import Ran

Run = Callable[..., Ran]
KEEP_ALL = ("--points-per-side", "3", "--pred-iou-thresh", "0", "--stability-score-thresh", "0")
"""Few clicks, and no filter that an untrained model would not pass."""


def test_segment_writes_a_mask_and_an_overlay(run: Run, photo: Path, toy: Path) -> None:
    said = run("segment", photo, "--point", "30,25", "--background", "70,10", "-o", "deep/mask.png", "--model", toy)
    assert said.code == 0, said.err
    assert said.out.split() == ["deep/mask.png", "deep/mask_overlay.png"]
    mask = read_mask("deep/mask.png")
    assert mask.shape == (60, 90)
    assert set(np.unique(mask)) <= {0, 255}
    overlay = read_image("deep/mask_overlay.png")
    assert overlay.shape == (60, 90, 3)
    assert (overlay != read_image(photo)).any()


def test_segment_names_its_output_itself(run: Run, photo: Path, toy: Path) -> None:
    said = run("segment", photo, "--box", "10,8,55,45", "--model", toy)
    assert (said.code, said.out.split()) == (0, ["photo_mask.png", "photo_mask_overlay.png"])


def test_segment_encodes_a_photo_once(
    run: Run, photo: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segany.predict.predictor import Predictor

    encoded: list[object] = []
    encode = Predictor.encode

    def counted(self: Predictor, image: object) -> object:
        encoded.append(image)
        return encode(self, image)

    monkeypatch.setattr(Predictor, "encode", counted)
    words = ("segment", photo, "--point", "30,25", "--model", toy)
    for output in ("first.png", "second.png"):
        assert run(*words, "-o", output).code == 0
    assert len(encoded) == 1
    assert Path("first.png").read_bytes() == Path("second.png").read_bytes()
    assert list((tmp_path / "cache" / "embeddings").rglob("*.safetensors"))
    run(*words, "-o", "third.png", "--no-cache")
    run(*words, "-o", "third.png", "--cache", "mine")
    assert len(encoded) == 3
    assert list(Path("mine").rglob("*.safetensors"))
    said = run(*words, "--cache", "mine", "--no-cache")
    assert (said.code, "--no-cache" in said.err) == (2, True)


def test_segment_all_writes_every_candidate(run: Run, photo: Path, toy: Path) -> None:
    said = run("segment", photo, "--point", "30,25", "--all", "-o", "m.png", "--model", toy)
    assert said.out.split() == ["m_1.png", "m_2.png", "m_3.png", "m_overlay.png"]
    assert len({read_mask(f"m_{i}.png").tobytes() for i in (1, 2, 3)}) == 3


def test_segment_writes_a_record(run: Run, photo: Path, toy: Path) -> None:
    run("segment", photo, "--point", "30,25", "-o", "m.json", "--model", toy)
    run("segment", photo, "--point", "30,25", "-o", "m.png", "--model", toy)
    record = read_sa1b(Path("m.json"))
    assert (record.file_name, record.size_hw, len(record.annotations)) == ("photo.png", (60, 90), 1)
    assert record.annotations[0].point_coords == ((30, 25),)
    assert (record.annotations[0].mask == (read_mask("m.png") > 0)).all()


def test_segment_several_boxes(run: Run, photo: Path, toy: Path) -> None:
    said = run("segment", photo, "--box", "10,8,55,45", "--box", "58,28,82,57", "-o", "m.png", "--model", toy)
    assert said.out.split() == ["m_1.png", "m_2.png", "m_overlay.png"]


def test_segment_from_a_rough_mask(run: Run, photo: Path, toy: Path) -> None:
    rough = np.zeros((60, 90), np.uint8)
    rough[8:42, 12:52] = 255
    Image.fromarray(rough).save("rough.png")
    said = run("segment", photo, "--mask", "rough.png", "-o", "m.png", "--model", toy)
    assert (said.code, said.out.split()) == (0, ["m.png", "m_overlay.png"])


def test_cutout_is_transparent_outside(run: Run, photo: Path, toy: Path) -> None:
    run("segment", photo, "--point", "30,25", "-o", "m.png", "--model", toy)
    mask = read_mask("m.png") > 0
    assert mask.any(), "the toy model's mask is empty: choose another seed"
    said = run("segment", photo, "--point", "30,25", "--cutout", "-o", "thing.png", "--model", toy)
    assert said.out.split() == ["thing.png"]
    with Image.open("thing.png") as picture:
        assert picture.mode == "RGBA"
        alpha = np.asarray(picture)[..., 3]
    assert (alpha > 0).sum() == mask.sum()


def test_a_point_outside_is_answered(run: Run, photo: Path, toy: Path) -> None:
    said = run("segment", photo, "--point", "-5,4", "-o", "m.png", "--model", toy)
    assert said.code == 2
    assert not Path("m.png").exists()


def test_everything_on_one_photo(run: Run, photo: Path, toy: Path) -> None:
    said = run("everything", photo, "-o", "out", "--model", toy, *KEEP_ALL)
    assert said.code == 0, said.err
    assert said.out.strip() == "out"
    record = read_sa1b(Path("out/photo.json"))
    assert record.size_hw == (60, 90)
    assert len(record.annotations) > 0
    assert read_image("out/photo_overlay.png").shape == (60, 90, 3)
    assert f"{len(record.annotations)} masks" in said.err


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_everything_in_every_format(run: Run, photo: Path, toy: Path, name: str) -> None:
    said = run("everything", photo, "-o", "out", "--format", name, "--no-overlay", "--model", toy, *KEEP_ALL)
    assert said.code == 0, said.err
    assert WRITERS[name].target(Path("out"), "photo").exists()
    assert not list(Path("out").glob("*overlay*"))


@pytest.fixture
def folder(photo: Path, tmp_path: Path) -> Path:
    """Three photos, the second one broken."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (folder / name).write_bytes(photo.read_bytes())
    (folder / "b.png").write_bytes(photo.read_bytes()[:60])
    return folder


def test_a_broken_photo_fails_alone_and_the_next_run_takes_up(run: Run, folder: Path, photo: Path, toy: Path) -> None:
    words = ("everything", folder, "-o", "out", "--model", toy, *KEEP_ALL)
    first = run(*words)
    assert first.code == 1
    assert "b.png" in first.err and "Traceback" not in first.err
    assert {p.name for p in Path("out").glob("[abc].json")} == {"a.json", "c.json"}
    stamp = Path("out/a.json").stat().st_mtime_ns
    (folder / "b.png").write_bytes(photo.read_bytes())
    second = run(*words)
    assert second.code == 0
    assert "1 of 3 images done" in second.err and "2 were there already" in second.err
    assert Path("out/a.json").stat().st_mtime_ns == stamp
    third = run(*words, "--overwrite")
    assert third.code == 0 and "3 of 3" in third.err


def test_other_settings_need_another_folder(run: Run, folder: Path, toy: Path) -> None:
    run("everything", folder / "a.png", "-o", "out", "--model", toy, *KEEP_ALL)
    said = run("everything", folder / "a.png", "-o", "out", "--model", toy, *KEEP_ALL, "--box-nms-thresh", "0.5")
    assert said.code == 2
    assert "--overwrite" in said.err


def wait_for(path: Path, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)


def test_an_interruption_keeps_finished_photos(
    run: Run, folder: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import segany.batch.local as local

    real = local.read_image

    def interrupted(path: Any) -> Any:
        if Path(path).name == "c.png":
            wait_for(Path("out/a.json"))  # several photos are worked on at once: only finished ones are kept
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(local, "read_image", interrupted)
    said = run("everything", folder, "-o", "out", "--model", toy, *KEEP_ALL)
    assert said.code == 1
    assert "interrupted" in said.err and "Traceback" not in said.err
    assert Path("out/a.json").exists() and not Path("out/c.json").exists()
    assert not [p for p in Path("out").rglob("*") if ".part" in p.name]


def test_knobs_are_the_generators() -> None:
    from dataclasses import fields

    from segany.cli.everything import Knobs
    from segany.predict.automatic.config import PRESETS

    known = {field.name for field in fields(PRESETS["reference"])}
    assert {field.name for field in fields(Knobs)} == known - {"point_grids"}
    assert {"reference", "sa1b"} == set(PRESETS)


def test_weights_may_recommend_thresholds(run: Run, photo: Path, toy: Path) -> None:
    from segany.modeling.checkpoints.load import load_model
    from segany.modeling.checkpoints.save import save_model

    loaded = load_model(toy)
    lenient = {"automatic": {"points_per_side": 3, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}}
    save_model(loaded.model.state_dict(), loaded.config, "lenient.safetensors", metadata=lenient)
    assert run("everything", photo, "-o", "asked", "--model", "lenient.safetensors").code == 0
    assert run("everything", photo, "-o", "given", "--model", toy, *KEEP_ALL).code == 0
    assert len(read_sa1b(Path("asked/photo.json")).annotations) > 0
    assert read_sa1b(Path("asked/photo.json")) == read_sa1b(Path("given/photo.json"))
    words = ("--preset", "reference", "--points-per-side", "2", "--model", "lenient.safetensors")
    assert run("everything", photo, "-o", "strict", *words).code == 0
    assert not read_sa1b(Path("strict/photo.json")).annotations


def test_a_damaged_recommendation_is_answered(run: Run, photo: Path, toy: Path) -> None:
    from segany.modeling.checkpoints.load import load_model
    from segany.modeling.checkpoints.save import save_model

    loaded = load_model(toy)
    save_model(loaded.model.state_dict(), loaded.config, "bad.safetensors", metadata={"automatic": "[3"})
    said = run("everything", photo, "-o", "out", "--model", "bad.safetensors")
    assert said.code == 2
    assert "automatic" in said.err and not Path("out").exists()


def test_bad_knobs_are_answered(run: Run, photo: Path, toy: Path) -> None:
    for knob, value in [("--points-per-side", "0"), ("--points-per-batch", "-1"), ("--crop-n-layers", "-1")]:
        said = run("everything", photo, "-o", "out", "--model", toy, knob, value)
        assert said.code == 2, (knob, said)
        assert not Path("out").exists()


def test_models_info_and_verify(run: Run, toy: Path) -> None:
    info = run("models", "info", toy)
    assert info.code == 0
    assert "toy" in info.out and "128" in info.out
    fingerprint = re.search(r"fingerprint\s+([0-9a-f]{64})", info.out)
    assert fingerprint
    whole = json.loads(run("models", "info", toy, "--json").out)
    assert whole["fingerprint"] in info.out and whole["config"]["name"] == "toy"
    verified = run("models", "verify", toy)
    assert verified.code == 0
    assert fingerprint[1] in verified.out


def test_models_convert_there_and_back(run: Run, toy: Path) -> None:
    assert run("models", "convert", toy, "--to", "huggingface", "-o", "hf").code == 0
    assert run("models", "convert", "hf", "--to", "segany", "-o", "back.safetensors").code == 0
    before = re.search(r"fingerprint\s+(\w+)", run("models", "info", toy).out)
    assert before
    assert Path("hf/config.json").is_file()
    assert run("models", "info", "back.safetensors").code == 0


def test_models_list_names_every_model(run: Run) -> None:
    said = run("models", "list")
    assert said.code == 0
    assert {"tiny", "vit_b", "vit_l", "vit_h", "vit_t"} <= set(said.out.split())


def test_a_download_without_connection_says_where_to_put_the_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import urllib.error
    import urllib.request

    def offline(*args: Any, **kwargs: Any) -> Any:
        raise urllib.error.URLError("no connection")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    said = run("models", "download", "vit_b")
    assert said.code == 2
    assert str(tmp_path / "cache") in said.err and "sam_vit_b_01ec64.pth" in said.err


def test_doctor_reports_every_part(run: Run) -> None:
    said = run("doctor")
    for name in ("segany", "python", "torch", "devices", "extra serve", "model tiny", "model vit_b", "trial"):
        assert re.search(rf"^(!!)?\s*{name}\s", said.out, flags=re.MULTILINE), name
    assert said.code == (1 if "needs attention" in said.out else 0)


def test_doctor_sees_a_broken_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from segany.cli.doctor import torchvision_state

    (tmp_path / "torchvision.py").write_text("raise RuntimeError('nms does not exist')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    (finding,) = torchvision_state()
    assert finding.trouble
    assert "pip uninstall torchvision" in finding.state


def test_demo_writes_pictures_and_records_of_every_photo(run: Run, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import segany.cli.demo as module

    assert len(module.PHOTOS) >= 3
    photos = module.PHOTOS[::3]
    monkeypatch.setattr(module, "PHOTOS", photos)
    said = run("demo", "-o", "shown", "--points-per-side", "2", "--model", toy)
    assert said.code == 0, said.err
    assert said.out.strip() == "shown/index.png"
    for photo in photos:
        assert read_sa1b(Path("shown") / f"{photo.name}.json").file_name == f"{photo.name}.png"
        for kind in ("prompt1", "everything"):
            assert read_image(Path("shown") / f"{photo.name}_{kind}.png").shape[2] == 3


def test_evaluate_points_writes_its_report(run: Run, toy: Path, packs_root: Path) -> None:
    words = ("evaluate", "points", "--data", packs_root, "--pack", "dsb2018", "--clicks", "1,2", "-o", "ev")
    said = run(*words, "--model", toy)
    assert said.code == 0, said.err
    assert "dsb2018" in said.out
    report = json.loads(Path("ev/points.json").read_text(encoding="utf-8"))
    assert report["packs"][0]["masks"] > 0
    assert Path("ev/points.png").is_file()
