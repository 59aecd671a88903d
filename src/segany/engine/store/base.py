"""What every part of the store stands on: the folder, transactions, the clock, the log of events."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from segany.core.errors import AccessError, NotFoundError
from segany.engine.config import ROLES, ProjectSettings, Role
from segany.engine.store import rows
from segany.engine.store.database import session
from segany.engine.store.tables import Base, DocumentRow, EventRow, ImageRow, ProjectRow, TaskRow, UserRow
from segany.engine.values import DocumentKind, Project
from segany.records.annotation import AnnotationDocument

Clock = Callable[[], datetime]
Row = TypeVar("Row", bound=Base)


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


class StoreBase:
    """Folder, database and clock."""

    folder: Path
    _engine: sa.Engine
    _clock: Clock

    def _read(self) -> AbstractContextManager[Session]:
        return session(self._engine, writes=False)

    def _write(self) -> AbstractContextManager[Session]:
        return session(self._engine, writes=True)

    def create_project(self, name: str, *, settings: ProjectSettings | None = None) -> Project:
        """A new project; the one that has the name already is given back with its own settings."""
        with self._write() as s:
            row = s.scalar(sa.select(ProjectRow).where(ProjectRow.name == name))
            if row is None:
                chosen = settings or ProjectSettings()
                row = ProjectRow(name=name, settings=chosen.to_json(), created=self._clock())
                s.add(row)
                s.flush()
            return rows.project(row)

    def projects(self) -> list[Project]:
        """All of them."""
        with self._read() as s:
            return [rows.project(row) for row in s.scalars(sa.select(ProjectRow).order_by(ProjectRow.id))]

    def project(self, project: int) -> Project:
        """One of them.

        Raises:
            NotFoundError: there is none.
        """
        with self._read() as s:
            return rows.project(get(s, ProjectRow, project, "project"))

    def change_settings(self, project: int, settings: ProjectSettings) -> Project:
        """New settings; what was decided by the old ones, such as which image is held out, stays.

        Raises:
            NotFoundError: no such project.
        """
        with self._write() as s:
            row = get(s, ProjectRow, project, "project", lock=True)
            row.settings = settings.to_json()
            return rows.project(row)

    def _log(
        self,
        s: Session,
        kind: str,
        *,
        project: int,
        person: UserRow | None = None,
        task: TaskRow | None = None,
        image: int | None = None,
        document: int | None = None,
        key: str | None = None,
        active_seconds: float = 0.0,
        reason: str | None = None,
        data: dict[str, Any] | None = None,
        simulated: bool = False,
    ) -> EventRow:
        row = EventRow(
            project_id=project,
            at=self._clock(),
            kind=kind,
            person_id=person.id if person else None,
            task_id=task.id if task else None,
            image_id=task.image_id if task else image,
            document_id=document,
            key=key,
            active_seconds=active_seconds,
            reason=reason,
            data=data or {},
            simulated=person.simulated if person else simulated,
        )
        s.add(row)
        s.flush()
        return row

    def _keep(
        self,
        s: Session,
        document: AnnotationDocument,
        kind: DocumentKind,
        *,
        task: TaskRow | None,
        image: ImageRow,
        stage: str,
        person: UserRow | None = None,
        model: int | None = None,
    ) -> DocumentRow:
        """Add a document; the task's row must be locked."""
        body = json.dumps(document.to_json(), allow_nan=False, separators=(",", ":"))
        version = 1
        if task is not None:
            newest = sa.select(sa.func.max(DocumentRow.version)).where(DocumentRow.task_id == task.id)
            version = (s.scalar(newest) or 0) + 1
        touched = [one for one in document.annotations if rows.by_people(one)]
        row = DocumentRow(
            task_id=task.id if task else None,
            image_id=image.id,
            stage=stage,
            kind=kind,
            version=version,
            body=body,
            sha256=hashlib.sha256(body.encode()).hexdigest(),
            author_id=person.id if person else None,
            model_id=model,
            created=self._clock(),
            simulated=bool(person and person.simulated),
            masks=len(document.annotations),
            people_masks=len(touched),
            clicks=document.clicks,
            active_seconds=document.active_seconds,
        )
        s.add(row)
        s.flush()
        return row


def get(s: Session, table: type[Row], number: int, what: str, *, lock: bool = False) -> Row:
    """A row by its number.

    Raises:
        NotFoundError: there is none.
    """
    # NO KEY UPDATE: rows that refer to this one may still be added elsewhere, or two writers would wait for each other
    row = s.get(table, number, with_for_update={"key_share": True} if lock else None)
    if row is None:
        raise NotFoundError(f"there must be a {what} of this number; there is no {what} {number}.")
    return row


def person_of(s: Session, user: int, *, lock: bool = False) -> UserRow:
    """A person who may work.

    Raises:
        NotFoundError: there is none.
    """
    return get(s, UserRow, user, "person", lock=lock)


def require_role(person: UserRow, role: Role) -> None:
    """Somebody of this role or a higher one.

    Raises:
        AccessError: of a lower one, or locked out.
    """
    mine = ROLES.index(person.role) if person.role in ROLES else -1
    if mine < ROLES.index(role) or not person.active:
        raise AccessError(f"this needs the role {role}; {person.name} is {person.role}. Ask an admin.")
