"""Logging in and out, and tokens for programs of one's own."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from segany.core.errors import AccessError
from segany.service.engine.access import COOKIE, AnnotatorOf, EngineOf, csrf_of
from segany.service.engine.bodies import person_value, token_values
from segany.service.engine.parts import Id
from segany.service.engine.schemas import Login, SessionInfo, TokenAnswer, TokenListed, TokenRequest
from segany.service.errors import ApiError
from segany.service.parts import PartsOf

router = APIRouter(prefix="/session", tags=["session"])
DAY_S = 86400.0


async def is_encrypted(request: Request) -> bool:
    """Whether the page came over TLS, also through a proxy: its own Origin says so."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")


@router.post("")
async def log_in(
    parts: PartsOf,
    engine: EngineOf,
    request: Request,
    response: Response,
    body: Login,
    encrypted: Annotated[bool, Depends(is_encrypted)],
) -> SessionInfo:
    """Log in: the answer sets a cookie, and tells what every write with it must show in the header X-Segany-CSRF."""
    name, address = body.name.strip(), request.client.host if request.client else ""
    engine.tries.count(name, address)
    try:
        user = await engine.logins.run(engine.store.authenticate, name, body.password)
    except AccessError as error:
        raise ApiError(401, "login", str(error)) from None
    engine.tries.forgive(name, address)
    seconds = parts.settings.session_s
    issued = await engine.ask(engine.store.issue_token, user.id, seconds=seconds, label="session")
    response.set_cookie(
        COOKIE, issued.secret, max_age=int(seconds), httponly=True, samesite="strict", secure=encrypted, path="/"
    )
    return SessionInfo.model_validate({"person": person_value(user), "csrf": csrf_of(issued.secret)})


@router.get("")
async def who_am_i(person: AnnotatorOf) -> SessionInfo:
    """Who is logged in."""
    return SessionInfo.model_validate({"person": person_value(person.user), "csrf": person.csrf})


@router.delete("", status_code=204)
async def log_out(engine: EngineOf, person: AnnotatorOf) -> Response:
    """Log out: the cookie or token that the request showed is good for nothing from now on."""
    await engine.ask(engine.store.revoke_token, person.secret)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


@router.post("/token")
async def make_token(engine: EngineOf, person: AnnotatorOf, body: TokenRequest) -> TokenAnswer:
    """A token of one's own for a program, for the header `Authorization: Bearer …`; it is told this once."""
    issue = engine.store.issue_token
    issued = await engine.ask(issue, person.user.id, seconds=body.days * DAY_S, label=body.label or "token")
    told: dict[str, Any] = {"token": issued.secret, "expires": issued.expires}
    return TokenAnswer.model_validate(told)


@router.get("/tokens")
async def list_tokens(engine: EngineOf, person: AnnotatorOf) -> list[TokenListed]:
    """One's own logins and tokens that are still good, newest first; their secrets were told once and are not kept."""
    tokens = await engine.ask(engine.store.tokens, person.user.id, secret=person.secret)
    return [TokenListed.model_validate(value) for value in token_values(tokens)]


@router.delete("/tokens/{token}", status_code=204)
async def end_token(engine: EngineOf, person: AnnotatorOf, token: Id) -> Response:
    """One of one's own logins or tokens is good for nothing from now on."""
    await engine.ask(engine.store.end_token, person.user.id, token)
    return Response(status_code=204)
