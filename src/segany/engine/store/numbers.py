"""The log of events, and the numbers of a project."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from segany.engine.config import STAGES, Role
from segany.engine.statistics import Effort, PersonNumbers, ProjectNumbers, StageNumbers, agreement_numbers
from segany.engine.store import rows
from segany.engine.store.base import StoreBase, get
from segany.engine.store.tables import DocumentRow, EventRow, ImageRow, ProjectRow, TaskRow, UserRow
from segany.engine.values import Event

_SUMS = (
    sa.func.count(),
    sa.func.coalesce(sa.func.sum(DocumentRow.masks), 0),
    sa.func.coalesce(sa.func.sum(DocumentRow.people_masks), 0),
    sa.func.coalesce(sa.func.sum(DocumentRow.clicks), 0),
    sa.func.coalesce(sa.func.sum(DocumentRow.active_seconds), 0.0),
    sa.func.coalesce(sa.func.sum(sa.cast(DocumentRow.simulated, sa.Integer)), 0),
)


class NumberStore(StoreBase):
    """What happened, and how much."""

    def events(
        self, project: int, *, after: int = 0, limit: int = 200, kinds: Sequence[str] | None = None
    ) -> list[Event]:
        """What happened behind an event, the first first."""
        query = sa.select(EventRow).where(EventRow.project_id == project, EventRow.id > after)
        if kinds is not None:
            query = query.where(EventRow.kind.in_(kinds))
        with self._read() as s:
            return [rows.event(row) for row in s.scalars(query.order_by(EventRow.id).limit(limit))]

    def stats(self, project: int, *, simulated: bool | None = None) -> ProjectNumbers:
        """Progress, throughput and effort.

        Args:
            project: whose.
            simulated: True counts only simulated people's documents, False only others', None all.

        Raises:
            NotFoundError: no such project.
        """
        with self._read() as s:
            get(s, ProjectRow, project, "project")
            stages, played = _stages(s, project, simulated)
            privacy = sa.select(ImageRow.privacy, sa.func.count()).where(ImageRow.project_id == project)
            by_privacy = {row[0]: int(row[1]) for row in s.execute(privacy.group_by(ImageRow.privacy))}
            compared = sa.select(EventRow.task_id, EventRow.data).where(
                EventRow.project_id == project, EventRow.kind == "agreement", *_only(simulated, EventRow.simulated)
            )
            pairs = [(task, data) for task, data in s.execute(compared.order_by(EventRow.id)) if task is not None]
            return ProjectNumbers(
                images=sum(by_privacy.values()),
                privacy=by_privacy,
                stages=stages,
                people=_people(s, project, simulated),
                days=_days(s, project, simulated),
                agreement=agreement_numbers(pairs),
                simulated=played,
            )


def _only(simulated: bool | None, column: sa.orm.InstrumentedAttribute[bool]) -> list[sa.ColumnElement[bool]]:
    return [] if simulated is None else [column.is_(simulated)]


def _latest(kinds: Sequence[str] | None = None) -> sa.Subquery:
    """Each task's latest document."""
    query = sa.select(DocumentRow.task_id, sa.func.max(DocumentRow.version).label("version"))
    query = query.where(DocumentRow.task_id.is_not(None))
    if kinds is not None:
        query = query.where(DocumentRow.kind.in_(kinds))
    return query.group_by(DocumentRow.task_id).subquery()


def _effort(row: Sequence[float]) -> Effort:
    images, masks, people_masks, clicks, seconds = row[:5]
    return Effort(
        images=int(images),
        masks=int(masks),
        people_masks=int(people_masks),
        clicks=int(clicks),
        active_seconds=float(seconds),
    )


def _stages(s: Session, project: int, simulated: bool | None) -> tuple[list[StageNumbers], int]:
    mine = (TaskRow.project_id == project, TaskRow.purpose == "work")
    states: dict[str, dict[str, int]] = defaultdict(dict)
    counts = sa.select(TaskRow.stage, TaskRow.state, sa.func.count()).where(*mine)
    for stage, state, count in s.execute(counts.group_by(TaskRow.stage, TaskRow.state)):
        states[stage][state] = count
    latest = _latest()
    query = (
        sa.select(TaskRow.stage, *_SUMS)
        .join(latest, latest.c.task_id == TaskRow.id)
        .join(DocumentRow, sa.and_(DocumentRow.task_id == TaskRow.id, DocumentRow.version == latest.c.version))
        .where(*mine, TaskRow.state == "accepted", *_only(simulated, DocumentRow.simulated))
    )
    done = {row[0]: row[1:] for row in s.execute(query.group_by(TaskRow.stage))}
    found = [
        StageNumbers(stage=stage, states=states[stage], done=_effort(done[stage]) if stage in done else Effort())
        for stage in STAGES
        if stage in states
    ]
    return found, sum(int(row[5]) for row in done.values())


def _people(s: Session, project: int, simulated: bool | None) -> list[PersonNumbers]:
    actions: dict[int, dict[str, int]] = defaultdict(dict)
    gold: dict[int, list[float]] = defaultdict(list)
    mine = (EventRow.project_id == project, EventRow.person_id.is_not(None))
    counts = sa.select(EventRow.person_id, EventRow.kind, sa.func.count()).where(*mine)
    for person, kind, count in s.execute(counts.group_by(EventRow.person_id, EventRow.kind)):
        actions[person or 0][kind] = count
    for person, data in s.execute(sa.select(EventRow.person_id, EventRow.data).where(*mine, EventRow.kind == "gold")):
        gold[person or 0].append(float(data["mean_iou"]))
    back = (
        sa.select(DocumentRow.author_id, sa.func.count())
        .join(EventRow, EventRow.document_id == DocumentRow.id)
        .where(EventRow.project_id == project, EventRow.kind == "reject")
        .group_by(DocumentRow.author_id)
    )
    rejected = {row[0]: int(row[1]) for row in s.execute(back)}
    latest = _latest(("submission",))
    query = (
        sa.select(DocumentRow.author_id, *_SUMS)
        .join(latest, sa.and_(DocumentRow.task_id == latest.c.task_id, DocumentRow.version == latest.c.version))
        .join(TaskRow, TaskRow.id == DocumentRow.task_id)
        .where(TaskRow.project_id == project)
        .group_by(DocumentRow.author_id)
    )
    work = {row[0]: row[1:] for row in s.execute(query)}
    people = s.scalars(sa.select(UserRow).where(*_only(simulated, UserRow.simulated)).order_by(UserRow.id))
    return [
        PersonNumbers(
            user=row.id,
            name=row.name,
            role=cast(Role, row.role),
            simulated=row.simulated,
            actions=actions[row.id],
            rejected=rejected.get(row.id, 0),
            work=_effort(work[row.id]) if row.id in work else Effort(),
            gold=sum(gold[row.id]) / len(gold[row.id]) if row.id in gold else None,
        )
        for row in people
        if row.id in actions
    ]


def _days(s: Session, project: int, simulated: bool | None) -> dict[str, dict[str, int]]:
    day = sa.func.date(EventRow.at)
    query = (
        sa.select(day, EventRow.kind, sa.func.count())
        .where(EventRow.project_id == project, *_only(simulated, EventRow.simulated))
        .group_by(day, EventRow.kind)
        .order_by(day)
    )
    found: dict[str, dict[str, int]] = {}
    for when, kind, count in s.execute(query):
        found.setdefault(str(when), {})[kind] = count
    return found
