"""Annotation documents: what people start from, what the sweep made, known answers, and what counts in the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.orm import Session

from segany.core.errors import DataError, NotFoundError, TransitionError
from segany.engine.config import STAGES, Purpose, Stage
from segany.engine.quality import AUDIT_IMAGES, AuditReport, audit_ious, audit_report, choose_audit
from segany.engine.store import rows
from segany.engine.store.base import StoreBase, get, person_of
from segany.engine.store.tables import DocumentRow, EventRow, ImageRow, TaskRow
from segany.engine.values import Accepted, StoredDocument, Task
from segany.records.annotation import AnnotationDocument

BATCH = 50
"""Documents read at a time when all are read."""


class DocumentStore(StoreBase):
    """Versions of images' annotations."""

    def task(self, task: int) -> Task:
        """One task.

        Raises:
            NotFoundError: there is none.
        """
        with self._read() as s:
            return rows.task(get(s, TaskRow, task, "task"))

    def tasks(
        self, project: int, *, stage: Stage | None = None, state: str | None = None, purpose: Purpose | None = None
    ) -> list[Task]:
        """A project's tasks in the order they were made."""
        query = sa.select(TaskRow).where(TaskRow.project_id == project)
        for column, wanted in ((TaskRow.stage, stage), (TaskRow.state, state), (TaskRow.purpose, purpose)):
            if wanted is not None:
                query = query.where(column == wanted)
        with self._read() as s:
            return [rows.task(row) for row in s.scalars(query.order_by(TaskRow.id))]

    def documents(self, task: int) -> list[StoredDocument]:
        """All versions of a task's annotations, the oldest first.

        Raises:
            NotFoundError: no such task.
        """
        with self._read() as s:
            get(s, TaskRow, task, "task")
            query = sa.select(DocumentRow).where(DocumentRow.task_id == task).order_by(DocumentRow.version)
            return [rows.document(row) for row in s.scalars(query)]

    def document(self, document: int) -> StoredDocument:
        """One version.

        Raises:
            NotFoundError: there is none.
        """
        with self._read() as s:
            return rows.document(get(s, DocumentRow, document, "document"))

    def set_prefill(
        self, image: int, stage: Stage, document: AnnotationDocument, *, model: int | None = None
    ) -> StoredDocument:
        """What an annotator starts from; the image joins the stage's queue. The same masks again change nothing.

        Raises:
            NotFoundError: no such image.
            DataError: the document is of another image.
            TransitionError: somebody has begun already.
        """
        with self._write() as s:
            row = get(s, ImageRow, image, "image", lock=True)
            check_image(document, row)
            task = self._task(s, row, stage, "work", 0)[0]
            known = s.scalar(_newest(DocumentRow.task_id == task.id))
            if known is not None and known.kind == "prefill" and _same_masks(known, document):
                return rows.document(known)
            if task.state != "queued" or task.submissions:
                raise TransitionError(f"a task can be filled only before anybody begins; this one is {task.state}.")
            kept = self._keep(s, document, "prefill", task=task, image=row, stage=stage, model=model)
            self._log(s, "prefill", project=row.project_id, task=task, document=kept.id, data={"masks": kept.masks})
            return rows.document(kept)

    def add_automatic(
        self, user: int, image: int, document: AnnotationDocument, *, key: str, model: int | None = None
    ) -> tuple[StoredDocument, bool]:
        """Masks that the sweep made, accepted as they are; they join stage "auto".

        Args:
            user: who runs the sweep.
            image: of the store.
            document: all masks.
            key: of this image in this run: the same call again changes nothing.
            model: which made them.

        Returns:
            The document, and whether it was there already.

        Raises:
            NotFoundError: no such person or image.
            DataError: the document is of another image.
        """
        with self._write() as s:
            person, row = person_of(s, user), get(s, ImageRow, image, "image", lock=True)
            check_image(document, row)
            known = s.scalar(sa.select(EventRow).where(EventRow.person_id == user, EventRow.key == key))
            if known is not None and known.document_id is not None:
                return rows.document(get(s, DocumentRow, known.document_id, "document")), True
            task = self._task(s, row, "auto", "work", 0, state="accepted")[0]
            task.state, task.changed = "accepted", self._clock()
            kept = self._keep(s, document, "automatic", task=task, image=row, stage="auto", person=person, model=model)
            self._log(s, "automatic", project=row.project_id, person=person, task=task, document=kept.id, key=key)
            return rows.document(kept), False

    def add_accepted(
        self, user: int, image: int, stage: Stage, document: AnnotationDocument, *, key: str
    ) -> tuple[StoredDocument, bool]:
        """Masks that were made elsewhere, accepted as they are, as on moving in with a finished data set.

        Args:
            user: who brings them.
            image: of the store.
            stage: which they count for.
            document: all masks.
            key: the same call again changes nothing.

        Returns:
            The document, and whether it was there already.

        Raises:
            NotFoundError: no such person or image.
            DataError: the document is of another image.
            TransitionError: somebody works on the image in this stage.
        """
        with self._write() as s:
            person, row = person_of(s, user), get(s, ImageRow, image, "image", lock=True)
            check_image(document, row)
            known = s.scalar(sa.select(EventRow).where(EventRow.person_id == user, EventRow.key == key))
            if known is not None and known.document_id is not None:
                return rows.document(get(s, DocumentRow, known.document_id, "document")), True
            task = self._task(s, row, stage, "work", 0)[0]
            if task.state not in ("queued", "accepted"):
                raise TransitionError(f"masks can be brought in only where nobody works; the task is {task.state}.")
            task.state, task.author_id, task.changed = "accepted", user, self._clock()
            kept = self._keep(s, document, "submission", task=task, image=row, stage=stage, person=person)
            self._log(s, "import", project=row.project_id, person=person, task=task, document=kept.id, key=key)
            return rows.document(kept), False

    def set_gold(self, user: int, image: int, document: AnnotationDocument) -> StoredDocument:
        """The known answer of an image, to test annotators with; the latest one counts, the same again changes nothing.

        Raises:
            NotFoundError: no such person or image.
            DataError: the document is of another image.
        """
        with self._write() as s:
            person, row = person_of(s, user), get(s, ImageRow, image, "image", lock=True)
            check_image(document, row)
            known = s.scalar(_newest(DocumentRow.image_id == image, DocumentRow.kind == "gold"))
            if known is not None and _same_masks(known, document):
                return rows.document(known)
            kept = self._keep(s, document, "gold", task=None, image=row, stage="manual", person=person)
            self._log(s, "answer", project=row.project_id, person=person, image=image, document=kept.id)
            return rows.document(kept)

    def accepted(
        self, project: int, stages: Sequence[Stage] = STAGES, *, simulated: bool | None = None
    ) -> Iterator[Accepted]:
        """Every image that is done, with the document that counts, in the order of the images.

        Args:
            project: whose.
            stages: an image that is done in several counts with the first of these.
            simulated: True only simulated people's, False only others', None all.
        """
        query = (
            sa.select(TaskRow.image_id, TaskRow.stage, sa.func.max(DocumentRow.version), TaskRow.id)
            .join(DocumentRow, DocumentRow.task_id == TaskRow.id)
            .where(
                TaskRow.project_id == project,
                TaskRow.purpose == "work",
                TaskRow.state == "accepted",
                TaskRow.stage.in_(stages),
            )
            .group_by(TaskRow.image_id, TaskRow.stage, TaskRow.id)
        )
        best: dict[int, tuple[int, int, int]] = {}
        with self._read() as s:
            for image, stage, version, task in s.execute(query):
                rank = (stages.index(cast(Stage, stage)), task, version)
                best[image] = min(best.get(image, rank), rank)
        wanted = [(image, task, version) for image, (_, task, version) in sorted(best.items())]
        for start in range(0, len(wanted), BATCH):
            with self._read() as s:
                found = [_chosen(s, image, task, version) for image, task, version in wanted[start : start + BATCH]]
            yield from (one for one in found if simulated is None or one.document.simulated == simulated)

    def open_audit(self, project: int, stage: Stage, *, count: int = AUDIT_IMAGES, seed: int = 0) -> int:
        """Put finished images up for improvement of every mask; those that are already stay as they are.

        Args:
            project: whose.
            stage: whose documents are audited.
            count: how many images, chosen by hash; 500 at most.
            seed: of the choice.

        Returns:
            How many images are in the audit now.
        """
        by_hash = {one.image.sha256: one for one in self.accepted(project, (stage,))}
        chosen = choose_audit(list(by_hash), count=count, seed=seed)
        with self._write() as s:
            for sha256 in chosen:
                one = by_hash[sha256]
                row = get(s, ImageRow, one.image.id, "image", lock=True)
                task, fresh = self._task(s, row, stage, "audit", 0)
                if fresh:
                    self._keep(s, one.document.document, "prefill", task=task, image=row, stage=stage)
        return len(self.tasks(project, stage=stage, purpose="audit"))

    def audit(self, project: int, stage: Stage) -> AuditReport:
        """What the audited images show so far."""
        found = []
        for task in self.tasks(project, stage=stage, purpose="audit", state="accepted"):
            versions = self.documents(task.id)
            found.append(audit_ious(versions[0].document, versions[-1].document))
        return audit_report(found)

    def _task(
        self,
        s: Session,
        image: ImageRow,
        stage: str,
        purpose: str,
        replica: int,
        *,
        priority: int = 0,
        for_person: int | None = None,
        state: str = "queued",
    ) -> tuple[TaskRow, bool]:
        """The task of an image, made if there is none; whether it was made."""
        query = sa.select(TaskRow).where(
            TaskRow.image_id == image.id,
            TaskRow.stage == stage,
            TaskRow.purpose == purpose,
            TaskRow.replica == replica,
        )
        if (row := s.scalar(query.with_for_update(key_share=True))) is not None:
            return row, False
        at = self._clock()
        row = TaskRow(
            project_id=image.project_id,
            image_id=image.id,
            stage=stage,
            purpose=purpose,
            replica=replica,
            for_person_id=for_person,
            priority=priority,
            state=state,
            submissions=0,
            rejections=0,
            mending=False,
            changed=at,
            created=at,
        )
        try:
            with s.begin_nested():
                s.add(row)
        except exc.IntegrityError:  # made by somebody else in this very moment
            found = s.scalar(query.with_for_update(key_share=True))
            if found is None:
                raise
            return found, False
        return row, True


def check_image(document: AnnotationDocument, image: ImageRow) -> None:
    """A document belongs to its image.

    Raises:
        DataError: it is another's.
    """
    said = (document.sha256, document.height, document.width)
    if said != (image.sha256, image.height, image.width):
        raise DataError(
            f"a document must be of its task's image, {image.width} x {image.height}, SHA-256 {image.sha256[:12]}...; "
            f"got {document.width} x {document.height}, {document.sha256[:12]}.... Load the task's own image."
        )


def _newest(*which: sa.ColumnElement[bool]) -> sa.Select[DocumentRow]:
    return sa.select(DocumentRow).where(*which).order_by(DocumentRow.id.desc()).limit(1)


def _same_masks(row: DocumentRow, document: AnnotationDocument) -> bool:
    kept = rows.document(row).document.annotations
    return [one.mask.to_dict() for one in kept] == [one.mask.to_dict() for one in document.annotations]


def _chosen(s: Session, image: int, task: int, version: int) -> Accepted:
    query = sa.select(DocumentRow).where(DocumentRow.task_id == task, DocumentRow.version == version)
    row = s.scalar(query)
    if row is None:
        raise NotFoundError(f"there must be a version {version} of task {task}; there is none.")
    return Accepted(image=rows.image(get(s, ImageRow, image, "image")), document=rows.document(row))
