"""Every route and every role, on both databases: who gets what. A new route without a line here fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from segany.service import Settings, create_app

from .conftest import PASSWORD, Place, document, key, photo

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

NOBODY, ANNOTATOR, REVIEWER, ADMIN = range(4)
ASKERS = (None, "ann", "rev", "root")
V1 = "/api/v1"
LEAST: dict[str, int] = {
    f"GET {V1}/health": NOBODY,
    "GET /metrics": NOBODY,
    f"POST {V1}/session": NOBODY,
    f"GET {V1}/session": ANNOTATOR,
    f"DELETE {V1}/session": ANNOTATOR,
    f"POST {V1}/session/token": ANNOTATOR,
    f"GET {V1}/session/tokens": ANNOTATOR,
    f"DELETE {V1}/session/tokens/{{token}}": ANNOTATOR,
    f"GET {V1}/models": ANNOTATOR,
    f"GET {V1}/models/{{name}}": ANNOTATOR,
    f"GET {V1}/models/{{name}}/onnx/{{file}}": ANNOTATOR,
    f"POST {V1}/images": ANNOTATOR,
    f"GET {V1}/images/{{key}}": ANNOTATOR,
    f"DELETE {V1}/images/{{key}}": ANNOTATOR,
    f"GET {V1}/images/{{key}}/embedding": ANNOTATOR,
    f"POST {V1}/images/{{key}}/masks": ANNOTATOR,
    f"POST {V1}/jobs": ANNOTATOR,
    f"GET {V1}/jobs": ANNOTATOR,
    f"GET {V1}/jobs/{{id}}": ANNOTATOR,
    f"DELETE {V1}/jobs/{{id}}": ANNOTATOR,
    f"GET {V1}/jobs/{{id}}/records": ANNOTATOR,
    f"GET {V1}/jobs/{{id}}/events": ANNOTATOR,
    f"POST {V1}/export": ANNOTATOR,
    f"GET {V1}/projects": ANNOTATOR,
    f"GET {V1}/projects/{{project}}/queue": ANNOTATOR,
    f"POST {V1}/projects/{{project}}/claim": ANNOTATOR,
    f"GET {V1}/engine/images/{{image}}/photo": ANNOTATOR,
    f"POST {V1}/tasks/{{task}}/heartbeat": ANNOTATOR,
    f"POST {V1}/tasks/{{task}}/release": ANNOTATOR,
    f"POST {V1}/tasks/{{task}}/submit": ANNOTATOR,
    f"POST {V1}/tasks/{{task}}/skip": ANNOTATOR,
    f"POST {V1}/projects/{{project}}/reviews/claim": REVIEWER,
    f"POST {V1}/tasks/{{task}}/review": REVIEWER,
    f"GET {V1}/projects/{{project}}/clearing": REVIEWER,
    f"POST {V1}/engine/images/{{image}}/regions": REVIEWER,
    f"DELETE {V1}/engine/regions/{{region}}": REVIEWER,
    f"POST {V1}/engine/images/{{image}}/clear": REVIEWER,
    f"GET {V1}/projects/{{project}}/stats": REVIEWER,
    f"GET {V1}/projects/{{project}}/plots/{{name}}.png": REVIEWER,
    f"GET {V1}/projects/{{project}}/rounds": REVIEWER,
    f"GET {V1}/projects/{{project}}/models": REVIEWER,
    f"POST {V1}/tasks/{{task}}/reopen": ADMIN,
    f"POST {V1}/projects/{{project}}/images": ADMIN,
    f"POST {V1}/projects/{{project}}/models/{{model}}/publish": ADMIN,
    f"POST {V1}/projects/{{project}}/models/rollback": ADMIN,
    f"GET {V1}/projects/{{project}}/people": ADMIN,
    f"POST {V1}/projects/{{project}}/people": ADMIN,
    f"PATCH {V1}/people/{{user}}": ADMIN,
    f"GET {V1}/people/{{user}}/tokens": ADMIN,
    f"DELETE {V1}/people/{{user}}/tokens/{{token}}": ADMIN,
}
"""The lowest role that each route takes."""

KEY, JOB, LEASE = "0" * 64, "0" * 32, "nobodys-lease"
PARTS = {"project": 1, "task": 1, "image": 1, "region": 1, "model": 1, "user": 9, "token": 99, "id": JOB, "name": "toy"}
WRITE = {"lease": LEASE, "key": "client-key", "reason": "why"}
OUTLINE = [[1, 1], [9, 1], [9, 9]]
PROMPTS: dict[str, Any] = {"prompts": [{"points": [[5, 5]], "labels": [1]}]}
BODIES: dict[str, Any] = {
    "/session": {"name": "ann", "password": PASSWORD},
    "/session/token": {},
    "/images/{key}/masks": PROMPTS,
    "/jobs": {"kind": "everything", "image": KEY},
    "/export": {"documents": [{}], "format": "coco"},
    "/projects/{project}/claim": {},
    "/tasks/{task}/heartbeat": {"lease": LEASE},
    "/tasks/{task}/release": {"lease": LEASE},
    "/tasks/{task}/submit": {"lease": LEASE, "key": "client-key", "document": {}},
    "/tasks/{task}/skip": WRITE,
    "/tasks/{task}/review": {**WRITE, "verdict": "accept"},
    "/tasks/{task}/reopen": {},
    "/engine/images/{image}/regions": {"kind": "face", "outline": OUTLINE},
    "/engine/images/{image}/clear": {"verdict": "cleared"},
    "/projects/{project}/people": {"name": "eve", "password": "battery staple", "role": "annotator"},
    "/people/{user}": {},
}
OWN_ANSWER = {
    "DELETE /images/{key}": 404,
    "DELETE /jobs/{id}": 404,
    "DELETE /engine/regions/{region}": 404,
    "DELETE /people/{user}/tokens/{token}": 404,
    "DELETE /session": 204,
    "DELETE /session/tokens/{token}": 404,
    "GET /images/{key}": 404,
    "GET /images/{key}/embedding": 404,
    "GET /jobs/{id}": 404,
    "GET /jobs/{id}/events": 404,
    "GET /jobs/{id}/records": 404,
    "GET /models/{name}/onnx/{file}": 404,
    "GET /people/{user}/tokens": 404,
    "GET /projects/{project}/plots/{name}.png": 404,
    "PATCH /people/{user}": 404,
    "POST /engine/images/{image}/clear": 409,
    "POST /export": 422,
    "POST /images": 415,
    "POST /images/{key}/masks": 404,
    "POST /jobs": 404,
    "POST /projects/{project}/images": 415,
    "POST /projects/{project}/models/rollback": 409,
    "POST /projects/{project}/models/{model}/publish": 404,
    "POST /projects/{project}/people": 201,
    "POST /projects/{project}/reviews/claim": 204,
    "POST /tasks/{task}/heartbeat": 404,
    "POST /tasks/{task}/release": 404,
    "POST /tasks/{task}/reopen": 409,
    "POST /tasks/{task}/review": 409,
    "POST /tasks/{task}/skip": 404,
    "POST /tasks/{task}/submit": 404,
}
"""What those who may get for the request above, where it is not 200: mostly that there is no such thing."""
NOT_THEIRS = {f"POST /tasks/{{task}}/{verb}" for verb in ("heartbeat", "skip")}
"""Reviewers know of every task, so that a wrong lease is all that is wrong for them."""


def routes_of(app: Any) -> Iterator[tuple[str, str]]:
    """Method and path of everything an app serves but the page and its own description."""
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            yield method.upper(), path
    for included in app.routes:
        router = getattr(included, "original_router", None)
        for route in router.routes if router is not None else ():
            if not route.include_in_schema:
                yield from ((method, route.path) for method in route.methods)


def never() -> Any:
    raise AssertionError("the description needs no model")


ROUTES = sorted(
    set(routes_of(create_app(Settings(), loaders={"toy": never}, describe_all=True))) | {("GET", "/metrics")}
)


@pytest.fixture(scope="module")
def place(address_for_all: str, toy_predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ExitStack() as stack:
        made = Place(tmp_path_factory.mktemp("matrix"), address_for_all, toy_predictor, stack).fill(images=4).serve()
        assert made.as_("bob").claim(made.project)["task"] == PARTS["task"], "none of those who ask below"
        yield made


def test_every_route_has_its_line() -> None:
    assert sorted(f"{method} {path}" for method, path in ROUTES) == sorted(LEAST)
    assert set(OWN_ANSWER) <= {line.replace(V1, "") for line in LEAST}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_who_gets_what(place: Place, method: str, path: str) -> None:
    short = path.removeprefix(V1)
    line, least = f"{method} {short}", LEAST[f"{method} {path}"]
    address = short.format(**{**PARTS, "key": KEY, "file": "manifest.jsn"})
    if "plots" in path:
        address = address.replace("toy", "rounds-one_click_miou")
    if "onnx" in path:
        address = address.replace("toy", "another")
    for rank, name in enumerate(ASKERS):
        if line == "DELETE /session" and name is not None:
            place.tokens[name] = place.store.issue_token(place.users[name], seconds=60).secret
        asker = place.as_(name)
        place.client.cookies.clear()
        more = {"files": {"file": ("a.txt", b"no photo")}} if short.endswith("/images") else {"json": BODIES.get(short)}
        if path == "/metrics":
            headers = {} if name is None else {"Authorization": f"Bearer {place.tokens[name]}"}
            answer = place.client.get(path, headers=headers)
        else:
            answer = asker(method, address, **(more if method in ("POST", "PATCH") else {}))
        expected = OWN_ANSWER.get(line, 200)
        if rank < least:
            expected = 401 if rank == NOBODY else 403
        elif rank > ANNOTATOR and line in NOT_THEIRS:
            expected = 409
        elif rank > ANNOTATOR and line == "POST /tasks/{task}/release":
            expected = 204
        elif rank > ANNOTATOR and line == "POST /tasks/{task}/submit":
            expected = 422
        assert answer.status_code == expected, (name, line, answer.text)
        if line == "DELETE /session" and name is not None:
            place.tokens[name] = place.store.issue_token(place.users[name], seconds=60).secret


GUESSES = [line for line in LEAST if "{" in line and not any(part in line for part in ("{name}", "{file}"))]


@pytest.mark.parametrize("line", GUESSES)
def test_guessed_ids_are_not_there(place: Place, line: str) -> None:
    """Whoever asks, even an admin: an id that nothing has."""
    method, path = line.split()
    short = path.removeprefix(V1)
    guess = dict.fromkeys(("project", "task", "image", "region", "model", "user", "token"), 4711)
    body = BODIES.get(short)
    if short == "/tasks/{task}/submit":
        body = {**WRITE, "document": document({"image_id": 1, "key": KEY, "width": 80, "height": 48, "file_name": "a"})}
        del body["reason"]
    if short == "/tasks/{task}/review":
        body = {**WRITE, "key": key(), "verdict": "reject"}
    more: dict[str, Any] = {"json": body} if method in ("POST", "PATCH") else {}
    if short.endswith("{project}/images"):
        more = {"files": {"file": ("a.png", photo(1))}}
    answer = place.as_("root")(method, short.format(**guess, key="1" * 64, id="1" * 32), **more)
    assert answer.status_code == 404, answer.text
    told = answer.json()["error"]
    assert told["code"] and "Traceback" not in told["message"]


def test_without_a_project_there_are_no_such_routes(toy_predictor: Predictor, tmp_path: Any) -> None:
    from starlette.testclient import TestClient

    app = create_app(Settings(data_dir=tmp_path, prepare=False, threads=1), loaders={"toy": lambda: toy_predictor})
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        assert client.get(f"{V1}/health").json()["project"] is False
        assert client.get(f"{V1}/models").status_code == 200
        for line in set(LEAST) - {f"{method} {path}" for method, path in routes_of(app)}:
            method, path = line.split()
            address = path.format(**PARTS, key=KEY, file="manifest.json")
            assert client.request(method, address, json={}).status_code in (404, 405), line
