"""The tables. Documents and events are only ever added."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, mapped_column

from segany.core.errors import EngineError


class UtcTime(sa.TypeDecorator[datetime]):
    """A moment in UTC, with its zone in Python on every database."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """To the database."""
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Every table's base."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcTime, dict[str, Any]: sa.JSON, list[Any]: sa.JSON}


class ProjectRow(Base):
    """A data set in the making."""

    __tablename__ = "project"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    settings: Mapped[dict[str, Any]]
    created: Mapped[datetime]


class UserRow(Base):
    """A person, or somebody who plays one."""

    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(String(20))
    simulated: Mapped[bool]
    active: Mapped[bool]
    claims: Mapped[int] = mapped_column(default=0)
    created: Mapped[datetime]


class TokenRow(Base):
    """A login session or a program's key, by its hash."""

    __tablename__ = "token"
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), index=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    label: Mapped[str] = mapped_column(String(200))
    created: Mapped[datetime]
    expires: Mapped[datetime]
    revoked: Mapped[bool] = mapped_column(default=False)


class ImageRow(Base):
    """A photo; its bytes lie in the folder under its hash."""

    __tablename__ = "image"
    __table_args__ = (UniqueConstraint("project_id", "sha256"), UniqueConstraint("project_id", "image_id"))
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    image_id: Mapped[int] = mapped_column(sa.BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    file_name: Mapped[str] = mapped_column(Text)
    width: Mapped[int]
    height: Mapped[int]
    held_out: Mapped[bool]
    privacy: Mapped[str] = mapped_column(String(20))
    detectors: Mapped[list[Any]]
    created: Mapped[datetime]


class RegionRow(Base):
    """A part of a photo to blur."""

    __tablename__ = "region"
    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    outline: Mapped[list[Any]]
    score: Mapped[float | None]
    source: Mapped[str] = mapped_column(String(200))
    active: Mapped[bool]
    created: Mapped[datetime]


OPEN_STATES = ("queued", "rejected", "leased")
"""Of tasks that somebody may yet annotate."""
UNFINISHED = "state IN ('queued', 'rejected', 'leased')"
"""The same for the index of what comes next: it is read in order, however long the queue is."""


class TaskRow(Base):
    """An image in a stage, for one of several purposes."""

    __tablename__ = "task"
    __table_args__ = (
        UniqueConstraint("image_id", "stage", "purpose", "replica"),
        Index("ix_task_queue", "project_id", "state", "stage", "priority", "id"),
        Index("ix_task_lease", "lease"),
        Index("ix_task_author_id", "author_id"),
        Index("ix_task_holder_id", "holder_id"),
        Index(
            "ix_task_next",
            "project_id",
            sa.text("mending DESC"),
            sa.text("priority DESC"),
            "id",
            postgresql_where=sa.text(UNFINISHED),
            sqlite_where=sa.text(UNFINISHED),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    stage: Mapped[str] = mapped_column(String(20))
    purpose: Mapped[str] = mapped_column(String(20))
    replica: Mapped[int]
    for_person_id: Mapped[int | None] = mapped_column(ForeignKey("person.id"))
    priority: Mapped[int]
    state: Mapped[str] = mapped_column(String(20))
    author_id: Mapped[int | None] = mapped_column(ForeignKey("person.id"))
    holder_id: Mapped[int | None] = mapped_column(ForeignKey("person.id"))
    lease: Mapped[str | None] = mapped_column(String(64))
    expires: Mapped[datetime | None]
    submissions: Mapped[int]
    rejections: Mapped[int]
    mending: Mapped[bool]
    reason: Mapped[str | None] = mapped_column(Text)
    changed: Mapped[datetime]
    created: Mapped[datetime]


class DocumentRow(Base):
    """A version of an image's annotations."""

    __tablename__ = "document"
    __table_args__ = (UniqueConstraint("task_id", "version"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int | None] = mapped_column(ForeignKey("task.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), index=True)
    stage: Mapped[str] = mapped_column(String(20))
    kind: Mapped[str] = mapped_column(String(20))
    version: Mapped[int]
    body: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    author_id: Mapped[int | None] = mapped_column(ForeignKey("person.id"))
    model_id: Mapped[int | None] = mapped_column(ForeignKey("model.id"))
    created: Mapped[datetime]
    simulated: Mapped[bool]
    masks: Mapped[int]
    people_masks: Mapped[int]
    clicks: Mapped[int]
    active_seconds: Mapped[float]


class EventRow(Base):
    """Something that happened."""

    __tablename__ = "event"
    __table_args__ = (
        UniqueConstraint("person_id", "key"),
        Index("ix_event_project_id_kind_id", "project_id", "kind", "id"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(20))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("person.id"))
    task_id: Mapped[int | None] = mapped_column(ForeignKey("task.id"), index=True)
    image_id: Mapped[int | None] = mapped_column(ForeignKey("image.id"))
    document_id: Mapped[int | None] = mapped_column(ForeignKey("document.id"))
    key: Mapped[str | None] = mapped_column(String(100))
    active_seconds: Mapped[float]
    reason: Mapped[str | None] = mapped_column(Text)
    data: Mapped[dict[str, Any]]
    simulated: Mapped[bool]


class ModelRow(Base):
    """Weights."""

    __tablename__ = "model"
    __table_args__ = (UniqueConstraint("project_id", "fingerprint"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str] = mapped_column(String(200))
    fingerprint: Mapped[str] = mapped_column(String(200))
    path: Mapped[str] = mapped_column(Text)
    metrics: Mapped[dict[str, Any]]
    created: Mapped[datetime]


class PublicationRow(Base):
    """Which weights were in use from when on; the last row counts."""

    __tablename__ = "publication"
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    previous_id: Mapped[int | None] = mapped_column(ForeignKey("publication.id"))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("person.id"))
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class RoundRow(Base):
    """Once round the loop."""

    __tablename__ = "round"
    __table_args__ = (UniqueConstraint("project_id", "number"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    number: Mapped[int]
    stage: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20))
    snapshot: Mapped[str | None] = mapped_column(String(64))
    model_before_id: Mapped[int | None] = mapped_column(ForeignKey("model.id"))
    model_after_id: Mapped[int | None] = mapped_column(ForeignKey("model.id"))
    published: Mapped[bool]
    metrics: Mapped[dict[str, Any]]
    note: Mapped[str] = mapped_column(Text)
    opened: Mapped[datetime]
    closed: Mapped[datetime | None]


class ArtefactRow(Base):
    """A snapshot or a release."""

    __tablename__ = "artefact"
    __table_args__ = (UniqueConstraint("project_id", "kind", "sha256"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    kind: Mapped[str] = mapped_column(String(20))
    sha256: Mapped[str] = mapped_column(String(64))
    folder: Mapped[str] = mapped_column(Text)
    stages: Mapped[list[Any]]
    images: Mapped[int]
    masks: Mapped[int]
    report: Mapped[dict[str, Any]]
    created: Mapped[datetime]


@event.listens_for(DocumentRow, "before_update")
@event.listens_for(DocumentRow, "before_delete")
@event.listens_for(EventRow, "before_update")
@event.listens_for(EventRow, "before_delete")
def _only_added(mapper: Mapper[Any], connection: sa.Connection, target: Base) -> None:
    raise EngineError(f"a {target.__tablename__} is only ever added, never changed or removed; write a new one.")
