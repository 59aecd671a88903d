"""What the data engine remembers, and the only SQL: projects, images, people, tasks, documents, events, models.

``open_store`` is the door; the modules behind it need the extra ``serve``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segany.core.optional import require

if TYPE_CHECKING:
    from segany.engine.store.store import Store


def open_store(folder: str | Path, *, database: str | None = None, create: bool = False) -> Store:
    """The store of a folder, its tables brought up to date.

    Args:
        folder: holds photos, weights, snapshots and releases, and by default the database.
        database: an SQLAlchemy address such as ``postgresql+psycopg://user:password@host/name``; None is the one the
            folder was made with, normally a file in it.
        create: make the folder and an empty store if there is none.

    Raises:
        NotFoundError: no store in the folder, and none is to be made.
        StoreUnavailableError: the database does not answer.
        MissingDependencyError: the extra is not installed.
    """
    for module in ("sqlalchemy", "alembic", "pwdlib"):
        require(module, "serve")
    from segany.engine.store.store import Store

    return Store(folder, database=database, create=create)
