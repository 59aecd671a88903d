"""What went wrong, as an answer: a status, a short code, and a sentence that says expected, got, what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from segany.core import errors as segany_errors

LOG = structlog.get_logger("segany.service")
SHOWN = 80
"""Characters of a wrong value that a message repeats."""

BY_KIND: tuple[tuple[type[segany_errors.SeganyError], int, str], ...] = (
    (segany_errors.PromptError, 422, "prompt"),
    (segany_errors.ImageError, 415, "image"),
    (segany_errors.EmbeddingError, 409, "embedding"),
    (segany_errors.CheckpointError, 404, "model_unavailable"),
    (segany_errors.MissingDependencyError, 404, "not_installed"),
    (segany_errors.NotAvailableError, 404, "not_available"),
    (segany_errors.InputError, 422, "invalid"),
    (segany_errors.NotFoundError, 404, "not_found"),
    (segany_errors.AccessError, 403, "role"),
    (segany_errors.LeaseError, 409, "lease"),
    (segany_errors.TransitionError, 409, "state"),
)
HINTS = {
    400: ("bad_request", "a request this service understands", "Send JSON, or multipart for a photo"),
    404: ("not_found", "an address this service has", "See /api/v1/openapi.json"),
    405: ("method", "a method this address has", "See /api/v1/openapi.json"),
}


class ApiError(HTTPException):
    """An answer other than the one that was asked for.

    Args:
        status: HTTP status.
        code: short, for programs.
        message: expected, got, what to do; for people.
        headers: sent along.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code
        self.message = message

    def response(self) -> JSONResponse:
        """The answer."""
        return error_response(self.status_code, self.code, self.message, self.headers)


AWAY = ApiError(
    503,
    "database",
    "the data engine's database must answer; it does not. Try again in 2 s: the same call may be made again.",
    {"Retry-After": "2"},
)


def busy(what: str, seconds: int = 1) -> ApiError:
    """The answer when a queue is full."""
    return ApiError(
        503,
        "busy",
        f"the service must have room in its queue; {what} is full. Try again in {seconds} s.",
        {"Retry-After": str(seconds)},
    )


def shown(value: Any) -> str:
    """A wrong value, short and printable."""
    text = ascii(value) if not isinstance(value, str) else ascii(value[: SHOWN + 1])
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def error_response(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The body every error has."""
    clean = message.encode("utf-8", "backslashreplace").decode("utf-8")
    return JSONResponse({"error": {"code": code, "message": clean}}, status, dict(headers or {}))


def add_handlers(app: FastAPI) -> None:
    """Turn every exception of a route into such an answer."""
    app.add_exception_handler(ApiError, _api)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(segany_errors.SeganyError, _segany)


async def _api(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return error.response()


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status, headers = error.status_code, dict(error.headers or {})
    if status in (404, 405):
        methods = methods_at(request.app.openapi()["paths"], request.url.path)
        if methods:  # the page, which stands behind every address, knows of none but its own
            status, headers["Allow"] = 405, ", ".join(methods)
    code, expected, advice = HINTS.get(status, ("http", "another request", "See /api/v1/openapi.json"))
    got = f"{request.method} {shown(request.url.path)} ({error.detail})"
    return error_response(status, code, f"expected {expected}; got {got}. {advice}.", headers)


def methods_at(described: Mapping[str, Any], path: str) -> list[str]:
    """Every method of an address; the router names only those of the route it met first."""
    found = {
        method.upper()
        for template, operations in described.items()
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
        for method in operations
    }
    return sorted(found)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return validation_answer(list(error.errors()))


def validation_answer(problems: list[Any]) -> JSONResponse:
    """The answer to a body or parameter that does not fit its description."""
    first = problems[0]
    where = ".".join(str(part) for part in first.get("loc", ())) or "body"
    more = f" ({len(problems) - 1} more like this)" if len(problems) > 1 else ""
    message = (
        f"expected at {shown(where)[1:-1]}: {first.get('msg', 'another value')}; "
        f"got {shown(first.get('input'))}{more}. Correct it and send it again; /api/v1/openapi.json describes every "
        "field."
    )
    return error_response(422, "invalid", message)


async def _segany(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, segany_errors.SeganyError)
    if isinstance(error, segany_errors.StoreUnavailableError):  # its own words may name the database's host
        LOG.error("database", reason=str(error))
        return AWAY.response()
    for kind, status, code in BY_KIND:
        if isinstance(error, kind):
            return error_response(status, code, str(error))
    raise error
