"""Automatic jobs on disk: one folder each, atomic files, so that a kill loses nothing but the steps of the moment."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import structlog

from segany.core.files import atomic_write_json, atomic_write_text
from segany.service.errors import ApiError

LOG = structlog.get_logger("segany.service.jobs")
Status = Literal["queued", "running", "done", "failed", "cancelled"]
UNFINISHED: tuple[Status, ...] = ("queued", "running")
MOST_STARTS = 3
"""A job that was running at this many sudden ends of the service is not tried again."""
ID = re.compile(r"[0-9a-f]{32}")
JOB, RECORDS = "job.json", "records.json"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a job is and how far it got. Never changed: a step makes a new one."""

    id: str
    kind: str
    image: str
    """Key of the photo."""
    model: str
    owner: int | None = None
    """Number of the account that began it; None where nobody had one."""
    knobs: dict[str, Any] = field(default_factory=dict)
    status: Status = "queued"
    done: int = 0
    """Clicks made."""
    total: int = 0
    """Clicks in all; 0 before it is known."""
    masks: int | None = None
    """Masks found, when done."""
    error: str | None = None
    """What was wrong, when failed."""
    created: str = ""
    """UTC, ISO 8601."""
    number: int = 0
    """Place in the order of creation: a clock may stand still or go back."""
    finished: str | None = None
    starts: int = 0
    """How often it was begun."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.status not in UNFINISHED


def now() -> str:
    """This moment, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class JobStore:
    """Jobs by id; serves many threads. Progress is kept in memory, every other change also on disk.

    Args:
        folder: theirs alone. Jobs found there that were queued or running are queued again.
        keep: jobs remembered; the oldest finished ones go first.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self._keep = folder, keep
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        found = [job for path in folder.iterdir() if path.is_dir() and (job := self._read(path)) is not None]
        for job in sorted(found, key=lambda job: (job.number, job.created, job.id)):
            self._jobs[job.id] = job
            if not job.is_finished:
                self._requeue_after_kill(job)

    def create(self, *, kind: str, image: str, model: str, knobs: dict[str, Any], owner: int | None = None) -> Job:
        """A new queued job, on disk when this returns."""
        id = secrets.token_hex(16)
        job = Job(id=id, kind=kind, image=image, model=model, owner=owner, knobs=knobs, created=now())
        with self._lock:
            job = replace(job, number=max((one.number for one in self._jobs.values()), default=0) + 1)
            self._write(job)
            self._jobs[job.id] = job
            self._forget_old()
        return job

    def get(self, id: str, may_see: Callable[[int | None], bool] | None = None) -> Job:
        """A job.

        Args:
            id: the job's.
            may_see: whether a job of this owner may be told of; None for the service itself.

        Raises:
            ApiError: 404, there is none, or it is another's.
        """
        with self._lock:
            job = self._jobs.get(id)
            if job is None or (may_see is not None and not may_see(job.owner)):
                raise ApiError(
                    404,
                    "job_unknown",
                    f"expected the id of a job; got {id}, which is not there. Old finished jobs are forgotten: "
                    "start a new one.",
                )
            return job

    def all(self) -> list[Job]:
        """Every job, oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def queued(self) -> list[Job]:
        """Jobs to do, oldest first."""
        return [job for job in self.all() if job.status == "queued"]

    def uses(self, image: str) -> bool:
        """Whether an unfinished job needs a photo."""
        return any(job.image == image and not job.is_finished for job in self.all())

    def change(self, id: str, *, only: tuple[Status, ...] = UNFINISHED, **values: Any) -> Job | None:
        """Change a job that is in one of the states `only`, and tell who listens.

        Returns:
            The job as it is now; None when it was in another state, or gone.
        """
        with self._lock:
            job = self._jobs.get(id)
            if job is None or job.status not in only:
                return None
            job = replace(job, **values)
            if set(values) - {"done", "total"}:
                self._write(job)
            self._jobs[id] = job
            listeners = list(self._listeners.get(id, ()))
        for tell in listeners:
            tell()
        return job

    def finish(self, id: str, records: dict[str, Any]) -> None:
        """Keep the result, then call the job done; a job that was cancelled meanwhile stays so."""
        atomic_write_text(self.folder / id / RECORDS, json.dumps(records, allow_nan=False))
        self.change(id, status="done", finished=now(), masks=len(records["annotations"]))

    def records(self, id: str) -> Path:
        """The file with a done job's masks.

        Raises:
            ApiError: 404, no such job; 409, it is not done.
        """
        job = self.get(id)
        if job.status != "done":
            raise ApiError(
                409,
                "job_not_done",
                f"expected a job that is done; this one is {job.status}. Wait for its event `done`.",
            )
        return self.folder / id / RECORDS

    def listen(self, id: str, tell: Callable[[], None]) -> Callable[[], None]:
        """Call `tell` after every change of a job, from whatever thread; returns what ends it."""
        with self._lock:
            self._listeners.setdefault(id, []).append(tell)

        def end() -> None:
            with self._lock:
                self._listeners[id].remove(tell)
                if not self._listeners[id]:
                    del self._listeners[id]

        return end

    def _requeue_after_kill(self, job: Job) -> None:
        if job.status == "running" and job.starts >= MOST_STARTS:
            reason = (
                f"expected to finish; the service ended suddenly {job.starts} times during it. Try a smaller photo."
            )
            self.change(job.id, status="failed", error=reason, finished=now())
        else:
            self.change(job.id, status="queued", done=0, total=0)

    def _forget_old(self) -> None:
        finished = [job for job in self._jobs.values() if job.is_finished]
        for job in finished[: max(0, len(self._jobs) - self._keep)]:
            del self._jobs[job.id]
            shutil.rmtree(self.folder / job.id, ignore_errors=True)

    def _write(self, job: Job) -> None:
        atomic_write_json(self.folder / job.id / JOB, asdict(job))

    def _read(self, folder: Path) -> Job | None:
        try:
            job = Job(**json.loads((folder / JOB).read_text(encoding="utf-8")))
            if not ID.fullmatch(job.id) or job.id != folder.name or job.status not in get_args(Status):
                raise ValueError("another job's")
            if job.status == "done" and not (folder / RECORDS).is_file():
                raise ValueError("without its records")
            return job
        except (OSError, ValueError, TypeError) as error:
            LOG.warning("job_unreadable", folder=folder.name, reason=str(error))
            return None
