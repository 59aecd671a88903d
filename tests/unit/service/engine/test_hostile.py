"""What people who mean no good send to the data engine's routes; databases differ in what breaks them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segany.core.errors import DataError
from segany.service.engine.projects import file_name

from .conftest import API, PASSWORD, Place, document, key

NUL, HALF = "a\0b", "\ud800"
"""What PostgreSQL cannot keep, and half a character."""


def raw(value: Any) -> bytes:
    """JSON as Python spells it, with what JSON does not have."""
    return json.dumps(value).encode()


def test_texts_that_a_database_cannot_keep(place: Place) -> None:
    place.fill().serve()
    root, ann, project = place.as_("root"), place.as_("ann"), place.project
    work = ann.claim(project)
    write = {"lease": work["lease"], "key": key()}
    json_type = {"content-type": "application/json"}
    for bad in (NUL, HALF, " ", ""):
        for path, body in (
            ("/session", {"name": bad, "password": PASSWORD}),
            (f"/projects/{project}/people", {"name": bad, "password": PASSWORD, "role": "annotator"}),
            (f"/tasks/{work['task']}/skip", {**write, "reason": bad}),
            (f"/tasks/{work['task']}/skip", {**write, "reason": "x", "key": bad}),
            (f"/tasks/{work['task']}/heartbeat", {"lease": bad}),
        ):
            asker = ann if "tasks" in path else root
            answer = asker("POST", path, content=raw(body), headers=json_type)
            assert answer.status_code == 422, (path, bad, answer.text)
    labelled = root("POST", "/session/token", content=raw({"label": NUL}), headers=json_type)
    reopened = root("POST", f"/tasks/{work['task']}/reopen", content=raw({"reason": NUL}), headers=json_type)
    assert (labelled.status_code, reopened.status_code) == (422, 422)
    for name in ("x" * 300 + ".png", "..", ".png/", "a.txt"):
        photo = {"file": (name, place.store.image_bytes(place.images[0]))}
        assert root("POST", f"/projects/{project}/images", files=photo).status_code == 422, name


@pytest.mark.parametrize("name", [NUL + ".png", "a\n.png", "", None, "/", "a\x1b[2J.png"])
def test_names_of_files_that_cannot_be_kept(name: str | None) -> None:
    with pytest.raises(DataError):
        file_name(name)


def changed(value: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    """A copy with one value exchanged."""
    copy: dict[str, Any] = json.loads(json.dumps(value))
    inner: Any = copy
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = to
    return copy


NESTED = b"[" * 3000 + b"]" * 3000

EDITS: list[tuple[tuple[Any, ...], Any]] = [
    (("image", "image_id"), 7),
    (("image", "width"), 10**9),
    (("image", "height"), -1),
    (("image", "sha256"), "0" * 64),
    (("image",), None),
    (("format",), "segany-annotation 9"),
    (("annotations",), {"0": 1}),
    (("annotations", 0, "segmentation", "size"), [10**9, 10**9]),
    (("annotations", 0, "segmentation", "counts"), "~" * 1000),
    (("annotations", 0, "area"), 10**400),
    (("annotations", 0, "predicted_iou"), float("nan")),
    (("annotations", 0, "predicted_iou"), 10**400),
    (("annotations", 0, "attributes"), {"deep": float("inf")}),
    (("annotations", 0, "interaction", "active_seconds"), 1e300),
    (("active_seconds",), 1e300),
    (("active_seconds",), -1),
    (("created",), "yesterday"),
    (("more",), float("nan")),
    (("more",), HALF),
]


@pytest.mark.parametrize("number", range(len(EDITS)))
def test_documents_that_are_none(place_with_work: tuple[Place, dict[str, Any]], number: int) -> None:
    place, work = place_with_work
    path, value = EDITS[number]
    body = {"lease": work["lease"], "key": key(), "document": changed(document(work["image"]), *path, to=value)}
    for verb, asker in (("submit", "ann"), ("review", "rev")):
        more = {} if verb == "submit" else {"verdict": "fix"}
        headers = {"content-type": "application/json"}
        address = f"/tasks/{work['task']}/{verb}"
        answer = place.as_(asker)("POST", address, content=raw({**body, **more}), headers=headers)
        assert answer.status_code == 422, (path, verb, answer.text)


@pytest.fixture(scope="module")
def place_with_work(address_for_all: str, tmp_path_factory: pytest.TempPathFactory, toy_predictor: Any) -> Any:
    from contextlib import ExitStack

    with ExitStack() as stack:
        place = Place(tmp_path_factory.mktemp("hostile"), address_for_all, toy_predictor, stack).fill().serve()
        yield place, place.as_("ann").claim(place.project)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[1, 2]", 422),
        (b'{"lease": "a", "key": "client-key", "document": ' + NESTED + b"}", 422),
        (b"\xff\xfe", 422),
        (b'{"lease": "a", "key": "client-key", "document": {}, "document": 7}', 422),
    ],
)
def test_bodies_that_are_none(place_with_work: tuple[Place, dict[str, Any]], content: bytes, status: int) -> None:
    place, work = place_with_work
    for verb, asker in (("submit", "ann"), ("review", "rev")):
        address, headers = f"/tasks/{work['task']}/{verb}", {"content-type": "application/json"}
        assert place.as_(asker)("POST", address, content=content, headers=headers).status_code == status
    text = place.as_("ann")("POST", f"/tasks/{work['task']}/submit", content=content)
    assert text.status_code == 415


def test_documents_may_be_larger_than_other_bodies_but_not_endless(here: Place) -> None:
    here.fill().serve(max_document_bytes=20_000, max_json_bytes=1000)
    ann = here.as_("ann")
    work = ann.claim(here.project)
    large = {**document(work["image"]), "notes": "x" * 10_000}
    assert ann("POST", "/jobs", json={"kind": "x" * 2000}).status_code == 413
    body = {"lease": work["lease"], "key": key(), "document": {**large, "notes": "x" * 30_000}}
    assert ann("POST", f"/tasks/{work['task']}/submit", json=body).status_code == 413
    body = {**body, "document": large}
    assert ann("POST", f"/tasks/{work['task']}/submit", json=body).status_code == 200


@pytest.mark.parametrize("number", ["0", "-1", "2147483648", "9" * 40, "1.5", "x", "1e3", "%00", "１"])
def test_numbers_that_are_none(place_with_work: tuple[Place, dict[str, Any]], number: str) -> None:
    place, _ = place_with_work
    for address in (f"/projects/{number}/stats", f"/engine/images/{number}/photo", f"/projects/{number}/queue"):
        assert place.as_("root")("GET", address).status_code in (404, 422), address
    for address in (f"/projects/{number}/claim", f"/tasks/{number}/heartbeat"):
        assert place.as_("root")("POST", address, json={"lease": "abc"}).status_code in (404, 422), address


def test_outlines_beyond_reason(place_with_work: tuple[Place, dict[str, Any]]) -> None:
    place, work = place_with_work
    address = f"{API}/engine/images/{work['image']['id']}/regions"
    headers = {"authorization": f"Bearer {place.tokens['rev']}", "content-type": "application/json"}
    for outline in ([[1, 1]] * 1001, [[1, 1]] * 2, [[1, 1, 1]] * 3, [[1, float("nan")]] * 3, [[1, 1e400]] * 3, "abc"):
        content = raw({"kind": "face", "outline": outline})
        assert place.client.post(address, content=content, headers=headers).status_code == 422


def test_a_database_that_went_away_is_told_as_such(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own words, which may hold a host's name, stay in the log."""
    from segany.core.errors import StoreUnavailableError

    here.fill().serve()

    def gone(*_: Any) -> Any:
        raise StoreUnavailableError("it says: could not connect to db.internal")

    for method in ("projects", "check_token"):
        monkeypatch.setattr(here.store, method, gone)
        answer = here.as_("ann")("GET", "/projects")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database")
        assert "internal" not in answer.text and answer.headers["retry-after"]
