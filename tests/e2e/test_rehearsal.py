"""The whole loop, small: a real service process, simulated people, three rounds, a release; on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sa = pytest.importorskip("sqlalchemy")

from segany.cli.app import main  # noqa: E402
from segany.core.errors import DataError, OptionError  # noqa: E402
from segany.data.open import open_source  # noqa: E402
from segany.data.packs import is_held_out  # noqa: E402
from segany.engine.store import open_store  # noqa: E402
from segany.modeling.build import build_model  # noqa: E402
from segany.modeling.checkpoints.save import save_model  # noqa: E402
from segany.recipes import engine_rehearse as recipe  # noqa: E402
from segany.recipes.engine_rehearse import RehearseConfig, rehearse  # noqa: E402
from segany.recipes.engine_start import MODEL, starting_model, training_of  # noqa: E402

KEYS = {"stage", "one_click_miou", "clicks_per_mask", "seconds_per_mask", "masks_per_image", "published"}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    address = request.getfixturevalue("postgres")
    engine = sa.create_engine(address + "postgres", isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("DROP DATABASE IF EXISTS rehearsal"))
        connection.execute(sa.text("CREATE DATABASE rehearsal"))
    yield address + "rehearsal"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """An untrained model of the rehearsal's kind: the loop is tested, not the model."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return save_model(build_model(MODEL).state_dict(), MODEL, tmp_path / "untrained.safetensors")


def test_the_whole_loop(
    shared: Path, tmp_path: Path, weights: Path, database: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["engine", "rehearse", "--data", str(shared / "data"), "--images", "4,3,3", "-o", str(out)]
    words += ["--start", str(weights), "--round-steps", "10", "--annotators", "2"]
    words += [] if database is None else ["--database", database]
    assert main(words) == 0, capsys.readouterr().err
    report = json.loads((out / "report.json").read_text())
    assert [one["stage"] for one in report["rounds"]] == ["manual", "semi", "auto"]
    assert all(set(one) >= KEYS and one["service_follows_seconds"] is not None for one in report["rounds"])
    assert report["simulated"] is True and report["release"]["read_by"] == "webdataset"
    assert len(open_source(out / "release")) == report["release"]["read_images"] > 0  # type: ignore[arg-type]
    assert (out / "figures" / "one_click_miou_truth.png").is_file() and (out / "report.md").is_file()
    assert "simulated" in (out / "release" / "annotation_card.md").read_text().lower()
    store = open_store(out / "store", database=database)
    (project,) = store.projects()
    assert len(store.images(project.id)) == 10 and all(one.simulated for one in store.users())
    assert all(one.document.simulated for one in store.accepted(project.id))
    names = {one.file_name for one in store.images(project.id)}
    assert not any(is_held_out("coco", name) for name in names if not (shared / "data/bsds500/train" / name).exists())
    store.close()
    capsys.readouterr()
    before = (out / "report.json").read_bytes()
    assert main(words) == 0, "a finished rehearsal tells its report again"
    assert (out / "report.json").read_bytes() == before
    assert "manual" in capsys.readouterr().out


def test_it_goes_on_after_a_break(shared: Path, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RehearseConfig(images=(4, 1, 1), annotators=2, round_steps=10)
    told: list[str] = []

    def breaks(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "run_round", breaks)
    with pytest.raises(KeyboardInterrupt):
        rehearse(shared / "data", tmp_path / "out", config, start=weights)
    state = json.loads((tmp_path / "out" / "state.json").read_text())
    assert state["manual"]["submitted"] + state["manual"]["skipped"] >= 4 and "round 1" not in state
    with pytest.raises(KeyboardInterrupt):
        rehearse(shared / "data", tmp_path / "out", config, start=weights, told=told.append)
    assert "manual: done before" in told
    with pytest.raises(OptionError, match="other settings"):
        rehearse(shared / "data", tmp_path / "out", RehearseConfig(images=(5, 1, 1)), start=weights)


def test_the_starting_model_learns_from_other_photos_alone(shared: Path, tmp_path: Path) -> None:
    training = training_of(40, 0)
    assert set(training.batch.weights) == {"coco-person", "dsb2018", "camvid"} and training.steps == 40
    with pytest.raises(OptionError):
        starting_model(shared / "data", tmp_path / "none", steps=0)


def test_what_cannot_be_rehearsed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="40,60,200"):
        RehearseConfig(images=(2, 1, 1))
    with pytest.raises(DataError, match="packs"):
        rehearse(tmp_path, tmp_path / "out", RehearseConfig())
    assert main(["engine", "rehearse", "--data", str(tmp_path), "-o", str(tmp_path / "o"), "--images", "4,4"]) == 2
