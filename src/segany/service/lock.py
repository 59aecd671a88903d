"""One service per data folder; the lock ends with the process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from segany.core.errors import OptionError

NAME = ".lock"


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a folder.

    Raises:
        OptionError: another service holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            _lock(file)
        except OSError as error:
            raise OptionError(
                f"the data folder must belong to one service; {folder} is in use by another. Stop that one, or name "
                "another folder with --data."
            ) from error
        yield
    finally:
        os.close(file)


def _lock(file: int) -> None:
    if os.name == "nt":
        windows: Any = import_module("msvcrt")
        windows.locking(file, windows.LK_NBLCK, 1)
    else:
        unix: Any = import_module("fcntl")
        unix.flock(file, unix.LOCK_EX | unix.LOCK_NB)
