"""The queue: who gets which image next, and for how long. Claiming is atomic on every database."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from segany.core.errors import DataError, LeaseError
from segany.engine import life as rules
from segany.engine.chance import is_overlap
from segany.engine.config import STAGES, ProjectSettings, Stage
from segany.engine.store import rows
from segany.engine.store.base import get, person_of
from segany.engine.store.documents import DocumentStore
from segany.engine.store.tables import OPEN_STATES, DocumentRow, EventRow, ImageRow, ProjectRow, TaskRow, UserRow
from segany.engine.values import Assignment, Image

_OTHER = aliased(TaskRow)


class QueueStore(DocumentStore):
    """What waits, and who holds what."""

    def open_stage(self, project: int, stage: Stage, images: Sequence[int] | None = None, *, priority: int = 0) -> int:
        """Put images into a stage's queue; those that are in it already stay as they are.

        Args:
            project: whose.
            stage: which.
            images: in the store's numbers; all of the project when None.
            priority: higher ones are offered first.

        Returns:
            How many tasks were made, those for comparing annotators included.

        Raises:
            NotFoundError: no such project, or an image that is not its.
        """
        made = 0
        with self._write() as s:
            settings = rows.project(get(s, ProjectRow, project, "project", lock=True)).settings
            chosen = [get(s, ImageRow, number, "image") for number in images or ()]
            if images is None:
                chosen = list(
                    s.scalars(sa.select(ImageRow).where(ImageRow.project_id == project).order_by(ImageRow.id))
                )
            for image in chosen:
                if image.project_id != project:
                    raise DataError(f"a stage takes images of its own project; image {image.id} is another's.")
                copies = settings.overlap_annotators if _overlaps(image, settings) else 1
                for replica in range(copies):
                    purpose = "overlap" if replica else "work"
                    made += self._task(s, image, stage, purpose, replica, priority=priority)[1]
        return made

    def claim(self, project: int, user: int, *, stage: Stage | None = None) -> Assignment | None:
        """The next task for an annotator, under a lease; the one they hold already, if they do.

        First what was sent back to them, then the queue by priority and age; nobody gets an image twice.

        Args:
            project: whose.
            user: the annotator.
            stage: only of this one.

        Returns:
            None when there is nothing to do.

        Raises:
            NotFoundError: no such project or person.
        """
        with self._write() as s:
            person = person_of(s, user, lock=True)
            settings = rows.project(get(s, ProjectRow, project, "project")).settings
            at = self._clock()
            row = self._held(s, project, user, "leased", at, stage)
            if row is None:
                row = self._gold_turn(s, project, person, settings, stage) or s.scalar(
                    _claimable(project, user, at, settings, stage)
                    .limit(1)
                    .with_for_update(key_share=True, skip_locked=True)
                )
                if row is None:
                    return None
                self._take(s, row, person, settings, at)
            else:
                seconds = settings.lease_seconds
                kept = rules.heartbeat(rows.life(row), by=user, lease=row.lease or "", at=at, seconds=seconds)
                rows.put_life(row, kept)
            return self._assignment(s, row)

    def peek(self, project: int, user: int, *, stage: Stage | None = None, count: int = 2) -> list[Image]:
        """The images an annotator will probably get next, so that their embeddings can be made; nothing is taken."""
        with self._read() as s:
            person_of(s, user)
            settings = rows.project(get(s, ProjectRow, project, "project")).settings
            query = _claimable(project, user, self._clock(), settings, stage).limit(count)
            return [rows.image(get(s, ImageRow, row.image_id, "image")) for row in s.scalars(query)]

    def remaining(self, project: int, user: int, *, stage: Stage | None = None, most: int = 1000) -> int:
        """How many tasks an annotator may take now, counted up to `most`.

        Raises:
            NotFoundError: no such project.
        """
        with self._read() as s:
            settings = rows.project(get(s, ProjectRow, project, "project")).settings
            found = _claimable(project, user, self._clock(), settings, stage).with_only_columns(TaskRow.id)
            counted = sa.select(sa.func.count()).select_from(found.order_by(None).limit(most).subquery())
            return s.scalar(counted) or 0

    def stages(self, project: int) -> list[Stage]:
        """Stages that have tasks for the data set."""
        query = sa.select(TaskRow.stage).where(TaskRow.project_id == project, TaskRow.purpose == "work").distinct()
        with self._read() as s:
            found = set(s.scalars(query))
        return [stage for stage in STAGES if stage in found]

    def took_part(self, user: int, task: int) -> bool:
        """Whether somebody ever claimed, made or judged a task.

        Raises:
            NotFoundError: no such task.
        """
        with self._read() as s:
            row = get(s, TaskRow, task, "task")
            if user in (row.holder_id, row.author_id):
                return True
            query = sa.select(EventRow.id).where(EventRow.task_id == task, EventRow.person_id == user).limit(1)
            return s.scalar(query) is not None

    def heartbeat(self, user: int, lease: str, *, task: int | None = None) -> datetime:
        """The annotator or reviewer is still there; when the lease runs out now.

        Args:
            user: who.
            lease: what they hold.
            task: the lease must be of this one, where it is named.

        Raises:
            LeaseError: not their lease, or somebody has taken the task since.
        """
        with self._write() as s:
            row = _by_lease(s, lease, task)
            settings = rows.project(get(s, ProjectRow, row.project_id, "project")).settings
            reviewing = row.state in ("in_review", "submitted")
            seconds = settings.review_seconds if reviewing else settings.lease_seconds
            life = rules.heartbeat(rows.life(row), by=user, lease=lease, at=self._clock(), seconds=seconds)
            rows.put_life(row, life)
            return cast(datetime, life.expires)

    def give_back(self, user: int, lease: str, *, task: int | None = None) -> None:
        """The annotator or reviewer leaves the task undone; an unknown lease is left alone.

        Args:
            user: who.
            lease: what they held.
            task: a lease of another one is left alone, where it is named.

        Raises:
            LeaseError: another's lease.
        """
        with self._write() as s:
            row = find_lease(s, lease, task)
            if row is None:
                return
            rows.put_life(row, rules.release(rows.life(row), by=user, lease=lease))
            self._log(s, "release", project=row.project_id, person=person_of(s, user), task=row)

    def expire(self) -> int:
        """Put every task whose lease has run out back where it waited; how many there were.

        Claiming does not need it: it passes by what has run out on its own.
        """
        with self._write() as s:
            at = self._clock()
            query = sa.select(TaskRow).where(TaskRow.state.in_(rules.HELD), TaskRow.expires <= at)
            found = list(s.scalars(query.with_for_update(key_share=True, skip_locked=True)))
            for row in found:
                self._expired(s, row, at)
            return len(found)

    def _expired(self, s: Session, row: TaskRow, at: datetime) -> None:
        after = rules.expire(rows.life(row), at=at)
        if after.state != row.state:
            holder = None if row.holder_id is None else person_of(s, row.holder_id)
            rows.put_life(row, after)
            self._log(s, "expire", project=row.project_id, person=holder, task=row)

    def _take(self, s: Session, row: TaskRow, person: UserRow, settings: ProjectSettings, at: datetime) -> None:
        self._expired(s, row, at)
        seconds = settings.lease_seconds
        life = rules.claim(rows.life(row), by=person.id, lease=new_lease(), at=at, seconds=seconds)
        rows.put_life(row, life)
        person.claims += 1
        self._log(s, "claim", project=row.project_id, person=person, task=row)

    def _held(
        self, s: Session, project: int, user: int, state: str, at: datetime, stage: Stage | None = None
    ) -> TaskRow | None:
        """The task somebody holds already, under a lease that has not run out."""
        query = sa.select(TaskRow).where(
            TaskRow.project_id == project, TaskRow.state == state, TaskRow.holder_id == user, TaskRow.expires > at
        )
        if stage is not None:
            query = query.where(TaskRow.stage == stage)
        return s.scalar(query.order_by(TaskRow.id).limit(1).with_for_update(key_share=True))

    def _assignment(self, s: Session, row: TaskRow) -> Assignment:
        newest = newest_document(s, row.id) or _prefill(s, row)
        return Assignment(
            task=rows.task(row),
            image=rows.image(get(s, ImageRow, row.image_id, "image")),
            lease=row.lease or "",
            expires=cast(datetime, row.expires),
            document=None if newest is None else rows.document(newest),
        )

    def _gold_turn(
        self, s: Session, project: int, person: UserRow, settings: ProjectSettings, stage: Stage | None
    ) -> TaskRow | None:
        """A known answer to reproduce, when it is this annotator's turn and one is left for them."""
        if not settings.gold_every or stage == "auto" or (person.claims + 1) % settings.gold_every:
            return None
        done = sa.select(TaskRow.image_id).where(TaskRow.purpose == "gold", TaskRow.for_person_id == person.id)
        query = (
            sa.select(DocumentRow)
            .join(ImageRow, ImageRow.id == DocumentRow.image_id)
            .where(DocumentRow.kind == "gold", ImageRow.project_id == project, DocumentRow.image_id.not_in(done))
            .order_by(DocumentRow.id.desc())
            .limit(1)
        )
        answer = s.scalar(query)
        if answer is None:
            return None
        image = get(s, ImageRow, answer.image_id, "image")
        return self._task(s, image, stage or "manual", "gold", person.id, for_person=person.id)[0]


def new_lease() -> str:
    """A key nobody can guess."""
    return secrets.token_urlsafe(24)


def _claimable(
    project: int, user: int, at: datetime, settings: ProjectSettings, stage: Stage | None
) -> sa.Select[TaskRow]:
    """Tasks an annotator may take now, the most urgent first."""
    kept_until = at - timedelta(seconds=settings.mend_seconds)
    mine_to_mend = sa.or_(TaskRow.author_id == user, TaskRow.changed <= kept_until)
    ran_out = sa.and_(TaskRow.state == "leased", TaskRow.expires <= at)
    query = sa.select(TaskRow).where(
        TaskRow.project_id == project,
        # in the statement's text, else the planner cannot know that the index of open tasks serves
        TaskRow.state.in_(sa.bindparam("open", OPEN_STATES, expanding=True, literal_execute=True)),
        sa.or_(
            TaskRow.state == "queued",
            sa.and_(TaskRow.state == "rejected", mine_to_mend),
            sa.and_(ran_out, sa.or_(~TaskRow.mending, mine_to_mend)),
        ),
        sa.or_(TaskRow.for_person_id.is_(None), TaskRow.for_person_id == user),
        ~sa.exists().where(
            _OTHER.image_id == TaskRow.image_id,
            _OTHER.stage == TaskRow.stage,
            _OTHER.id != TaskRow.id,
            _OTHER.purpose != "gold",
            TaskRow.purpose.in_(("work", "overlap")),
            sa.or_(_OTHER.author_id == user, _OTHER.holder_id == user),
        ),
    )
    if stage is not None:
        query = query.where(TaskRow.stage == stage)
    return query.order_by(TaskRow.mending.desc(), TaskRow.priority.desc(), TaskRow.id)


def _overlaps(image: ImageRow, settings: ProjectSettings) -> bool:
    return is_overlap(image.sha256, share=settings.overlap_share, seed=settings.seed)


def _by_lease(s: Session, lease: str, task: int | None = None) -> TaskRow:
    row = find_lease(s, lease, task)
    if row is None:
        raise no_lease()
    return row


def find_lease(s: Session, lease: str, task: int | None = None) -> TaskRow | None:
    """The task whose latest lease this is, locked; only this task's lease counts where one is named."""
    query = sa.select(TaskRow).where(TaskRow.lease == lease)
    if task is not None:
        query = query.where(TaskRow.id == task)
    return s.scalar(query.with_for_update(key_share=True))


def no_lease() -> LeaseError:
    """The error for a lease that no task has."""
    return LeaseError(
        "the lease must be a task's latest; this one is unknown, or somebody has taken the task since. "
        "Ask for the next task."
    )


def newest_document(s: Session, task: int) -> DocumentRow | None:
    """A task's latest document."""
    query = sa.select(DocumentRow).where(DocumentRow.task_id == task).order_by(DocumentRow.version.desc())
    return s.scalar(query.limit(1))


def _prefill(s: Session, row: TaskRow) -> DocumentRow | None:
    """What a second annotator of an image starts from: what the first one started from."""
    if row.purpose != "overlap":
        return None
    query = sa.select(DocumentRow).where(
        DocumentRow.image_id == row.image_id, DocumentRow.stage == row.stage, DocumentRow.kind == "prefill"
    )
    return s.scalar(query.order_by(DocumentRow.id.desc()).limit(1))
