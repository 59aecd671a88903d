"""The description of the API is true: requests made from it meet no fault of the service and no undescribed answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance, use_after_free

from segany.records.record import MaskRecord
from segany.service import Settings, create_app

from .conftest import png

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

NOT_FROM_TYPES = [positive_data_acceptance, use_after_free]
"""A well-formed click can still lie outside the photo, and a key can belong to no photo: types cannot tell."""


@dataclass(frozen=True)
class Live:
    """A service on a port, with a photo and a finished job in it."""

    url: str
    key: str
    job: str


def one_mask(rgb: Any, *, progress: Any = None, cancelled: Any = None) -> list[MaskRecord]:
    progress(1, 1)
    return [MaskRecord.from_mask(np.ones(rgb.shape[:2], np.bool_))]


@pytest.fixture(scope="module")
def live(toy_predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    chosen = Settings(data_dir=folder, threads=1, prepare=False, rate_per_s=0, keep_alive_s=0.2)
    app = create_app(chosen, loaders={"toy": lambda: toy_predictor}, source_of=lambda model, knobs: one_mask)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, ws="none", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    photo = png(np.random.default_rng(1).integers(0, 255, (48, 80, 3), dtype=np.uint8))
    key = httpx2.post(f"{url}/api/v1/images", files={"file": ("a.png", photo)}).json()["key"]
    job = httpx2.post(f"{url}/api/v1/jobs", json={"kind": "everything", "image": key}).json()["id"]
    while httpx2.get(f"{url}/api/v1/jobs/{job}").json()["status"] != "done":
        time.sleep(0.02)
    yield Live(url, key, job)
    server.should_exit = True
    thread.join(30)


def never() -> Any:
    raise AssertionError("the description needs no model")


schema = schemathesis.openapi.from_dict(create_app(Settings(), loaders={"toy": never}).openapi())


@schema.parametrize()
@settings(
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_no_fault_and_no_surprise(case: schemathesis.Case, live: Live) -> None:
    """Where an address needs a key or an id, half of the well-formed ones are made real."""
    if case.method != "DELETE":
        for name, real in (("key", live.key), ("id", live.job), ("name", "toy")):
            value = case.path_parameters.get(name)
            if isinstance(value, str) and len(value) == len(real) and value[-1] in "01234567":
                case.path_parameters[name] = real
    case.call_and_validate(base_url=live.url, excluded_checks=NOT_FROM_TYPES, timeout=30)


def test_every_route_is_described_with_its_errors(live: Live) -> None:
    described = httpx2.get(f"{live.url}/api/v1/openapi.json").json()
    operations = [operation for path in described["paths"].values() for operation in path.values()]
    assert len(operations) >= 14
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert operation["description"] and {"400", "401", "403", "422", "429", "503"} <= set(operation["responses"])
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
