"""Who asks, when people have accounts: a login's cookie or a token of their own; and what their role allows."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, cast

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from segany.core.errors import AccessError
from segany.engine.config import ROLES, Role
from segany.engine.values import User
from segany.service.auth import Asker
from segany.service.engine.parts import EngineParts, engine_of
from segany.service.errors import ApiError
from segany.service.settings import Settings

COOKIE = "segany_session"
CSRF_HEADER = "x-segany-csrf"
LOGIN = "/api/v1/session"
LONGEST_SECRET = 200
"""Characters; anything longer is no token and is not looked up."""
READS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Person(Asker):
    """Somebody who logged in."""

    user: User
    secret: str = field(repr=False)
    """Of the login or the token; what it is kept by, its hash, is the store's."""
    csrf: str | None = field(repr=False)
    """What writes must show beside the cookie; None for those who show the token itself."""

    @property
    def owner(self) -> int | None:
        """Their number in the store."""
        return self.user.id

    def may_see(self, owner: int | None) -> bool:
        """Their own; admins everybody's, and what was begun before there were accounts."""
        return self.user.role == "admin" or owner == self.user.id


@dataclass(frozen=True)
class PeopleAuth:
    """Finds the person of a cookie or a token.

    Args:
        settings: whether the numbers of `/metrics` are for everybody who reaches the address.
    """

    settings: Settings

    async def __call__(self, connection: HTTPConnection) -> Asker:
        """Who asks.

        Raises:
            ApiError: 401, nobody; 403, the cookie alone, without what another page cannot know.
        """
        method, path = connection.scope["method"], connection.scope["path"]
        if (method == "POST" and path == LOGIN) or (path == "/metrics" and not self.settings.needs_token):
            return Asker("nobody")
        secret, by_cookie = shown_secret(connection)
        if not secret or len(secret) > LONGEST_SECRET:
            raise nobody()
        engine = engine_of(connection.app.state.parts)
        try:
            user = await engine.ask(engine.store.check_token, secret)
        except AccessError:
            raise nobody() from None
        if path == "/metrics" and user.role != "admin":
            raise too_low("admin", user)
        csrf = csrf_of(secret) if by_cookie else None
        if csrf is not None and method not in READS:
            check_csrf(csrf, connection.headers.get(CSRF_HEADER, ""))
        return Person(user.name, user, secret, csrf)


def shown_secret(connection: HTTPConnection) -> tuple[str, bool]:
    """What a request shows, and whether it is the cookie; the header goes first."""
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    if scheme:
        return (given.strip() if scheme.lower() == "bearer" else ""), False
    return connection.cookies.get(COOKIE, ""), True


def csrf_of(secret: str) -> str:
    """What a login's own page knows and another page cannot."""
    return hmac.new(secret.encode("utf-8", "surrogatepass"), b"segany csrf", sha256).hexdigest()


def check_csrf(expected: str, given: str) -> None:
    """A write with the cookie comes from the page that logged in.

    Raises:
        ApiError: 403, it does not.
    """
    if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass")):
        raise ApiError(
            403,
            "csrf",
            f"expected the header X-Segany-CSRF with what GET {LOGIN} told; got none, or another. Ask for it anew.",
        )


def nobody() -> ApiError:
    """The answer to a request without a person."""
    return ApiError(
        401,
        "login",
        f"expected somebody who is logged in; got no valid cookie or token. Log in with POST {LOGIN}.",
        {"WWW-Authenticate": "Bearer"},
    )


def too_low(role: Role, user: User) -> ApiError:
    """The answer to somebody of a lower role."""
    return ApiError(403, "role", f"expected the role {role}; {user.name} is {user.role}. Ask an admin.")


def needs(role: Role) -> Callable[[Request], Person]:
    """A dependency: somebody of this role or a higher one."""

    def person(request: Request) -> Person:
        found = request.state.asker
        if not isinstance(found, Person):
            raise nobody()
        if ROLES.index(found.user.role) < ROLES.index(role):
            raise too_low(role, found.user)
        return found

    return person


def engine(request: Request) -> EngineParts:
    """The data engine, as a dependency."""
    return engine_of(cast(object, request.app.state.parts))


AnnotatorOf = Annotated[Person, Depends(needs("annotator"))]
ReviewerOf = Annotated[Person, Depends(needs("reviewer"))]
AdminOf = Annotated[Person, Depends(needs("admin"))]
EngineOf = Annotated[EngineParts, Depends(engine)]
