"""The dashboard: numbers, plots, rounds, and which weights are in use."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path as FolderPath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response

from segany.core.errors import NotFoundError
from segany.engine.figures import ROUND_METRICS, people_figures, round_figures
from segany.engine.store.store import Store
from segany.engine.values import ModelVersion, Round
from segany.service.engine.access import AdminOf, EngineOf, ReviewerOf
from segany.service.engine.bodies import version_value
from segany.service.engine.dashboard import ModelVersionInfo, PublishBody, RoundInfo, StatsAnswer
from segany.service.engine.parts import EngineParts, Id
from segany.service.engine.weights import name_of
from segany.service.errors import ApiError
from segany.service.parts import PartsOf

router = APIRouter(tags=["numbers"])
ROUNDS, PEOPLE = "rounds-", "people-"
PEOPLE_PLOTS = ("throughput", "seconds_per_mask")
PlotName = Annotated[str, Path(pattern=r"^(rounds|people)-[a-z_]+$", max_length=60, examples=["rounds-one_click_miou"])]
Whose = Annotated[
    Literal["all", "people", "simulated"], Query(description="Whether simulated people's documents count.")
]
COUNTED = {"all": None, "people": False, "simulated": True}


@router.get("/projects/{project}/stats")
async def stats(engine: EngineOf, person: ReviewerOf, project: Id, who: Whose = "all") -> StatsAnswer:
    """Progress, effort per mask, agreement, known answers, everybody's work, days, rounds, the weights in use."""
    store = engine.store

    def ask() -> dict[str, Any]:
        numbers = store.stats(project, simulated=COUNTED[who]).to_json()
        rounds = store.rounds(project)
        return {
            **numbers,
            "rounds": [round_value(one) for one in rounds],
            "model": version_value(store.current_model(project)),
            "plots": plot_names(rounds, numbers),
        }

    return StatsAnswer.model_validate(await engine.ask(ask))


@router.get(
    "/projects/{project}/plots/{name}.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
async def plot(parts: PartsOf, engine: EngineOf, person: ReviewerOf, project: Id, name: PlotName) -> Response:
    """A plot; `GET /projects/{project}/stats` names those that there are."""
    picture = await parts.exporter.run(draw, engine.store, project, name)
    return Response(picture, media_type="image/png")


@router.get("/projects/{project}/rounds")
async def list_rounds(engine: EngineOf, person: ReviewerOf, project: Id) -> list[RoundInfo]:
    """All rounds, the first first."""
    store = engine.store

    def ask() -> list[dict[str, Any]]:
        store.project(project)
        return [round_value(one) for one in store.rounds(project)]

    return [RoundInfo.model_validate(value) for value in await engine.ask(ask)]


@router.get("/projects/{project}/models")
async def list_versions(engine: EngineOf, person: ReviewerOf, project: Id) -> list[ModelVersionInfo]:
    """All weights of a project, in the order they came."""
    store = engine.store

    def ask() -> list[dict[str, Any]]:
        store.project(project)
        current = store.current_model(project)
        return [model_value(one, current) for one in store.models(project)]

    return [ModelVersionInfo.model_validate(value) for value in await engine.ask(ask)]


@router.post("/projects/{project}/models/{model}/publish")
async def publish(
    engine: EngineOf, person: AdminOf, project: Id, model: Id, body: PublishBody | None = None
) -> ModelVersionInfo:
    """Put weights into use; the service takes them at once."""
    store, reason = engine.store, "" if body is None else body.reason

    def put() -> ModelVersion:
        if store.model(model).project != project:
            raise NotFoundError(f"there must be a model of this number in the project; there is no model {model}.")
        return store.publish_model(model, user=person.user.id, reason=reason)

    return await now_current(engine, await engine.ask(put))


@router.post("/projects/{project}/models/rollback")
async def roll_back(
    engine: EngineOf, person: AdminOf, project: Id, body: PublishBody | None = None
) -> ModelVersionInfo:
    """Back to the weights that were in use before."""
    reason = "" if body is None else body.reason
    before = await engine.ask(engine.store.rollback, project, user=person.user.id, reason=reason)
    return await now_current(engine, before)


async def now_current(engine: EngineParts, version: ModelVersion) -> ModelVersionInfo:
    """The answer to a publication."""
    engine.weights.wake()
    return ModelVersionInfo.model_validate(model_value(version, version))


def draw(store: Store, project: int, name: str) -> bytes:
    """A plot as a PNG.

    Raises:
        ApiError: 404, there is no such plot (yet).
    """
    numbers, rounds = store.stats(project), store.rounds(project)
    if name in plot_names(rounds, numbers.to_json()):
        with tempfile.TemporaryDirectory() as folder:
            if name.startswith(ROUNDS):
                made = round_figures(rounds, FolderPath(folder), simulated=bool(numbers.simulated))
            else:
                made = people_figures(numbers, FolderPath(folder))
            for path in made:
                if path.stem == name.partition("-")[2]:
                    return path.read_bytes()
    raise ApiError(404, "plot_unknown", "expected a plot that /stats names; got another, or one without data yet.")


def plot_names(rounds: list[Round], numbers: dict[str, Any]) -> list[str]:
    """Plots that there is something to show in."""
    measured = {name for one in rounds for name, value in one.metrics.items() if isinstance(value, int | float)}
    found = [f"{ROUNDS}{name}" for name in ROUND_METRICS if name in measured]
    if numbers["days"]:
        found.append(f"{PEOPLE}{PEOPLE_PLOTS[0]}")
    if any(one["work"]["seconds_per_mask"] is not None for one in numbers["people"]):
        found.append(f"{PEOPLE}{PEOPLE_PLOTS[1]}")
    return found


def round_value(one: Round) -> dict[str, Any]:
    """Fields of a `RoundInfo`."""
    value = asdict(one)
    del value["project"]
    return value


def model_value(version: ModelVersion, current: ModelVersion | None) -> dict[str, Any]:
    """Fields of a `ModelVersionInfo`."""
    return {
        "id": version.id,
        "name": name_of(version),
        "label": version.name,
        "fingerprint": version.fingerprint,
        "metrics": dict(version.metrics),
        "created": version.created,
        "current": current is not None and current.id == version.id,
    }
