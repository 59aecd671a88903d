"""From rows to values."""

from __future__ import annotations

import json
from typing import cast

from segany.engine import values
from segany.engine.config import ProjectSettings, Purpose, Role, Stage
from segany.engine.life import State, TaskLife
from segany.engine.store import tables
from segany.records.annotation import Annotation, AnnotationDocument

_HANDS = ("point", "box", "brush", "erase")


def by_people(annotation: Annotation) -> bool:
    """Whether a person made or touched a mask."""
    return any(prompt.kind in _HANDS for prompt in annotation.interaction.prompts)


def project(row: tables.ProjectRow) -> values.Project:
    """A project."""
    known = {key: value for key, value in row.settings.items() if key in ProjectSettings.__dataclass_fields__}
    return values.Project(id=row.id, name=row.name, settings=ProjectSettings.from_json(known), created=row.created)


def user(row: tables.UserRow) -> values.User:
    """A person, without the hash of their password."""
    return values.User(
        id=row.id,
        name=row.name,
        role=cast(Role, row.role),
        simulated=row.simulated,
        active=row.active,
        created=row.created,
    )


def image(row: tables.ImageRow) -> values.Image:
    """A photo."""
    return values.Image(
        id=row.id,
        project=row.project_id,
        image_id=row.image_id,
        sha256=row.sha256,
        file_name=row.file_name,
        width=row.width,
        height=row.height,
        privacy=cast(values.Privacy, row.privacy),
        held_out=row.held_out,
    )


def region(row: tables.RegionRow) -> values.Region:
    """A part of a photo to blur."""
    return values.Region(
        id=row.id,
        image=row.image_id,
        kind=cast(values.RegionKind, row.kind),
        outline=tuple((float(x), float(y)) for x, y in row.outline),
        score=row.score,
        source=row.source,
        active=row.active,
    )


def life(row: tables.TaskRow) -> TaskLife:
    """Where a task stands."""
    return TaskLife(
        state=cast(State, row.state),
        author=row.author_id,
        holder=row.holder_id,
        lease=row.lease,
        expires=row.expires,
        submissions=row.submissions,
        rejections=row.rejections,
        mending=row.mending,
        reason=row.reason,
    )


def put_life(row: tables.TaskRow, life: TaskLife) -> None:
    """Where a task stands now."""
    row.state, row.author_id, row.holder_id = life.state, life.author, life.holder
    row.lease, row.expires = life.lease, life.expires
    row.submissions, row.rejections = life.submissions, life.rejections
    row.mending, row.reason = life.mending, life.reason


def task(row: tables.TaskRow) -> values.Task:
    """A task, without its lease."""
    return values.Task(
        id=row.id,
        project=row.project_id,
        image=row.image_id,
        stage=cast(Stage, row.stage),
        purpose=cast(Purpose, row.purpose),
        state=cast(State, row.state),
        author=row.author_id,
        holder=row.holder_id if row.expires is not None else None,
        expires=row.expires,
        submissions=row.submissions,
        rejections=row.rejections,
        reason=row.reason,
    )


def document(row: tables.DocumentRow) -> values.StoredDocument:
    """A version of an image's annotations."""
    return values.StoredDocument(
        id=row.id,
        task=row.task_id,
        image=row.image_id,
        stage=cast(Stage, row.stage),
        kind=cast(values.DocumentKind, row.kind),
        version=row.version,
        sha256=row.sha256,
        author=row.author_id,
        model=row.model_id,
        created=row.created,
        simulated=row.simulated,
        masks=row.masks,
        people_masks=row.people_masks,
        clicks=row.clicks,
        active_seconds=row.active_seconds,
        document=AnnotationDocument.from_json(json.loads(row.body)),
    )


def event(row: tables.EventRow) -> values.Event:
    """Something that happened."""
    return values.Event(
        id=row.id,
        at=row.at,
        kind=row.kind,
        user=row.person_id,
        task=row.task_id,
        image=row.image_id,
        document=row.document_id,
        active_seconds=row.active_seconds,
        reason=row.reason,
        data=row.data,
        simulated=row.simulated,
    )


def model(row: tables.ModelRow) -> values.ModelVersion:
    """Weights."""
    return values.ModelVersion(
        id=row.id,
        project=row.project_id,
        name=row.name,
        fingerprint=row.fingerprint,
        path=row.path,
        metrics=row.metrics,
        created=row.created,
    )


def round_(row: tables.RoundRow) -> values.Round:
    """Once round the loop."""
    return values.Round(
        id=row.id,
        project=row.project_id,
        number=row.number,
        stage=cast(Stage, row.stage),
        state=cast(values.RoundState, row.state),
        snapshot=row.snapshot,
        model_before=row.model_before_id,
        model_after=row.model_after_id,
        published=row.published,
        metrics=row.metrics,
        note=row.note,
        opened=row.opened,
        closed=row.closed,
    )


def artefact(row: tables.ArtefactRow) -> values.Artefact:
    """A snapshot or a release."""
    return values.Artefact(
        id=row.id,
        project=row.project_id,
        kind="snapshot" if row.kind == "snapshot" else "release",
        sha256=row.sha256,
        folder=row.folder,
        stages=tuple(cast(Stage, stage) for stage in row.stages),
        images=row.images,
        masks=row.masks,
        created=row.created,
        report=row.report,
    )
