"""Weights that change while the service runs: taken soon, in flight undisturbed, old ones freed, and back again."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segany.modeling.checkpoints.load import load_model
from segany.predict.predictor import Predictor
from segany.records.record import MaskRecord

from .conftest import Place

PATIENCE_S = 30.0
PROMPTS: dict[str, Any] = {"prompts": [{"points": [[5, 5]], "labels": [1]}]}


def until(done: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


@pytest.fixture
def published(place: Place, weights: list[Path]) -> list[Any]:
    """Three versions of a project, none of them in use."""
    place.fill()
    made = []
    for number, path in enumerate(weights):
        fingerprint = load_model(path).fingerprint
        made.append(place.store.register_model(place.project, f"round {number}", path, fingerprint=fingerprint))
    return made


def used(place: Place) -> str:
    """Fingerprint of what answers a click without a model's name."""
    answer = place.as_("ann")("POST", f"/images/{place.images[0].sha256}/masks", json=PROMPTS)
    assert answer.status_code == 200, answer.text
    fingerprint: str = answer.json()["fingerprint"]
    return fingerprint


def test_published_weights_are_taken_and_given_up(place: Place, published: list[Any]) -> None:
    """As another process publishes them, through the store alone; then an admin over HTTP."""
    place.serve(model_poll_s=0.05)
    before, root = used(place), place.as_("root")
    assert before not in {one.fingerprint for one in published}
    assert place.as_("ann").claim(place.project)["model"] is None
    for version in published[:2]:
        place.store.publish_model(version.id)
        until(lambda version=version: used(place) == version.fingerprint)  # type: ignore[misc]
    told = place.as_("ann").claim(place.project)["model"]
    assert told == {"name": f"model-{published[1].id}", "label": "round 1", "fingerprint": published[1].fingerprint}
    place.store.rollback(place.project)
    until(lambda: used(place) == published[0].fingerprint)
    path = f"/projects/{place.project}/models"
    assert root("POST", f"{path}/{published[2].id}/publish", json={"reason": "better"}).json()["current"]
    until(lambda: used(place) == published[2].fingerprint)
    assert root("POST", f"{path}/rollback").json()["id"] == published[0].id
    until(lambda: used(place) == published[0].fingerprint)
    assert [one["current"] for one in root("GET", path).json()] == [True, False, False]


def test_a_publication_is_seen_within_two_seconds(place: Place, published: list[Any]) -> None:
    """With the usual settings: how often it looks, plus what loading takes."""
    place.serve()
    weights = place.client.app.state.parts.project.weights  # type: ignore[attr-defined]
    assert weights._poll_s <= 1.0
    place.store.publish_model(published[0].id)
    until(lambda: weights.current(place.project) is not None)
    assert used(place) == published[0].fingerprint


def test_a_restart_begins_with_the_weights_in_use(place: Place, published: list[Any]) -> None:
    place.store.publish_model(published[1].id)
    place.serve()
    assert used(place) == published[1].fingerprint
    listed = place.as_("ann")("GET", "/models").json()
    assert [(one["name"], one["default"]) for one in listed] == [(f"model-{published[1].id}", True), ("toy", False)]
    assert listed[0]["fingerprint"] == published[1].fingerprint and listed[0]["label"] == "round 1"
    assert place.as_("ann")("GET", "/models/current").json() == listed[0]


def test_a_version_that_is_named_stays_the_same(place: Place, published: list[Any]) -> None:
    """A page that decodes by itself must never meet the embedding of one model and the decoder of another."""
    place.store.publish_model(published[0].id)
    place.serve(model_poll_s=0.05)
    ann, image = place.as_("ann"), place.images[0].sha256
    name = ann("GET", "/models/current").json()["name"]
    first = ann("GET", f"/images/{image}/embedding?model={name}")
    place.store.publish_model(published[1].id)
    until(lambda: used(place) == published[1].fingerprint)
    again = ann("GET", f"/images/{image}/embedding?model={name}")
    assert again.content == first.content and again.headers["x-segany-fingerprint"] == published[0].fingerprint
    current = ann("GET", f"/images/{image}/embedding?model=current")
    assert current.headers["x-segany-fingerprint"] == published[1].fingerprint and current.content != first.content
    for unknown in ("model-4711", "model-0", "model-99999999999999"):
        assert ann("GET", f"/images/{image}/embedding?model={unknown}").status_code == 404


def test_what_is_in_flight_ends_on_the_old_ones_which_are_then_freed(place: Place, published: list[Any]) -> None:
    place.store.publish_model(published[0].id)
    begun, go_on = threading.Event(), threading.Event()
    held: list[Any] = []

    def source_of(model: str, knobs: dict[str, Any]) -> Any:
        predictor = place.client.app.state.parts.shelf.get(model)  # type: ignore[attr-defined]
        held.append(weakref.ref(predictor))

        def masks(rgb: Any, **_: Any) -> list[MaskRecord]:
            begun.set()
            assert go_on.wait(PATIENCE_S)
            score = float(int(predictor.fingerprint[:4], 16))
            return [MaskRecord.from_mask(np.ones(rgb.shape[:2], np.bool_), predicted_iou=score)]

        return masks

    place.serve(source_of=source_of, model_poll_s=0.05)
    ann = place.as_("ann")
    assert used(place) == published[0].fingerprint
    job = ann("POST", "/jobs", json={"kind": "everything", "image": place.images[0].sha256}).json()
    assert begun.wait(PATIENCE_S)
    place.store.publish_model(published[1].id)
    until(lambda: used(place) == published[1].fingerprint)
    assert held[0]() is not None, "the job still works with it"
    go_on.set()
    until(lambda: ann("GET", f"/jobs/{job['id']}").json()["status"] == "done")
    found = ann("GET", f"/jobs/{job['id']}/records").json()["annotations"][0]
    assert found["predicted_iou"] == float(int(published[0].fingerprint[:4], 16))

    def is_freed() -> bool:
        gc.collect()
        return held[0]() is None

    until(is_freed)


def test_weights_that_cannot_be_loaded_are_not_taken(place: Place, published: list[Any], tmp_path: Path) -> None:
    place.store.publish_model(published[0].id)
    place.serve(model_poll_s=0.05)
    assert used(place) == published[0].fingerprint
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    worse = place.store.register_model(place.project, "broken", broken, fingerprint="f" * 64)
    place.store.publish_model(worse.id)
    weights = place.client.app.state.parts.project.weights  # type: ignore[attr-defined]
    until(lambda: worse.id in weights._tried)
    assert used(place) == published[0].fingerprint
    place.store.publish_model(published[1].id)
    until(lambda: used(place) == published[1].fingerprint)


def test_every_photo_is_answered_by_its_own_project(place: Place, published: list[Any], weights: list[Path]) -> None:
    other = place.store.create_project("wood").id
    photo = place.store.add_image(other, "b.png", place.store.image_bytes(place.images[0]) + b"\0")
    fingerprint = Predictor.from_pretrained(weights[2], device="cpu").fingerprint
    place.store.publish_model(published[0].id)
    place.store.publish_model(place.store.register_model(other, "wood", weights[2], fingerprint=fingerprint).id)
    place.serve()
    answer = place.as_("ann")("POST", f"/images/{photo.sha256}/masks", json=PROMPTS)
    assert answer.json()["fingerprint"] == fingerprint
    assert used(place) == published[0].fingerprint


def test_a_job_that_outlives_a_restart_keeps_its_model(place: Place, published: list[Any]) -> None:
    place.store.publish_model(published[0].id)
    asked: list[str] = []

    def source_of(model: str, knobs: dict[str, Any]) -> Any:
        asked.append(place.client.app.state.parts.shelf.get(model).fingerprint)  # type: ignore[attr-defined]
        return lambda rgb, **_: []

    def never(model: str, knobs: dict[str, Any]) -> Any:
        def masks(rgb: Any, *, cancelled: Any, **_: Any) -> Any:
            from segany.core.errors import Cancelled

            until(cancelled)
            raise Cancelled

        return masks

    place.serve(source_of=never)
    body = {"kind": "everything", "image": place.images[0].sha256}
    job = place.as_("ann")("POST", "/jobs", json=body).json()
    assert job["model"] == f"model-{published[0].id}"
    place.stop()
    place.store.publish_model(published[1].id)
    place.serve(source_of=source_of)
    until(lambda: place.as_("ann")("GET", f"/jobs/{job['id']}").json()["status"] == "done")
    assert asked == [published[0].fingerprint]
