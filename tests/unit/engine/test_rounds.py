"""Rounds and the automatic stage on painted photos: what is trained on, what decides, what is kept and counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sa = pytest.importorskip("sqlalchemy")

from segany.core.errors import Cancelled, DataError, OptionError  # noqa: E402
from segany.data.synthetic import synthetic_scene  # noqa: E402
from segany.engine.config import ProjectSettings  # noqa: E402
from segany.engine.moving import document_of  # noqa: E402
from segany.engine.store import open_store  # noqa: E402
from segany.masks.rle import encode  # noqa: E402
from segany.modeling.build import build_model  # noqa: E402
from segany.modeling.checkpoints.load import load_model  # noqa: E402
from segany.modeling.checkpoints.save import save_model  # noqa: E402
from segany.modeling.presets import TOY  # noqa: E402
from segany.pictures.save import save_picture  # noqa: E402
from segany.predict.automatic.config import SweepConfig  # noqa: E402
from segany.predict.automatic.tally import CANDIDATES, FILTERS, MASKS  # noqa: E402
from segany.predict.predictor import Predictor  # noqa: E402
from segany.recipes import engine_round  # noqa: E402
from segany.recipes.engine_auto import _Swept, run_auto, sweep_config, thresholds_of  # noqa: E402
from segany.recipes.engine_round import run_round  # noqa: E402
from segany.recipes.engine_training import PLAN, RoundConfig  # noqa: E402
from segany.records.record import MaskRecord  # noqa: E402

QUICK = RoundConfig(steps=3, images=2, min_share=0.005, most_masks=2, least_images=1, trains="decoder")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return save_model(build_model(TOY).state_dict(), TOY, tmp_path / "toy.safetensors")


@pytest.fixture
def painted(tmp_path: Path) -> Iterator[Any]:
    """A project with ten painted photos, six of them annotated; some are held out."""
    from datetime import UTC, datetime

    store = open_store(tmp_path / "store", create=True)
    project = store.create_project("painted", settings=ProjectSettings(held_out_share=0.4)).id
    person = store.add_user("ann", "correct horse", "admin").id
    for number in range(10):
        scene = synthetic_scene(np.random.default_rng(number), 64)
        path = tmp_path / f"{number}.png"
        save_picture(path, scene.rgb)
        image = store.add_image(project, path.name, path.read_bytes())
        if number < 6:
            masks = [MaskRecord.from_mask(encode(mask)) for mask in scene.masks]
            document = document_of(image, masks, source="imported", at=datetime.now(UTC))
            store.add_accepted(person, image.id, "manual", document, key=f"key-{number:05d}")
    assert {one.image.held_out for one in store.accepted(project)} == {True, False}
    yield store, project, person
    store.close()


def test_a_round_trains_measures_and_decides(painted: Any, weights: Path) -> None:
    store, project, person = painted
    result = run_round(store, project, QUICK, start=weights, user=person)
    report = result.report
    assert result.round.state == "closed" and result.round.number == 1
    assert report["held_out"]["images"] == sum(one.image.held_out for one in store.accepted(project))
    assert report["trained_on"]["images"] == 6 - report["held_out"]["images"]
    verdict = report["change"]["low"] > 0
    assert report["published"] is verdict is result.round.published
    first, made = store.models(project)
    assert first.fingerprint == load_model(weights).fingerprint != made.fingerprint
    assert store.current_model(project).id == (made.id if verdict else first.id)
    assert ("published" in result.told) and (verdict or "not published" in result.told)
    assert [path.name for path in result.figures][:1] == ["one_click_miou.png"]
    changed = load_model(store.model_path(made)).model.state_dict()
    kept = load_model(weights).model.state_dict()
    moved = {name.split(".")[0] for name in kept if not torch.equal(kept[name], changed[name])}
    assert "mask_decoder" in moved and "image_encoder" not in moved


@pytest.mark.parametrize("better", [True, False])
def test_only_what_is_better_beyond_chance_goes_into_use(
    painted: Any, weights: Path, monkeypatch: pytest.MonkeyPatch, better: bool
) -> None:
    """The training is real; the new scores are moved, so that the decision is known."""
    from dataclasses import replace

    store, project, person = painted
    real = engine_round._rows

    def moved(path: Path, *rest: Any) -> Any:
        rows = real(path, *rest)
        if path.name != engine_round.AFTER:
            return rows
        up = 0.2 if better else 0.0
        return [replace(row, scores={name: value + up for name, value in row.scores.items()}) for row in rows]

    monkeypatch.setattr(engine_round, "_rows", moved)
    if not better:
        monkeypatch.setattr(RoundConfig, "training", lambda self, steps: _standing_still(self, steps))
    result = run_round(store, project, QUICK, start=weights, user=person)
    assert result.round.published is better
    assert store.current_model(project).name == ("round-1" if better else "toy")
    if better:
        assert store.rollback(project, user=person).name == "toy"


def test_few_images_decide_nothing(painted: Any, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    store, project, person = painted
    real = engine_round._rows

    def moved(path: Path, *rest: Any) -> Any:
        up = 0.5 if path.name == engine_round.AFTER else 0.0
        return [replace(row, scores={k: v + up for k, v in row.scores.items()}) for row in real(path, *rest)]

    monkeypatch.setattr(engine_round, "_rows", moved)
    result = run_round(store, project, replace(QUICK, least_images=50), start=weights, user=person)
    assert not result.round.published and "Too few images" in result.told


def _standing_still(config: RoundConfig, steps: int) -> Any:
    from dataclasses import replace

    from segany.recipes.finetune_config import FINETUNE

    base = FINETUNE["decoder"]
    batch = replace(base.batch, images=2, min_share=config.min_share)
    schedule = replace(base.schedule, steps=steps, warm_up=0, rate=1e-12)
    return replace(base, batch=batch, schedule=schedule, loop=replace(base.loop, look_every=steps + 1))


def test_an_interrupted_round_goes_on_with_its_snapshot(painted: Any, weights: Path) -> None:
    store, project, person = painted
    config = RoundConfig(steps=40, seconds=1.0, images=2, min_share=0.005, most_masks=2)

    def stop(status: Any) -> None:
        if status.step == 5 and status.steps > 5:
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        run_round(store, project, config, start=weights, user=person, told=stop)
    (going,) = store.rounds(project)
    assert going.state == "open"
    place = store.folder / "rounds" / f"{project}-0001"
    plan = json.loads((place / PLAN).read_text())
    extra = next(one for one in store.images(project) if one.id not in {a.image.id for a in store.accepted(project)})
    masks = [MaskRecord.from_mask(np.ones(extra.size_hw, bool))]
    store.add_accepted(
        person, extra.id, "manual", document_of(extra, masks, source="imported", at=going.opened), key="later-key"
    )
    result = run_round(store, project, config, start=weights, user=person)
    assert result.round.number == 1 and result.report["snapshot"] == going.snapshot
    assert result.report["steps"] == plan["steps"] >= 10
    assert sum(part["images"] for part in store.artefacts(project, "snapshot")[0].report.values()) == 6
    again = run_round(store, project, QUICK, user=person)
    assert again.round.number == 2 and again.report["snapshot"] != going.snapshot


def test_a_round_without_images_to_measure_on_is_refused(tmp_path: Path, weights: Path) -> None:
    store = open_store(tmp_path / "empty", create=True)
    project = store.create_project("empty").id
    with pytest.raises(DataError, match="Annotate"):
        run_round(store, project, QUICK, start=weights)
    assert store.rounds(project) == []
    store.close()


def test_the_sweep_counts_goes_on_and_adds_once(painted: Any, weights: Path) -> None:
    store, project, person = painted
    predictor = Predictor.from_pretrained(weights)
    knobs = {"points_per_side": 3, "crop_n_layers": 0, "min_mask_region_area": 5}
    loose = {**knobs, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "max_area_share": 0.0}
    config = sweep_config(predictor, "sa1b", loose)
    asked: list[int] = []

    def after_two() -> bool:
        asked.append(1)
        return len(list((store.folder / "auto").rglob("filters/*.json"))) >= 2

    with pytest.raises(Cancelled):
        run_auto(store, project, person, predictor, config, cancelled=after_two)
    result = run_auto(store, project, person, predictor, config)
    assert result.images == 4 and result.made < 4
    assert result.filters[CANDIDATES] == 4 * 9 * 3
    assert result.filters[CANDIDATES] == result.filters[MASKS] + sum(result.filters[name] for name in FILTERS)
    done = list(store.accepted(project, ("auto",)))
    assert len(done) == 4 and {one.document.kind for one in done} == {"automatic"}
    assert sum(one.document.masks for one in done) == result.masks
    assert run_auto(store, project, person, predictor, config).made == 0
    assert [len(store.documents(one.document.task)) for one in done if one.document.task] == [1] * 4


def test_where_the_knobs_come_from(painted: Any, weights: Path) -> None:
    store, project, _ = painted
    predictor = Predictor.from_pretrained(weights)
    assert sweep_config(predictor, "sa1b").crop_n_layers == 2
    assert sweep_config(predictor, "reference") == sweep_config(predictor, "weights") == SweepConfig()
    with pytest.raises(OptionError):
        sweep_config(predictor, "sa1b", {"clicks": 3})
    with pytest.raises(DataError, match="there are none"):
        sweep_config(predictor, "project")
    from segany.engine.moving import AcceptedSamples

    samples = AcceptedSamples(store, project)
    given = {"points_per_side": 4, "crop_n_layers": 0}
    config = sweep_config(predictor, "project", {**given, "stability_score_thresh": 0.3}, samples=samples)
    assert config.stability_score_thresh == 0.3 and config.points_per_side == 4
    found = thresholds_of(predictor, sweep_config(predictor, "sa1b", given), samples)
    assert set(found) <= {"pred_iou_thresh", "stability_score_thresh", "mask_nms_thresh"}


def test_thresholds_count_what_is_left_after_suppression() -> None:
    """Three look-alikes that meet the same object are one mask kept and one object met, not three hits."""
    swept = _Swept(
        iou=np.array([0.9, 0.8, 0.7, 0.6]),
        stability=np.array([0.9, 0.9, 0.9, 0.4]),
        overlaps=np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], bool),
        meets=np.array([[1, 0], [1, 0], [1, 0], [0, 0]], bool),
    )
    assert swept.kept(0.0, 0.0) == (2, 1, 1, 2)
    assert swept.kept(0.0, 0.5) == (1, 1, 1, 2)
    assert swept.kept(0.95, 0.0) == (0, 0, 0, 2)
