"""What stands before every route: who may ask, from which page, how much, how fast; and what every answer carries.

It works on the bare connection, so that a request is turned away before its body is read.
"""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import structlog
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segany.core.errors import StoreUnavailableError
from segany.service.auth import COOKIE, Asker, Authenticator, TokenAuth
from segany.service.errors import AWAY, ApiError, shown
from segany.service.limits import LimitedBody, RateLimit
from segany.service.metrics import Metrics
from segany.service.settings import Settings

LOG = structlog.get_logger("segany.service.access")
API = "/api/"
OPEN_TO_ALL = ("/api/v1/health",)
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
QUIET = ("/api/v1/health", "/metrics")
"""Addresses that are asked all day long: their successes are not logged."""

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
}
API_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"


FAULT = ApiError(
    500,
    "internal",
    "expected the service to answer; it met a fault of its own. Try again; its log says what happened.",
)


class Guard:
    """ASGI middleware around the whole app.

    Args:
        app: what is guarded.
        settings: limits and names.
        authenticate: finds out who asks.
        metrics: times and refusals.
    """

    def __init__(self, app: ASGIApp, settings: Settings, authenticate: Authenticator, metrics: Metrics) -> None:
        self._app, self._settings, self._authenticate, self._metrics = app, settings, authenticate, metrics
        self._rate = RateLimit(settings.rate_per_s, settings.rate_burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008, "reason": "HTTP only"})
        answer = Answer(scope, send)
        try:
            answered = await self._refusal(HTTPConnection(scope), scope)
            if answered is not None:
                await answered(scope, receive, answer.send)
            else:
                await self._app(scope, LimitedBody(scope, receive, self._settings), answer.send)
        except ClientDisconnect:
            pass  # nobody is left to answer
        except Exception as error:
            LOG.error("unforeseen", path=shown(scope["path"]), kind=type(error).__name__, exc_info=error)
            if answer.status:
                raise
            await FAULT.response()(scope, receive, answer.send)
        finally:
            self._note(scope, answer)

    async def _refusal(self, connection: HTTPConnection, scope: Scope) -> Response | None:
        try:
            self._check_host(connection)
            self._rate.check(scope["client"][0] if scope.get("client") else "")
            path = scope["path"]
            if not path.startswith(API) and path != "/metrics":
                return self._welcome(connection, path)
            self._check_origin(connection)
            if path not in OPEN_TO_ALL:
                found = self._authenticate(connection)
                asker = found if isinstance(found, Asker) else await found
                scope.setdefault("state", {})["asker"] = asker
            return None
        except (ApiError, StoreUnavailableError) as fault:
            error = fault if isinstance(fault, ApiError) else AWAY
            self._metrics.refused.labels(error.code).inc()
            return error.response()

    def _welcome(self, connection: HTTPConnection, path: str) -> Response | None:
        """The token in the page's address becomes a cookie, and leaves the address."""
        given = parse_qs(connection.url.query).get("token", [])
        if path != "/" or not given or not isinstance(self._authenticate, TokenAuth):
            return None
        answer = RedirectResponse("/", 303, {"Cache-Control": "no-store"})
        if self._authenticate.is_right(given[0]):
            secure = connection.url.scheme == "https"
            answer.set_cookie(COOKIE, given[0], httponly=True, samesite="strict", secure=secure)
        return answer

    def _check_host(self, connection: HTTPConnection) -> None:
        """On a loopback address, only its own names: another one is a foreign page that rebound its name."""
        allowed = (*LOOPBACK_NAMES, self._settings.host.strip("[]").lower(), *self._settings.allowed_hosts)
        given = connection.headers.getlist("host")
        if self._settings.is_loopback and (len(given) != 1 or host_name(given[0]) not in allowed):
            raise ApiError(
                403,
                "host",
                f"expected this machine's own name ({', '.join(LOOPBACK_NAMES)}) as Host; "
                f"got {shown(', '.join(given))}. Open the address that `segany serve` printed, or allow the name with "
                "--allow-host.",
            )

    def _check_origin(self, connection: HTTPConnection) -> None:
        """Pages of other origins may not use this one's rights."""
        origin = connection.headers.get("origin")
        if origin is not None:
            host = connection.headers.get("host", "")
            if origin in self._settings.allowed_origins or origin in (f"http://{host}", f"https://{host}"):
                return
        elif connection.headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            return
        raise ApiError(
            403,
            "origin",
            f"expected a request of this service's own page; got one of "
            f"{shown(origin or 'another site')}. Use the page itself, or allow the other one with --allow-origin.",
        )

    def _note(self, scope: Scope, answer: Answer) -> None:
        seconds = time.perf_counter() - answer.began
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(route, answer.method, str(answer.status)).observe(seconds)
        if answer.status >= 400 or scope["path"] not in QUIET:
            LOG.info(
                "request",
                method=answer.method,
                path=shown(scope["path"])[1:-1],
                status=answer.status,
                ms=round(seconds * 1000, 1),
                client=scope["client"][0] if scope.get("client") else None,
            )


class Answer:
    """Watches an answer go out, and adds what every answer carries."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.began = time.perf_counter()
        self.status = 0
        """0 when the client went before an answer began."""
        self.method = scope["method"] if scope["method"] in METHODS else "other"
        self._is_api = scope["path"].startswith(API)
        self._send = send

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            there = {name.lower() for name, _ in headers}
            extra = dict(HEADERS)
            if self._is_api:
                extra |= {"content-security-policy": API_POLICY, "cache-control": "no-store"}
            if self.status in (408, 413):
                extra["connection"] = "close"  # the rest of the body is not wanted
            headers += [(n.encode(), v.encode()) for n, v in extra.items() if n.encode() not in there]
            message = {**message, "headers": headers}
        await self._send(message)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def host_name(host: str) -> str:
    """A Host header without its port, small; brackets of IPv6 go."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
