"""Which store and which project `segany engine` works on, and in whose name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from segany.core.errors import NotFoundError, OptionError

if TYPE_CHECKING:
    from segany.engine.store.store import Store
    from segany.engine.values import Project


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Where:
    """Which project of which store."""

    project: Annotated[str | None, Parameter(help="Name of the project, where the folder holds several.")] = None
    database: Annotated[
        str | None,
        Parameter(help="Its database, where that is a server; better given as SEGANY_DATABASE."),
    ] = None

    @contextmanager
    def open(self, folder: Path) -> Iterator[tuple[Store, Project]]:
        """Store and project.

        Raises:
            NotFoundError: no store in the folder, or no such project.
            OptionError: several projects and none named.
        """
        from segany.engine.store import open_store

        store = open_store(folder, database=self.database)
        try:
            projects = {one.name: one for one in store.projects()}
            names = ", ".join(projects) or "none"
            if self.project is not None and self.project not in projects:
                raise NotFoundError(f"expected a project named {self.project!r}; there is {names}. Check the name.")
            if self.project is None and len(projects) != 1:
                raise OptionError(f"the folder must hold one project, or --project names one; it holds {names}.")
            yield store, projects[self.project or next(iter(projects))]
        finally:
            store.close()


def admin_of(store: Store) -> int:
    """In whose name the command line writes: whoever reaches the store's files and database is its admin."""
    found = next((one.id for one in store.users() if one.role == "admin" and one.active), None)
    if found is None:
        raise NotFoundError(
            "expected an active admin in whose name this is done; there is none. Add one: engine users."
        )
    return found
