"""A folder of content-addressed entries with a size limit: what was unused for longest goes first.

An entry is a body and a small JSON note about it. Both appear whole or not at all, and survive a kill.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segany.core.files import atomic_write_json

BODY, NOTE = ".bin", ".json"


class LruFolder:
    """Entries by key, on disk, at most `max_bytes` of them; serves many threads.

    Args:
        folder: made when missing; what is in it already counts, in the order of last use.
        max_bytes: the newest entry always stays, however large.
        is_pinned: asked before an entry is dropped; True keeps it.
    """

    def __init__(self, folder: Path, max_bytes: int, is_pinned: Callable[[str], bool] | None = None) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._is_pinned = is_pinned or (lambda key: False)
        self._lock = threading.RLock()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*/.*.part*"):
            leftover.unlink(missing_ok=True)
        found = []
        for note in folder.glob(f"*/*{NOTE}"):
            body = note.with_suffix(BODY)
            if body.is_file():
                found.append((note.stat().st_mtime, note.stem, body.stat().st_size))
            else:
                note.unlink(missing_ok=True)
        self._sizes.update((key, size) for _, key, size in sorted(found))
        self._evict("")

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._sizes

    @property
    def total_bytes(self) -> int:
        """Size of all bodies."""
        with self._lock:
            return sum(self._sizes.values())

    def keys(self) -> list[str]:
        """Every key, the longest unused first."""
        with self._lock:
            return list(self._sizes)

    def path(self, key: str) -> Path | None:
        """Where the body lies, or None; counts as use."""
        with self._lock:
            if key not in self._sizes:
                return None
            self._sizes.move_to_end(key)
            try:
                os.utime(self._note(key))
            except FileNotFoundError:  # removed by another hand
                self._sizes.pop(key)
                return None
            return self._body(key)

    def note(self, key: str) -> dict[str, Any] | None:
        """What was noted about the entry, or None."""
        with self._lock:
            try:
                value = json.loads(self._note(key).read_text(encoding="utf-8")) if key in self._sizes else None
            except (OSError, ValueError):
                return None
        return value if isinstance(value, dict) else None

    def put(self, key: str, write: Callable[[Path], object], note: dict[str, Any]) -> None:
        """Add an entry.

        Args:
            key: letters, digits and dashes.
            write: given a path that does not exist yet in the store's own folder, writes the body there.
            note: JSON values.
        """
        body = self._body(key)
        body.parent.mkdir(parents=True, exist_ok=True)
        part = body.with_name(f".{key}.{threading.get_ident()}.part{BODY}")
        try:
            write(part)
            with self._lock:
                size = part.stat().st_size
                os.replace(part, body)
                atomic_write_json(self._note(key), note)
                self._sizes[key] = size
                self._sizes.move_to_end(key)
        finally:
            part.unlink(missing_ok=True)
        self._evict(key)

    def delete(self, key: str) -> bool:
        """Remove an entry; False when there was none."""
        with self._lock:
            if self._sizes.pop(key, None) is None:
                return False
            self._note(key).unlink(missing_ok=True)
            self._body(key).unlink(missing_ok=True)
            return True

    def _evict(self, newest: str) -> None:
        with self._lock:
            total = sum(self._sizes.values())
            for key in list(self._sizes):
                if total <= self._max_bytes:
                    return
                if key != newest and not self._is_pinned(key):
                    total -= self._sizes[key]
                    self.delete(key)

    def _body(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{BODY}"

    def _note(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{NOTE}"
