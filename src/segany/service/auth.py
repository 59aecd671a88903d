"""Who asks: replaceable, so that accounts can take the place of one token.

An authenticator is called before a request's body is read. It returns who asks, or raises an `ApiError`; routes find
the answer with the dependency `segany.service.parts.asker`.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from starlette.requests import HTTPConnection

from segany.service.errors import ApiError

COOKIE = "segany_token"


@dataclass(frozen=True)
class Asker:
    """Who sent a request."""

    name: str
    """"local" without a token, "token" with one; accounts put their own name here."""

    @property
    def owner(self) -> int | None:
        """Whose is what they begin; None where nobody has an account."""
        return None

    def may_see(self, owner: int | None) -> bool:
        """Whether they are told of what somebody began."""
        return True


class Authenticator(Protocol):
    """Finds out who asks; one that has to wait for a database is a coroutine."""

    def __call__(self, connection: HTTPConnection) -> Asker | Awaitable[Asker]:
        """Who asks.

        Raises:
            ApiError: 401, nobody who may.
        """
        ...


@dataclass(frozen=True)
class TokenAuth:
    """One token for everybody, in the header `Authorization: Bearer …` or in a cookie; None lets everybody in."""

    token: str | None

    def __call__(self, connection: HTTPConnection) -> Asker:
        if self.token is None:
            return Asker("local")
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_right(given.strip()):
            return Asker("token")
        if self.is_right(connection.cookies.get(COOKIE, "")):
            return Asker("token")
        raise ApiError(
            401,
            "token",
            "expected this service's token; got none, or a wrong one. Send the header `Authorization: Bearer TOKEN`, "
            "or open the address that `segany serve` printed.",
            {"WWW-Authenticate": "Bearer"},
        )

    def is_right(self, given: str) -> bool:
        """Whether this is the token; takes as long for any wrong one."""
        if self.token is None:
            return False
        digests = [sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (given, self.token)]
        return hmac.compare_digest(*digests)
