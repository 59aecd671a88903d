"""The weights in use: looked for again and again, loaded beside the old ones, then put in their place.

Every version has a name of its own, `model-7`; a request that names none gets the current version of its photo's
project. Who holds the old predictor finishes with it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from segany.core.errors import NotFoundError, SeganyError
from segany.predict.predictor import Predictor
from segany.service.models import Loader, ModelShelf

if TYPE_CHECKING:
    from segany.engine.store.store import Store
    from segany.engine.values import ModelVersion

LOG = structlog.get_logger("segany.service.engine")
CURRENT = "current"
NAME = re.compile(r"model-([1-9][0-9]{0,8})")
IDLE_S = 30.0
"""An older version that somebody asked for by name stays in memory for so long."""
AGAIN_S = 30.0
"""Seconds until weights that could not be loaded are tried again."""


def name_of(version: ModelVersion) -> str:
    """What requests call a version."""
    return f"model-{version.id}"


class Weights:
    """Follows the publications of a store, in a thread of its own.

    Args:
        store: whose.
        shelf: where predictors stand.
        load: makes a predictor of a file.
        poll_s: seconds between two looks.
        gone: told the name of a version that is not in use any more.
        taken: told the name of a version that now is.
    """

    def __init__(
        self,
        store: Store,
        shelf: ModelShelf,
        *,
        load: Callable[[Path], Predictor],
        poll_s: float,
        gone: Callable[[str], None],
        taken: Callable[[str], object] = lambda name: None,
    ) -> None:
        self._store, self._shelf, self._load, self._poll_s = store, shelf, load, poll_s
        self._gone = gone
        self.taken = taken
        self._current: dict[int, ModelVersion] = {}
        self._tried: dict[int, float] = {}
        self._answers = True
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="segany-weights", daemon=True)
        shelf.find = self.loader_of

    def start(self) -> None:
        """Look once, loading nothing, then begin to follow."""
        self._current = self._store.current_models()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._wake.set()
        self._thread.join()

    def wake(self) -> None:
        """Look at once: something was published."""
        self._wake.set()

    def current(self, project: int | None = None) -> ModelVersion | None:
        """The version in use of a project, or of the first one that has any; None before the first publication."""
        if project is not None:
            return self._current.get(project)
        return min(self._current.items())[1] if self._current else None

    def in_use(self) -> list[ModelVersion]:
        """Of every project, the first one's first; each once."""
        found = {version.id: version for _, version in sorted(self._current.items())}
        return list(found.values())

    def names(self) -> list[str]:
        """What requests call the versions in use."""
        return [name_of(version) for version in self.in_use()]

    def label(self, name: str) -> str | None:
        """What the one who made a version in use calls it."""
        return next((version.name for version in self.in_use() if name_of(version) == name), None)

    def loader_of(self, name: str) -> Loader:
        """What loads a version.

        Raises:
            NotFoundError: there is no such version.
        """
        match = NAME.fullmatch(name)
        if match is None:
            raise NotFoundError(f"a model must be one of the service or of its project; there is no {name}.")
        path = self._store.model_path(self._store.model(int(match[1])))
        return lambda: self._load(path)

    def look(self) -> None:
        """Take what was published since; what cannot be loaded is not taken.

        Raises:
            StoreUnavailableError: the database does not answer.
        """
        for project, version in self._store.current_models().items():
            before = self._current.get(project)
            if before is not None and before.id == version.id:
                continue
            if time.monotonic() - self._tried.get(version.id, -AGAIN_S) < AGAIN_S or not self._is_loaded(version):
                continue
            self._current = {**self._current, project: version}
            LOG.info("weights_taken", project=project, model=version.id, before=before.id if before else None)
            self.taken(name_of(version))
            if before is not None and before.id not in {one.id for one in self._current.values()}:
                self._shelf.drop(name_of(before))
                self._gone(name_of(before))
        used = {name_of(version) for version in self._current.values()}
        for name in self._shelf.drop_idle(used, IDLE_S):
            self._gone(name)

    def _is_loaded(self, version: ModelVersion) -> bool:
        try:
            self._shelf.get(name_of(version))
            self._tried.pop(version.id, None)
            return True
        except Exception as error:
            reason = str(error) if isinstance(error, SeganyError) else type(error).__name__
            LOG.error("weights_not_taken", model=version.id, reason=reason)
            self._tried[version.id] = time.monotonic()
            return False

    def _run(self) -> None:
        while not self._stopped:
            try:
                self.look()
                self._answers = True
            except Exception as error:  # the old weights stay in use
                if self._answers:
                    LOG.error("weights_not_looked_for", kind=type(error).__name__, reason=str(error))
                self._answers = False
            self._wake.wait(self._poll_s)
            self._wake.clear()
