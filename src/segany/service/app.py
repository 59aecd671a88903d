"""The application: parts made, routes joined, guarded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from segany import __version__
from segany.core.errors import OptionError
from segany.service import errors
from segany.service.assembly import close_parts, follow, make_parts, prepare
from segany.service.auth import Authenticator, TokenAuth
from segany.service.guard import Guard
from segany.service.metrics import Metrics
from segany.service.models import Loader, loaders_of
from segany.service.page import add_page
from segany.service.parts import Parts
from segany.service.routes import export, health, images, jobs, masks, models
from segany.service.runner import SourceOf
from segany.service.schemas import ErrorBody, ExportRequest
from segany.service.settings import Settings

if TYPE_CHECKING:
    from segany.engine.store.store import Store

PREFIX = "/api/v1"
ABOUT = "Photos and prompts in, masks out. Everything is uploaded; nothing is fetched from addresses."
MEANINGS = {
    400: "The request cannot be read.",
    401: "The token is missing or wrong.",
    403: "Another page's request, or a foreign Host.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "It is not in the state for this.",
    413: "The body is too large.",
    415: "Another kind of content.",
    422: "A value cannot be used.",
    429: "Too many requests; see Retry-After.",
    503: "A queue is full; see Retry-After.",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text} for status, text in MEANINGS.items()
}

SCHEMES = {
    "token": {"type": "http", "scheme": "bearer"},
    "session": {"type": "apiKey", "in": "cookie", "name": "segany_session"},
}


def create_app(
    settings: Settings,
    *,
    loaders: Mapping[str, Loader] | None = None,
    source_of: SourceOf | None = None,
    authenticate: Authenticator | None = None,
    project: Store | None = None,
    describe_all: bool = False,
) -> FastAPI:
    """The service as an ASGI application. Its threads start with its lifespan and end with it.

    Args:
        settings: every knob.
        loaders: what makes each predictor, by name; those of `settings.models` when left out.
        source_of: what makes the masks of jobs; the automatic generator when left out.
        authenticate: finds out who asks; one token for everybody when left out, people with accounts in a project.
        project: a data engine's store, whose people log in and work; the caller closes it.
        describe_all: have the data engine's routes even without a project, to describe them.

    Raises:
        OptionError: models without usable names; a store without `settings.accounts`, or these without a store.
    """
    if settings.accounts != (project is not None):
        raise OptionError("accounts must be on with a project, and off without one; set Settings.accounts.")
    named = dict(loaders) if loaders is not None else loaders_of(settings)
    metrics = Metrics()

    app = FastAPI(
        title="segany",
        summary="Segment anything over HTTP.",
        description=ABOUT,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        lifespan=lifespan_of(lambda: make_parts(settings, named, source_of, metrics, project)),
        form_limits={"max_files": 1, "max_fields": 8},
        separate_input_output_schemas=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.is_stopping = lambda: False
    app.state.read_by_hand = (ExportRequest,)
    errors.add_handlers(app)
    for module in (health, models, images, masks, jobs, export):
        app.include_router(module.router, prefix=PREFIX, responses=ERRORS)
    if project is not None or describe_all:
        add_engine(app)
    app.include_router(health.metrics_router)
    add_page(app)
    app.openapi = schema_of(app)  # type: ignore[method-assign]
    if authenticate is None:
        authenticate = TokenAuth(settings.token) if project is None else people_auth(settings)
    app.add_middleware(Guard, settings=settings, authenticate=authenticate, metrics=metrics)
    return app


def lifespan_of(make: Callable[[], Parts]) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Parts that live as long as their app."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        made = make()
        app.state.parts = made
        follow(made)
        made.runner.start()
        preparing = asyncio.create_task(prepare(made)) if made.settings.prepare else None
        try:
            yield
        finally:
            if preparing is not None:
                preparing.cancel()
            await asyncio.to_thread(close_parts, made)

    return lifespan


def add_engine(app: FastAPI) -> None:
    """The data engine's routes."""
    from segany.service.engine.assembly import READ_BY_HAND, ROUTERS

    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX, responses=ERRORS)
    app.state.read_by_hand = (*app.state.read_by_hand, *READ_BY_HAND)


def people_auth(settings: Settings) -> Authenticator:
    """Logins and tokens of people with accounts."""
    from segany.service.engine.access import PeopleAuth

    return PeopleAuth(settings)


def schema_of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """The OpenAPI description, with what a route reads by itself, and the ways to bring a token."""

    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
            )
            parts = made["components"]
            for model in app.state.read_by_hand:
                schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
                parts["schemas"] |= schema.pop("$defs", {})
                parts["schemas"][model.__name__] = schema
            parts["securitySchemes"] = SCHEMES
            made["security"] = [{}, *({name: []} for name in SCHEMES)]
            app.openapi_schema = made
        return app.openapi_schema

    return schema
