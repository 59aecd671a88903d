"""The store: everything the data engine remembers, behind small methods that may be called from any thread."""

from __future__ import annotations

import json
import os
from pathlib import Path

import sqlalchemy as sa
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from segany.core.errors import DataError, NotFoundError
from segany.core.files import atomic_write_json
from segany.engine.store import migrations
from segany.engine.store.base import Clock, utc_now
from segany.engine.store.database import connect, default_address
from segany.engine.store.models import ModelStore
from segany.engine.store.numbers import NumberStore
from segany.engine.store.people import PeopleStore
from segany.engine.store.photos import PhotoStore
from segany.engine.store.review import ReviewStore

MARK = "segany-store.json"
"""The file that makes a folder a store."""
ADDRESS = "SEGANY_DATABASE"
"""Environment variable with the database's address, for stores that are not in a file."""


class Store(PeopleStore, PhotoStore, ReviewStore, ModelStore, NumberStore):
    """Projects, photos, people, tasks, documents, events, models, rounds, releases.

    Args:
        folder: holds photos, weights, snapshots and releases, and by default the database.
        database: an SQLAlchemy address. None: a file in the folder, or, for a store that was made elsewhere, what
            `SEGANY_DATABASE` says: an address may hold a password, so the folder does not keep it.
        create: make the folder if there is no store in it.
        clock: the time, with its zone.
        hasher: of passwords; argon2id with its usual cost when None.

    Raises:
        NotFoundError: no store in the folder, and none is to be made.
        DataError: the folder's own file is damaged, or its database is elsewhere and was not told.
        StoreUnavailableError: the database does not answer.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        database: str | None = None,
        create: bool = False,
        clock: Clock = utc_now,
        hasher: PasswordHash | None = None,
    ) -> None:
        self.folder = Path(folder).expanduser().resolve()
        mark = self.folder / MARK
        kept = _remembered(mark) if mark.is_file() else None
        address = database or (None if kept == "file" else os.environ.get(ADDRESS))
        if kept is None:
            if not create:
                raise NotFoundError(
                    f"expected a data engine's folder at {self.folder}; there is none. Create it first."
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic_write_json(mark, {"version": 1, "database": "elsewhere" if address else "file"})
        elif address is None and kept == "elsewhere":
            raise DataError(
                f"the database of {self.folder} is a server's; its address was not told. "
                f"Give it with --database or {ADDRESS}."
            )
        self._clock = clock
        self._hasher = hasher or PasswordHash((Argon2Hasher(),))
        self._engine: sa.Engine = connect(address or default_address(self.folder))
        with self._write() as s:
            migrations.upgrade(s.connection())

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def ready(self) -> bool:
        """Whether the database answers.

        Raises:
            StoreUnavailableError: it does not.
        """
        with self._read() as s:
            return s.scalar(sa.select(sa.literal(1))) == 1


def _remembered(mark: Path) -> str:
    try:
        return str(json.loads(mark.read_text(encoding="utf-8"))["database"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{mark} must say where the database is; it is damaged: {error}.") from error
