"""A connection with an end to headers that never come, and to answers that nobody takes."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from segany.service.settings import Settings

HEADER_BYTES = 1 << 16
"""Most bytes of a request's header."""
_Base: Any = AutoHTTPProtocol


class PatientProtocol(_Base):  # type: ignore[misc]
    """uvicorn's protocol, timed. Bodies are timed by the guard, which can still answer."""

    settings: ClassVar[Settings]
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """A client came: its first header is awaited."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went."""
        self._stop_head_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came: of a header, or of a body."""
        super().data_received(data)
        if self._is_answering() or self.transport.is_closing():
            self._stop_head_timer()
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEADER_BYTES:
            self.send_400_response("Request header too large.")
        elif self._head_timer is None:
            self._await_head()

    def pause_writing(self) -> None:
        """The client takes less than it is given."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.settings.write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        self._stop_write_timer()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.settings.header_timeout_s, self._head_too_slow)

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if not self._is_answering() and not self.transport.is_closing():
            self.transport.close()

    def _stop_head_timer(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def patient_protocol(settings: Settings) -> type[asyncio.Protocol]:
    """The protocol with the time limits of the settings."""
    return type("PatientProtocol", (PatientProtocol,), {"settings": settings})
