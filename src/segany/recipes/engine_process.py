"""A `segany serve` process that a recipe starts and stops."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

from segany.core.errors import StoreUnavailableError

STARTS_WITHIN_S, STOPS_WITHIN_S = 120, 20
PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal a child gets when its parent dies."""


class Service:
    """The service of a store, started when it is first needed.

    Args:
        store: the data engine's folder.
        data: folder of the service's own files and its log.
        database: the store's address; goes by the environment, not by the command line.
    """

    def __init__(self, store: Path, data: Path, database: str | None) -> None:
        self.store, self.data, self.database = store, data, database
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def ensure(self, weights: Path) -> None:
        """Start it unless it runs.

        Args:
            weights: what answers prompts before the project has published any.

        Raises:
            StoreUnavailableError: it did not start.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "segany", "serve", "--project", str(self.store), "--port", "0"]
        command += ["--model", str(weights), "--data", str(self.data), "--no-prepare", "--rate-per-s", "0"]
        environment = {**os.environ}
        if self.database is not None:
            environment["SEGANY_DATABASE"] = self.database
        with open(self.data / "service.log", "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        self.url = self._address(self._process)
        if not self.url:
            self.stop()
            raise StoreUnavailableError(
                f"expected the service to start within {STARTS_WITHIN_S} s; it did not. See {self.data}/service.log."
            )

    def stop(self) -> None:
        """End it, gently at first."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    @staticmethod
    def _address(process: subprocess.Popen[str]) -> str:
        """The first line it prints; empty when it ends or takes too long."""
        found: list[str] = []

        def read() -> None:
            assert process.stdout is not None
            found.append(process.stdout.readline().strip())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(STARTS_WITHIN_S)
        return found[0] if found else ""


def _end_with_parent() -> None:
    """In the child: do not outlive a parent that is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
