"""Bringing a database's tables up to date, one recorded step after the other.

A change of `tables` needs a new module in ``versions``; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from segany.engine.store.tables import Base

_LOCK = 7_345_012_611
"""Key of the lock under which only one process at a time upgrades on PostgreSQL."""
SORTED_INDEXES = ("ix_task_next",)
"""Indexes with an order of their own, which SQLite does not tell: there they cannot be compared."""


def upgrade(connection: sa.Connection, *, revision: str = "heads") -> None:
    """Run what is missing, in the connection's transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)

    def steps(current: Any, _: MigrationContext) -> Any:
        return scripts._upgrade_revs(revision, current)

    with EnvironmentContext(config, scripts, fn=steps) as environment:
        environment.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
        environment.run_migrations()


def revision(connection: sa.Connection) -> str | None:
    """The last step that was run; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def differences(connection: sa.Connection) -> list[Any]:
    """What the database lacks, or has too much, against `tables`."""

    def told(thing: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
        return kind != "index" or connection.dialect.name != "sqlite" or name not in SORTED_INDEXES

    context = MigrationContext.configure(connection, opts={"include_object": told})
    return list(compare_metadata(context, Base.metadata))
