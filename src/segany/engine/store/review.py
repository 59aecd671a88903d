"""Reviewers' work: accept, fix, or send back with a reason."""

from __future__ import annotations

from typing import get_args

import sqlalchemy as sa
from sqlalchemy.orm import Session

from segany.core.errors import TransitionError
from segany.engine import life as rules
from segany.engine.life import Verdict
from segany.engine.store import rows
from segany.engine.store.base import get, person_of, require_role
from segany.engine.store.documents import check_image
from segany.engine.store.queue import find_lease, new_lease, newest_document, no_lease
from segany.engine.store.tables import ImageRow, ProjectRow, TaskRow, UserRow
from segany.engine.store.work import WorkStore, document_sha256
from segany.engine.values import Assignment, Outcome, Task
from segany.records.annotation import AnnotationDocument


class ReviewStore(WorkStore):
    """What reviewers do."""

    def next_review(self, project: int, user: int) -> Assignment | None:
        """The next submission to judge, under a lease; the one they hold already, if they do.

        Returns:
            None when there is nothing to judge but their own work.

        Raises:
            NotFoundError: no such project or person.
            AccessError: not a reviewer.
        """
        with self._write() as s:
            person = person_of(s, user, lock=True)
            require_role(person, "reviewer")
            settings = rows.project(get(s, ProjectRow, project, "project")).settings
            at, seconds = self._clock(), settings.review_seconds
            row = self._held(s, project, user, "in_review", at)
            if row is not None:
                life = rules.heartbeat(rows.life(row), by=user, lease=row.lease or "", at=at, seconds=seconds)
            else:
                ran_out = sa.and_(TaskRow.state == "in_review", TaskRow.expires <= at)
                query = sa.select(TaskRow).where(
                    TaskRow.project_id == project, sa.or_(TaskRow.state == "submitted", ran_out)
                )
                if not settings.self_review:
                    query = query.where(TaskRow.author_id != user)
                query = query.order_by(TaskRow.rejections.desc(), TaskRow.priority.desc(), TaskRow.id)
                row = s.scalar(query.limit(1).with_for_update(key_share=True, skip_locked=True))
                if row is None:
                    return None
                self._expired(s, row, at)
                alone = settings.self_review
                life = rules.claim_review(
                    rows.life(row), by=user, lease=new_lease(), at=at, seconds=seconds, self_review=alone
                )
            rows.put_life(row, life)
            return self._assignment(s, row)

    def review(
        self,
        user: int,
        lease: str,
        verdict: Verdict,
        *,
        key: str,
        reason: str = "",
        document: AnnotationDocument | None = None,
        active_seconds: float = 0.0,
        task: int | None = None,
    ) -> Outcome:
        """Judge a submission.

        Args:
            user: the reviewer.
            lease: of the task.
            verdict: "accept" as it is, "fix" with the mended document, "reject" with a reason.
            key: made by the client, new for every verdict: the same call again changes nothing.
            reason: why; needed to reject.
            document: all masks as they should be; only with "fix".
            active_seconds: how long it took.
            task: the lease must be of this one, where it is named.

        Raises:
            LeaseError: not their lease, or somebody has taken the task since.
            TransitionError: another verdict, no reason, a document missing or too many, or the key is a used one.
            AccessError: not a reviewer.
            DataError: the document is of another image.
        """
        if verdict not in get_args(Verdict) or (verdict == "fix") != (document is not None):
            raise TransitionError("a verdict must be accept, reject, or fix, and only fix comes with a document.")
        with self._write() as s:
            digest = None if document is None else document_sha256(document)
            if known := self._repeated(s, user, key, (verdict,), digest, task):
                return known
            row = find_lease(s, lease, task)
            if row is None:
                if known := self._repeated(s, user, key, (verdict,), digest, task):
                    return known
                raise no_lease()
            person = person_of(s, user)
            require_role(person, "reviewer")
            if verdict == "reject":
                life = rules.reject(rows.life(row), by=user, lease=lease, reason=reason)
            else:
                life = rules.accept(rows.life(row), by=user, lease=lease)
            rows.put_life(row, life)
            row.changed = self._clock()
            kept = self._judged(s, row, person, document)
            event = self._log(
                s,
                verdict,
                project=row.project_id,
                person=person,
                task=row,
                document=kept,
                key=key,
                active_seconds=active_seconds,
                reason=reason.strip() or None,
                data={} if digest is None else {"sha256": digest},
            )
            return Outcome(task=rows.task(row), event=event.id, document=kept, repeated=False)

    def reopen(self, user: int, task: int, *, reason: str = "") -> Task:
        """Put a finished task back into the queue; its documents stay.

        Raises:
            NotFoundError: no such person or task.
            AccessError: not an admin.
            TransitionError: it is not finished.
        """
        with self._write() as s:
            person = person_of(s, user)
            require_role(person, "admin")
            row = get(s, TaskRow, task, "task", lock=True)
            rows.put_life(row, rules.reopen(rows.life(row)))
            row.changed = self._clock()
            self._log(s, "reopen", project=row.project_id, person=person, task=row, reason=reason or None)
            return rows.task(row)

    def _judged(self, s: Session, row: TaskRow, person: UserRow, document: AnnotationDocument | None) -> int | None:
        """The document a verdict is about: the mended one, or the one that was handed in."""
        if document is None:
            newest = newest_document(s, row.id)
            return None if newest is None else newest.id
        image = get(s, ImageRow, row.image_id, "image")
        check_image(document, image)
        return self._keep(s, document, "fix", task=row, image=image, stage=row.stage, person=person).id
