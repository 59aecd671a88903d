"""How much a client may send, and how fast or slow."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import OrderedDict

from starlette.types import Message, Receive, Scope

from segany.service.errors import ApiError, shown
from segany.service.settings import Settings

MOST_CLIENTS = 10_000
"""Addresses the rate limit remembers; the longest silent are forgotten."""
PROJECT_IMAGES = re.compile(r"/api/v1/projects/\d+/images")
HANDS_IN = re.compile(r"/api/v1/tasks/\d+/(submit|review)")
FORM_BYTES = 1 << 16
"""What multipart adds to a file."""


class RateLimit:
    """A bucket of requests per client address, refilled at a steady rate.

    Args:
        per_s: requests per second; 0 is off.
        burst: size of the bucket.
    """

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s, self._burst = per_s, float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, client: str) -> None:
        """Count one request.

        Raises:
            ApiError: 429, too many.
        """
        if not self._per_s:
            return
        now = time.monotonic()
        left, last = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - last) * self._per_s)
        self._buckets[client] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        if left < 1:
            seconds = math.ceil((1 - left) / self._per_s)
            raise ApiError(
                429,
                "rate",
                f"expected at most {self._per_s:g} requests per second from one address; got more. Try again in "
                f"{seconds} s.",
                {"Retry-After": str(seconds)},
            )


class LimitedBody:
    """The body of one request as it comes in, bounded in size and time."""

    def __init__(self, scope: Scope, receive: Receive, settings: Settings) -> None:
        self._receive, self._settings = receive, settings
        self._limit = body_limit(scope, settings)
        self._length = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        self._got = 0
        self._until = time.monotonic() + settings.body_timeout_s
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:  # only the disconnect is left, and it may take its time
            return await self._receive()
        if self._length is not None and not (self._length.isdigit() and int(self._length) <= self._limit):
            raise self._too_large(shown(self._length.decode("latin-1"))[1:-1])
        left = min(self._settings.body_idle_s, self._until - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0))
        except TimeoutError:
            self._complete = True
            raise ApiError(
                408,
                "slow",
                f"expected the whole body without pauses of more than {self._settings.body_idle_s:g} s; got "
                f"{self._got} bytes. Send it again over a better connection.",
            ) from None
        if message["type"] == "http.request":
            self._got += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._got > self._limit:
                raise self._too_large(f"more than {self._limit}")
        else:
            self._complete = True
        return message

    def _too_large(self, got: str) -> ApiError:
        self._complete = True
        return ApiError(
            413,
            "too_large",
            f"expected a body of at most {self._limit} bytes; got {got}. Send less at a time, or shrink the photo.",
        )


def body_limit(scope: Scope, settings: Settings) -> int:
    """Bytes that a body may have at this address."""
    path = scope["path"].rstrip("/")
    if path == "/api/v1/images" or PROJECT_IMAGES.fullmatch(path):
        return settings.max_upload_bytes + FORM_BYTES
    if HANDS_IN.fullmatch(path):
        return settings.max_document_bytes
    return settings.max_export_bytes if path == "/api/v1/export" else settings.max_json_bytes
