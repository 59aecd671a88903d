"""The models a service offers: named at the start, loaded on first use, a few held at a time."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from segany.core.errors import OptionError
from segany.predict.predictor import Predictor
from segany.service.errors import ApiError, shown
from segany.service.settings import Settings

Loader = Callable[[], Predictor]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class ModelShelf:
    """Predictors by name; serves many threads, and loads each only once.

    Args:
        loaders: what makes each predictor; the first is the default.
        max_loaded: held in memory at once.

    Raises:
        OptionError: a name that has no place in an address.
    """

    def __init__(self, loaders: Mapping[str, Loader], max_loaded: int) -> None:
        for name in loaders:
            if not NAME.fullmatch(name):
                raise OptionError(
                    f"a model's name must be letters, digits, dots, dashes; got {name!r}. Name it: NAME=PATH."
                )
        self._loaders = dict(loaders)
        self._max_loaded = max_loaded
        self._held: OrderedDict[str, Predictor] = OrderedDict()
        self._lock = threading.Lock()
        self._loading = {name: threading.Lock() for name in loaders}
        self._used: dict[str, float] = {}
        self._passing: dict[str, Loader] = {}
        """Published weights: they come while the service runs."""
        self.find: Callable[[str], Loader] | None = None
        """Told a name that nobody offered, as of a job that outlived a restart; may wait for a database."""

    @property
    def names(self) -> list[str]:
        """Every name, the default first."""
        return list(self._loaders)

    @property
    def default(self) -> str:
        """The model of requests that name none."""
        return next(iter(self._loaders))

    def check(self, name: str | None) -> str:
        """The name, or the default for None.

        Raises:
            ApiError: 404, no such model.
        """
        if name is None:
            return self.default
        if not self.is_known(name):
            raise ApiError(
                404,
                "model_unknown",
                f"expected a model of this service ({', '.join(self._loaders)}); got {shown(name)}. Choose one of "
                "those.",
            )
        return name

    def is_known(self, name: str) -> bool:
        """Whether requests may name it."""
        return name in self._loaders or name in self._passing

    def offer(self, name: str, loader: Loader) -> None:
        """One more model; a name that is known keeps its loader."""
        with self._lock:
            self._loading.setdefault(name, threading.Lock())
            self._passing.setdefault(name, loader)

    def drop(self, name: str) -> None:
        """Forget a predictor; who is using it keeps it until they are done, the next request loads it again."""
        with self._lock:
            self._held.pop(name, None)

    def drop_idle(self, keep: Collection[str], idle_s: float) -> list[str]:
        """Forget those of `offer` that nobody used for so long, but for some; their names."""
        with self._lock:
            before = time.monotonic() - idle_s
            gone = [n for n in self._held if n in self._passing and n not in keep and self._used.get(n, 0) < before]
            for name in gone:
                del self._held[name]
            return gone

    def held(self, name: str) -> Predictor | None:
        """The predictor when it is in memory; loads nothing."""
        with self._lock:
            self._used[name] = time.monotonic()
            return self._held.get(name)

    def all_held(self) -> list[Predictor]:
        """Every predictor in memory."""
        with self._lock:
            return list(self._held.values())

    def get(self, name: str) -> Predictor:
        """The predictor, loaded when it must be.

        Raises:
            CheckpointError: its weights are missing or damaged.
        """
        with self._lock:
            self._used[name] = time.monotonic()
            if name in self._held:
                self._held.move_to_end(name)
                return self._held[name]
        if name not in self._loading and self.find is not None:
            self.offer(name, self.find(name))
        with self._loading[name]:
            if (predictor := self.held(name)) is not None:
                return predictor
            predictor = (self._loaders.get(name) or self._passing[name])()
            with self._lock:
                self._held[name] = predictor
                while len(self._held) > self._max_loaded:
                    self._held.popitem(last=False)
            return predictor


def loaders_of(settings: Settings) -> dict[str, Loader]:
    """What `Settings.models` names.

    Raises:
        OptionError: two models of one name.
    """
    loaders: dict[str, Loader] = {}
    for entry in settings.models:
        name, _, path = entry.partition("=")
        source = path or name
        name = name if path else _name_of(source)
        if name in loaders:
            raise OptionError(f"models must have different names; got {name!r} twice. Write NAME=PATH for one of them.")
        loaders[name] = _loader(source, settings)
    return loaders


def _name_of(source: str) -> str:
    path = Path(source)
    return path.stem if path.suffix in (".safetensors", ".pth") else path.name


def _loader(source: str, settings: Settings) -> Loader:
    def load() -> Predictor:
        return Predictor.from_pretrained(source, device=settings.device, dtype=settings.dtype)

    return load
