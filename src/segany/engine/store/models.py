"""Weights in use, rounds of the loop, and what was written out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from segany.core.errors import DataError, NotFoundError, TransitionError
from segany.core.files import atomic_path, sha256_file
from segany.engine.config import Stage
from segany.engine.store import rows
from segany.engine.store.base import StoreBase, get, person_of
from segany.engine.store.tables import ArtefactRow, ModelRow, ProjectRow, PublicationRow, RoundRow
from segany.engine.values import Artefact, ModelVersion, Round


class ModelStore(StoreBase):
    """Versions of the model."""

    def register_model(
        self,
        project: int,
        name: str,
        weights: str | Path,
        *,
        fingerprint: str,
        metrics: Mapping[str, Any] | None = None,
    ) -> ModelVersion:
        """Take weights in; the file is copied, so that going back always works. Known ones are given back.

        Args:
            project: whose.
            name: what to call them.
            weights: the file.
            fingerprint: of the model that they make.
            metrics: what was measured of it.

        Raises:
            NotFoundError: no such project.
            DataError: there is no file.
        """
        source = Path(weights)
        if not source.is_file():
            raise DataError(f"expected a file of weights at {source}; there is none. Check the path.")
        target = self.folder / "models" / f"{sha256_file(source)}{source.suffix}"
        if not target.is_file():
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)
        with self._write() as s:
            get(s, ProjectRow, project, "project", lock=True)
            same = sa.select(ModelRow).where(ModelRow.project_id == project, ModelRow.fingerprint == fingerprint)
            if (row := s.scalar(same)) is None:
                row = ModelRow(
                    project_id=project,
                    name=name,
                    fingerprint=fingerprint,
                    path=str(target.relative_to(self.folder)),
                    metrics=dict(metrics or {}),
                    created=self._clock(),
                )
                s.add(row)
                s.flush()
            return rows.model(row)

    def models(self, project: int) -> list[ModelVersion]:
        """All weights of a project, in the order they came."""
        with self._read() as s:
            query = sa.select(ModelRow).where(ModelRow.project_id == project).order_by(ModelRow.id)
            return [rows.model(row) for row in s.scalars(query)]

    def model(self, model: int) -> ModelVersion:
        """One of them.

        Raises:
            NotFoundError: there is none.
        """
        with self._read() as s:
            return rows.model(get(s, ModelRow, model, "model"))

    def model_path(self, model: ModelVersion) -> Path:
        """Where the file of weights lies."""
        return self.folder / model.path

    def publish_model(self, model: int, *, user: int | None = None, reason: str = "") -> ModelVersion:
        """Put weights into use; those in use already stay as they are.

        Raises:
            NotFoundError: no such model or person.
        """
        with self._write() as s:
            row = get(s, ModelRow, model, "model")
            get(s, ProjectRow, row.project_id, "project", lock=True)
            current = _current(s, row.project_id)
            if current is None or current.model_id != model:
                self._publish(s, row, current.id if current else None, user, reason, "publish")
            return rows.model(row)

    def rollback(self, project: int, *, user: int | None = None, reason: str = "") -> ModelVersion:
        """Back to the weights that were in use before; may be repeated down to the first.

        Raises:
            NotFoundError: no such project or person.
            TransitionError: nothing was in use before.
        """
        with self._write() as s:
            get(s, ProjectRow, project, "project", lock=True)
            current = _current(s, project)
            if current is None or current.previous_id is None:
                raise TransitionError("there must be weights that were in use before these; there are none.")
            before = get(s, PublicationRow, current.previous_id, "publication")
            row = get(s, ModelRow, before.model_id, "model")
            self._publish(s, row, before.previous_id, user, reason, "rollback")
            return rows.model(row)

    def current_model(self, project: int) -> ModelVersion | None:
        """The weights in use; None before the first are published."""
        with self._read() as s:
            current = _current(s, project)
            return None if current is None else rows.model(get(s, ModelRow, current.model_id, "model"))

    def current_models(self) -> dict[int, ModelVersion]:
        """Project to the weights in use, for every project that has published any."""
        newest = sa.select(sa.func.max(PublicationRow.id)).group_by(PublicationRow.project_id)
        query = (
            sa.select(ModelRow)
            .join(PublicationRow, PublicationRow.model_id == ModelRow.id)
            .where(PublicationRow.id.in_(newest))
        )
        with self._read() as s:
            return {row.project_id: rows.model(row) for row in s.scalars(query)}

    def open_round(self, project: int, stage: Stage, *, snapshot: str | None = None) -> Round:
        """Begin a round, or go on with the one that is open.

        Args:
            project: whose.
            stage: whose masks are new.
            snapshot: hash of what is trained on.

        Raises:
            NotFoundError: no such project.
        """
        with self._write() as s:
            get(s, ProjectRow, project, "project", lock=True)
            mine = sa.select(RoundRow).where(RoundRow.project_id == project)
            row = s.scalar(mine.where(RoundRow.state == "open"))
            if row is None:
                number = s.scalar(sa.select(sa.func.max(RoundRow.number)).where(RoundRow.project_id == project)) or 0
                current = _current(s, project)
                row = RoundRow(
                    project_id=project,
                    number=number + 1,
                    stage=stage,
                    state="open",
                    model_before_id=current.model_id if current else None,
                    published=False,
                    metrics={},
                    note="",
                    opened=self._clock(),
                )
                s.add(row)
            row.snapshot = snapshot or row.snapshot
            s.flush()
            return rows.round_(row)

    def close_round(
        self,
        round: int,
        *,
        model: int | None = None,
        published: bool = False,
        metrics: Mapping[str, Any] | None = None,
        note: str = "",
        failed: bool = False,
    ) -> Round:
        """End a round; closing a closed one changes nothing.

        Args:
            round: which.
            model: the weights it made.
            published: whether they went into use.
            metrics: what was measured.
            note: why it ended like this.
            failed: whether it broke off.

        Raises:
            NotFoundError: no such round.
        """
        with self._write() as s:
            row = get(s, RoundRow, round, "round", lock=True)
            if row.state == "open":
                row.state = "failed" if failed else "closed"
                row.model_after_id, row.published = model, published
                row.metrics, row.note, row.closed = dict(metrics or {}), note, self._clock()
            return rows.round_(row)

    def rounds(self, project: int) -> list[Round]:
        """All rounds of a project, the first first."""
        with self._read() as s:
            query = sa.select(RoundRow).where(RoundRow.project_id == project).order_by(RoundRow.number)
            return [rows.round_(row) for row in s.scalars(query)]

    def record_artefact(
        self,
        project: int,
        kind: Literal["snapshot", "release"],
        *,
        sha256: str,
        folder: Path,
        stages: Sequence[Stage],
        images: int,
        masks: int,
        report: Mapping[str, Any],
    ) -> Artefact:
        """Write down that a snapshot or a release was made; the same content twice is one.

        Raises:
            NotFoundError: no such project.
        """
        place = str(folder.relative_to(self.folder) if folder.is_relative_to(self.folder) else folder)
        with self._write() as s:
            get(s, ProjectRow, project, "project", lock=True)
            same = sa.select(ArtefactRow).where(
                ArtefactRow.project_id == project, ArtefactRow.kind == kind, ArtefactRow.sha256 == sha256
            )
            if (row := s.scalar(same)) is None:
                row = ArtefactRow(
                    project_id=project,
                    kind=kind,
                    sha256=sha256,
                    folder=place,
                    stages=list(stages),
                    images=images,
                    masks=masks,
                    report=dict(report),
                    created=self._clock(),
                )
                s.add(row)
                s.flush()
                self._log(s, kind, project=project, data={"sha256": sha256, "images": images, "masks": masks})
            row.folder = place
            return rows.artefact(row)

    def artefacts(self, project: int, kind: Literal["snapshot", "release"]) -> list[Artefact]:
        """All snapshots or releases of a project, the first first."""
        query = sa.select(ArtefactRow).where(ArtefactRow.project_id == project, ArtefactRow.kind == kind)
        with self._read() as s:
            return [rows.artefact(row) for row in s.scalars(query.order_by(ArtefactRow.id))]

    def artefact_path(self, artefact: Artefact) -> Path:
        """Where a snapshot or a release lies.

        Raises:
            NotFoundError: it is gone.
        """
        path = self.folder / artefact.folder
        if not path.is_dir():
            raise NotFoundError(f"expected the {artefact.kind} at {path}; it is gone. Make it again.")
        return path

    def _publish(
        self, s: Session, row: ModelRow, previous: int | None, user: int | None, reason: str, kind: str
    ) -> None:
        person = None if user is None else person_of(s, user)
        s.add(
            PublicationRow(
                project_id=row.project_id,
                model_id=row.id,
                previous_id=previous,
                person_id=user,
                reason=reason,
                at=self._clock(),
            )
        )
        told = {"model": row.id, "fingerprint": row.fingerprint}
        self._log(s, kind, project=row.project_id, person=person, reason=reason or None, data=told)


def _current(s: Session, project: int) -> PublicationRow | None:
    query = sa.select(PublicationRow).where(PublicationRow.project_id == project)
    return s.scalar(query.order_by(PublicationRow.id.desc()).limit(1))
