"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed onto it on success and removed on any error.

    The temporary name keeps the suffix, so that writers which look at it work. Missing folders are made.

    Raises:
        OSError: the folder cannot be written, or `path` is a folder.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    name = f".{target.stem[:40]}.{secrets.token_hex(6)}.part{target.suffix}"
    temporary = target.with_name(name)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    usual = temporary.stat().st_mode
    try:
        yield temporary
        temporary.chmod(usual)  # some writers put a file of their own in its place, readable by its owner alone
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def atomic_write_text(path: str | Path, content: str) -> None:
    """Write a whole UTF-8 file or nothing."""
    atomic_write_bytes(path, content.encode("utf-8"))


def atomic_write_json(path: str | Path, value: Any, *, indent: int | None = None) -> None:
    """Write a whole JSON file or nothing; NaN and infinity are refused."""
    atomic_write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def cache_dir() -> Path:
    """Where downloads and caches live: `SEGANY_CACHE`, else `segany` in the platform's cache folder."""
    if chosen := os.environ.get("SEGANY_CACHE"):
        return Path(chosen).expanduser()
    if (base := Path(os.environ.get("XDG_CACHE_HOME", ""))).is_absolute():
        return base / "segany"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "segany"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "segany"
