"""The description of the data engine's routes is true for every role: no fault of the service, no surprise."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance, use_after_free

from segany.service import Settings, create_app

from .conftest import Place, document, photo

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

NOT_FROM_TYPES = [positive_data_acceptance, use_after_free]
"""A well-formed number can belong to nothing, and a task be another's: types cannot tell."""
ASKERS = {"annotator": "ann", "reviewer": "rev", "admin": "root"}


class Live:
    """A service on a port, with work in every state."""

    def __init__(self, place: Place, url: str) -> None:
        self.place, self.url = place, url
        self.victim = place.store.add_user("victim", "correct horse", "annotator").id
        self.known = {"project": 1, "task": 1, "image": 1, "region": 1, "model": 1, "user": self.victim, "token": 1}

    def token(self, role: str) -> str:
        """A fresh one: some cases log out."""
        place = self.place
        return place.store.issue_token(place.users[ASKERS[role]], seconds=600).secret


@pytest.fixture(scope="module")
def live(
    request: pytest.FixtureRequest,
    toy_predictor: Predictor,
    tmp_path_factory: pytest.TempPathFactory,
    weights: Any,
) -> Iterator[Live]:
    """On SQLite unless the test says otherwise."""
    folder = tmp_path_factory.mktemp("described")
    on_server = getattr(request, "param", "sqlite") == "postgresql"
    address = request.getfixturevalue("new_postgres")() if on_server else f"sqlite:///{folder / 'engine.sqlite'}"
    with ExitStack() as stack:
        place = Place(folder, address, toy_predictor, stack).fill(images=4)
        store, project = place.store, place.project
        store.register_model(project, "round 1", weights[0], fingerprint="a" * 64)
        store.note_detections(1, "eyes", [("face", [(1.0, 1.0), (9.0, 1.0), (9.0, 9.0)], 0.5)])
        chosen = Settings(
            data_dir=folder / "data", threads=1, prepare=False, rate_per_s=0, keep_alive_s=0.2, accounts=True
        )
        app = create_app(
            chosen,
            loaders={"toy": lambda: toy_predictor},
            source_of=lambda model, knobs: lambda rgb, **_: [],
            project=store,
        )
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, ws="none"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        made = Live(place, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
        for name in ("ann", "bob"):
            headers = {"authorization": f"Bearer {place.tokens[name]}"}
            work = httpx2.post(f"{made.url}/api/v1/projects/1/claim", json={}, headers=headers).json()
            body = {"lease": work["lease"], "key": f"client-{name}", "document": document(work["image"])}
            httpx2.post(f"{made.url}/api/v1/tasks/{work['task']}/submit", json=body, headers=headers)
        yield made
        server.should_exit = True
        thread.join(30)


def never() -> Any:
    raise AssertionError("the description needs no model")


whole = schemathesis.openapi.from_dict(create_app(Settings(), loaders={"toy": never}, describe_all=True).openapi())
schema = whole.exclude(path_regex=r"/(onnx|export|events|masks|embedding|models/.name.)")
"""Without what takes long, and is the same without a project."""


@schema.parametrize()
@pytest.mark.parametrize("role", ASKERS)
@settings(
    max_examples=3,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_no_fault_and_no_surprise(case: schemathesis.Case, role: str, live: Live) -> None:
    ask(case, role, live)


kept = whole.include(method_regex="POST|PATCH", path_regex=r"/(session/token|tasks|people|regions|clear|claim|reviews)")
"""Texts and numbers that reach the tables: what differs between the databases."""


@kept.parametrize()
@pytest.mark.parametrize("live", ["postgresql"], indirect=True)
@settings(
    max_examples=4,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_the_other_database_keeps_what_the_description_lets_in(case: schemathesis.Case, live: Live) -> None:
    ask(case, "admin", live)


def ask(case: schemathesis.Case, role: str, live: Live) -> None:
    """Where an address needs a number, most are made real; nobody but one victim is locked out."""
    for name, real in live.known.items():
        value = case.path_parameters.get(name)
        if isinstance(value, int) and 1 <= value <= 2**31 - 1 and (value % 4 or name == "user"):
            case.path_parameters[name] = real
    headers = {"Authorization": f"Bearer {live.token(role)}"}
    case.call_and_validate(base_url=live.url, headers=headers, excluded_checks=NOT_FROM_TYPES, timeout=30)


def test_the_answers_were_not_all_refusals(live: Live) -> None:
    """What the cases above rely on: the tokens are good, and there is something behind the numbers."""
    reads = {"annotator": "projects/1/queue", "reviewer": "projects/1/stats", "admin": "projects/1/people"}
    for role, least in reads.items():
        headers = {"Authorization": f"Bearer {live.token(role)}"}
        assert httpx2.get(f"{live.url}/api/v1/{least}", headers=headers).status_code == 200
    assert httpx2.get(f"{live.url}/api/v1/images/{live.place.images[0].sha256}", headers=headers).content == photo(0)
