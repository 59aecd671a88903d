"""Annotators' work: handing in and skipping. A write repeated under its key changes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from segany.core.errors import TransitionError
from segany.engine import life as rules
from segany.engine.quality import agreement, gold_score, needs_review
from segany.engine.store import rows
from segany.engine.store.base import get, person_of
from segany.engine.store.documents import check_image
from segany.engine.store.queue import QueueStore, find_lease, newest_document, no_lease
from segany.engine.store.tables import DocumentRow, EventRow, ImageRow, ProjectRow, TaskRow, UserRow
from segany.engine.values import Outcome
from segany.records.annotation import AnnotationDocument

GOLD_MEMORY = 5
"""How many of an annotator's latest known answers say how much of their work is looked at."""


class WorkStore(QueueStore):
    """What annotators do."""

    def submit(
        self, user: int, lease: str, document: AnnotationDocument, *, key: str, task: int | None = None
    ) -> Outcome:
        """Hand a document in.

        Args:
            user: the annotator.
            lease: of the task.
            document: all masks of the image.
            key: made by the client, new for every submission: the same call again changes nothing and tells what
                the first one did.
            task: the lease must be of this one, where it is named.

        Raises:
            LeaseError: not their lease, or somebody has taken the task since.
            TransitionError: the key was used for something else.
            DataError: the document is of another image.
        """
        with self._write() as s:
            digest = document_sha256(document)
            if known := self._repeated(s, user, key, ("submit",), digest, task):
                return known
            row = find_lease(s, lease, task)
            if row is None:  # perhaps by the same call, which has just been committed
                if known := self._repeated(s, user, key, ("submit",), digest, task):
                    return known
                raise no_lease()
            person, image = person_of(s, user), get(s, ImageRow, row.image_id, "image")
            check_image(document, image)
            review = row.purpose == "work" and self._needs_review(s, row, person, image)
            rows.put_life(row, rules.submit(rows.life(row), by=user, lease=lease, review=review))
            row.changed = self._clock()
            before = newest_document(s, row.id)
            kept = self._keep(s, document, "submission", task=row, image=image, stage=row.stage, person=person)
            sitting = kept.active_seconds - (before.active_seconds if before and before.kind != "prefill" else 0.0)
            event = self._log(
                s,
                "submit",
                project=row.project_id,
                person=person,
                task=row,
                document=kept.id,
                key=key,
                active_seconds=max(0.0, sitting),
                data={"sha256": digest},
            )
            if not review:
                self._log(s, "accept", project=row.project_id, task=row, document=kept.id, simulated=person.simulated)
            self._compare(s, row, document, person)
            return Outcome(task=rows.task(row), event=event.id, document=kept.id, repeated=False)

    def skip(
        self, user: int, lease: str, reason: str, *, key: str, active_seconds: float = 0.0, task: int | None = None
    ) -> Outcome:
        """Leave an image for good, with a reason.

        Args:
            user: the annotator.
            lease: of the task.
            reason: why.
            key: as in `submit`.
            active_seconds: how long they looked at it.
            task: the lease must be of this one, where it is named.

        Raises:
            LeaseError: not their lease, or somebody has taken the task since.
            TransitionError: no reason, or the key was used for something else.
        """
        with self._write() as s:
            if known := self._repeated(s, user, key, ("skip",), None, task):
                return known
            row = find_lease(s, lease, task)
            if row is None:
                if known := self._repeated(s, user, key, ("skip",), None, task):
                    return known
                raise no_lease()
            rows.put_life(row, rules.skip(rows.life(row), by=user, lease=lease, reason=reason))
            row.changed = self._clock()
            event = self._log(
                s,
                "skip",
                project=row.project_id,
                person=person_of(s, user),
                task=row,
                key=key,
                active_seconds=active_seconds,
                reason=row.reason,
            )
            return Outcome(task=rows.task(row), event=event.id, document=None, repeated=False)

    def _repeated(
        self, s: Session, user: int, key: str, kinds: Sequence[str], sha256: str | None, only: int | None = None
    ) -> Outcome | None:
        if not 8 <= len(key) <= 100:
            raise TransitionError(f"a write's key must have 8 to 100 characters, such as a UUID; got {len(key)}.")
        event = s.scalar(sa.select(EventRow).where(EventRow.person_id == user, EventRow.key == key))
        if event is None:
            return None
        same = event.kind in kinds and event.data.get("sha256") == sha256
        if not same or event.task_id is None or only not in (None, event.task_id):
            raise TransitionError("a write's key must be new; this one was used for something else. Make another.")
        task = get(s, TaskRow, event.task_id, "task")
        return Outcome(task=rows.task(task), event=event.id, document=event.document_id, repeated=True)

    def _needs_review(self, s: Session, row: TaskRow, person: UserRow, image: ImageRow) -> bool:
        settings = rows.project(get(s, ProjectRow, row.project_id, "project")).settings
        mine = (EventRow.project_id == row.project_id, EventRow.person_id == person.id)
        earlier = s.scalar(sa.select(sa.func.count()).where(*mine, EventRow.kind == "submit")) or 0
        latest = sa.select(EventRow.data).where(*mine, EventRow.kind == "gold").order_by(EventRow.id.desc())
        gold = [float(data["mean_iou"]) for data in s.scalars(latest.limit(GOLD_MEMORY))]
        return needs_review(settings, image.sha256, earlier=earlier, rejections=row.rejections, gold=gold)

    def _compare(self, s: Session, row: TaskRow, document: AnnotationDocument, person: UserRow) -> None:
        """Measure a submission against what it was asked for: a known answer, or another annotator's."""
        if row.purpose == "gold":
            answer = s.scalar(
                sa.select(DocumentRow)
                .where(DocumentRow.image_id == row.image_id, DocumentRow.kind == "gold")
                .order_by(DocumentRow.id.desc())
                .limit(1)
            )
            if answer is not None:
                score = gold_score(document, _parsed(answer))
                self._log(s, "gold", project=row.project_id, person=person, task=row, data=vars(score))
        elif row.purpose in ("work", "overlap"):
            query = sa.select(TaskRow).where(
                TaskRow.image_id == row.image_id,
                TaskRow.stage == row.stage,
                TaskRow.id != row.id,
                TaskRow.purpose.in_(("work", "overlap")),
                TaskRow.submissions > 0,
            )
            for other in s.scalars(query.order_by(TaskRow.id)):
                theirs = newest_document(s, other.id)
                if theirs is not None:
                    told = {**agreement(document, _parsed(theirs)).to_json(), "other": other.id}
                    self._log(s, "agreement", project=row.project_id, person=person, task=row, data=told)


def document_sha256(document: AnnotationDocument) -> str:
    """Of what a document says, whatever the order of its keys."""
    spelled = json.dumps(document.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(spelled.encode()).hexdigest()


def _parsed(row: DocumentRow) -> AnnotationDocument:
    return rows.document(row).document
