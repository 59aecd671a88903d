"""Reaching the database: SQLite in a file by default, PostgreSQL for teams; one way to read and one to write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.orm import Session

from segany.core.errors import OptionError, StoreUnavailableError

FILE = "engine.sqlite"
BUSY_SECONDS = 30.0
"""How long a writer on SQLite waits for another one."""
CONNECTIONS = 20
"""Kept open for one process, and as many again for moments of need; each holds one thread's transaction. Values never
appear in error messages: they hold hashes of passwords and leases."""
_WRITES = "segany_writes"


def default_address(folder: Path) -> str:
    """SQLite in the store's folder."""
    return sa.URL.create("sqlite", database=str(folder / FILE)).render_as_string()


def connect(address: str) -> sa.Engine:
    """A pool of connections.

    Raises:
        OptionError: an address that is none, or of a database that is not served.
    """
    try:
        url = sa.make_url(address)
    except exc.ArgumentError:
        raise OptionError(
            "a database must be sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME; the given one is no "
            "such address."
        ) from None
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            pool_size=CONNECTIONS,
            max_overflow=CONNECTIONS,
            hide_parameters=True,
            connect_args={"options": "-c timezone=utc"},
        )
    raise OptionError(f"a database must be sqlite or postgresql+psycopg; got {url.drivername}.")


def _sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise OptionError("SQLite needs a file, since several threads share it; write sqlite:///FILE.")
    engine = sa.create_engine(
        url,
        connect_args={"timeout": BUSY_SECONDS},
        pool_size=CONNECTIONS,
        max_overflow=CONNECTIONS,
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def session(engine: sa.Engine, *, writes: bool) -> Iterator[Session]:
    """One transaction, committed in the end unless there was an error.

    On SQLite a writer is alone from its first statement; on PostgreSQL rows are locked one by one.

    Raises:
        StoreUnavailableError: the database does not answer; nothing was written, or, when the answer to the last
            commit was lost, all of it.
    """
    try:
        bound = engine.execution_options(**{_WRITES: writes})
        with Session(bound, expire_on_commit=False) as open_session, open_session.begin():
            yield open_session
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StoreUnavailableError(
            f"the database of the data engine must answer; it says: {reason}. See that it runs, then try again."
        ) from error
