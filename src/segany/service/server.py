"""The app on a port: slow and silent clients cut off, a stop that loses nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from segany.core.errors import SeganyError
from segany.service import logs
from segany.service.lock import only_one
from segany.service.patience import patient_protocol
from segany.service.settings import Settings, is_loopback

PATIENT_WITH_OPEN = 8
"""Seconds uvicorn keeps a connection open for the next request."""


def serve(app: FastAPI, settings: Settings, started: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. Open requests are finished, the job at work is queued again.

    Args:
        app: from `create_app`.
        settings: the same ones.
        started: called with the address once it can be opened.

    Raises:
        OptionError: another service uses the data folder.
        SeganyError: the address cannot be listened on.
        KeyboardInterrupt: SIGINT stopped it.
    """
    logs.set_up()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=patient_protocol(settings),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=PATIENT_WITH_OPEN,
        timeout_graceful_shutdown=max(1, round(settings.stop_timeout_s)),
    )
    server = Server(config, settings, started)
    app.state.is_stopping = lambda: server.should_exit
    try:
        with only_one(settings.data_dir):
            server.run()
    except SystemExit as stop:
        raise SeganyError(
            f"expected to listen on {settings.host}:{settings.port}; that failed, see above. Another program may use "
            "the port: choose one with --port, or 0 for a free one."
        ) from stop
    if server.interrupted:
        raise KeyboardInterrupt


class Server(uvicorn.Server):
    """Tells its address, and ends quietly on SIGTERM."""

    def __init__(self, config: uvicorn.Config, settings: Settings, started: Callable[[str], None]) -> None:
        super().__init__(config)
        self._settings, self._tell = settings, started
        self.interrupted = False

    async def startup(self, sockets: Any = None) -> None:
        """Listen, then tell."""
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            self._tell(address(self._settings.host, port))

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """A signal asks for the graceful stop, and is not raised again after it."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Remember which signal it was."""
        self.interrupted = self.interrupted or sig == signal.SIGINT
        super().handle_exit(sig, frame)


def address(host: str, port: int) -> str:
    """What to open in a browser."""
    name = "127.0.0.1" if is_loopback(host) and ":" not in host else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"
