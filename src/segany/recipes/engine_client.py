"""A client of the data engine's HTTP API, for programs that annotate: the standard library alone, one per thread."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from segany.core.errors import EngineError, StoreUnavailableError

AGAIN_AFTER_S = 0.25
"""Pause before a call is tried again, doubled each time up to 2 s."""


class ServiceError(EngineError):
    """The service refused a call.

    Attributes:
        status: of the answer.
        code: what was wrong, for programs.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass
class EngineClient:
    """Calls the API as one person.

    Every call may be repeated, so a lost connection and a service that is starting are waited for.

    Args:
        url: of the service, for example "http://127.0.0.1:8000/".
        patience_s: seconds until a service that does not answer is given up.
    """

    url: str
    patience_s: float = 60.0
    _csrf: str | None = field(default=None, init=False)
    _cookie: str | None = field(default=None, init=False)
    _line: http.client.HTTPConnection | None = field(default=None, init=False)

    def log_in(self, name: str, password: str) -> dict[str, Any]:
        """Start a session; who it is."""
        answer: dict[str, Any] = self.post("/session", {"name": name, "password": password})
        self._csrf = answer["csrf"]
        person: dict[str, Any] = answer["person"]
        return person

    def get(self, path: str) -> Any:
        """The JSON of an answer; None when it is empty."""
        return self.call("GET", path, None)

    def post(self, path: str, body: Any = None) -> Any:
        """The JSON of an answer; None when it is empty."""
        return self.call("POST", path, {} if body is None else body)

    def call(self, method: str, path: str, body: Any) -> Any:
        """One call below /api/v1.

        Raises:
            ServiceError: the service refused it.
            StoreUnavailableError: the service did not answer in time.
        """
        headers = {"Content-Type": "application/json"} if body is not None else {}
        text = None if body is None else json.dumps(body)
        until, pause = time.monotonic() + self.patience_s, AGAIN_AFTER_S
        while True:
            try:
                status, raw = self._once(method, f"/api/v1{path}", text, headers)
                if status not in (429, 503):
                    break
                problem = f"status {status}"
            except (OSError, http.client.HTTPException) as error:
                self.close()
                problem = str(error) or type(error).__name__
            if time.monotonic() > until:
                raise StoreUnavailableError(
                    f"expected an answer of {self.url} within {self.patience_s:g} s; got none: {problem}. "
                    "Is the service running?"
                )
            time.sleep(pause)
            pause = min(2.0, 2 * pause)
        told = json.loads(raw) if raw else None
        if status >= 400:
            wrong = (told or {}).get("error", {})
            raise ServiceError(status, wrong.get("code", ""), wrong.get("message", f"status {status}"))
        return told

    def close(self) -> None:
        """Hang up; the next call dials again."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _once(self, method: str, path: str, text: str | None, headers: dict[str, str]) -> tuple[int, bytes]:
        if self._line is None:
            where = urlsplit(self.url)
            self._line = http.client.HTTPConnection(where.hostname or "127.0.0.1", where.port, timeout=self.patience_s)
        known = {"X-Segany-CSRF": self._csrf} if self._csrf else {}
        if self._cookie:
            known["Cookie"] = self._cookie
        self._line.request(method, path, body=text, headers={**headers, **known})
        answer = self._line.getresponse()
        raw = answer.read()
        if (given := answer.getheader("Set-Cookie")) is not None:
            self._cookie = given.split(";", 1)[0]
        return answer.status, raw
