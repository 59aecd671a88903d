"""One thread that does the automatic jobs, oldest first, and gives way to people who wait for a click."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from segany.core.errors import Cancelled, SeganyError
from segany.core.progress import CancelCheck, Progress
from segany.records.ids import image_id_for
from segany.records.record import ImageRecord, MaskRecord
from segany.records.sa1b import to_sa1b
from segany.service.errors import ApiError, busy
from segany.service.images import ImageStore
from segany.service.jobs import Job, JobStore, now
from segany.service.metrics import Metrics

LOG = structlog.get_logger("segany.service.jobs")
GIVE_WAY_S = 0.5
"""Longest that a job waits, between two of its steps, for clicks to be answered."""


class MaskSource(Protocol):
    """Whatever turns a photo into records."""

    def __call__(
        self, rgb: Any, *, progress: Progress | None = None, cancelled: CancelCheck | None = None
    ) -> list[MaskRecord]:
        """The masks of one photo."""
        ...


SourceOf = Callable[[str, dict[str, Any]], MaskSource]
"""Model name and knobs → what makes the masks."""


class JobRunner:
    """Does queued jobs one by one.

    Args:
        store: the jobs.
        images: the photos.
        source_of: what makes the masks.
        others_wait: whether people wait for the processor.
        most_waiting: jobs that may be queued.
        metrics: counts how jobs end.
    """

    def __init__(
        self,
        store: JobStore,
        images: ImageStore,
        source_of: SourceOf,
        *,
        others_wait: Callable[[], bool],
        most_waiting: int,
        metrics: Metrics,
    ) -> None:
        self._store, self._images, self._source_of = store, images, source_of
        self._others_wait, self._limit, self._metrics = others_wait, most_waiting, metrics
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="segany-jobs", daemon=True)

    def start(self) -> None:
        """Begin with what is queued."""
        self._thread.start()

    def submit(self, *, kind: str, image: str, model: str, knobs: dict[str, Any], owner: int | None = None) -> Job:
        """Queue a job.

        Raises:
            ApiError: 503, too many wait.
        """
        with self._changed:
            if self._stopped or len(self._store.queued()) >= self._limit:
                raise busy("the queue of jobs", seconds=30)
            job = self._store.create(kind=kind, image=image, model=model, knobs=knobs, owner=owner)
            self._changed.notify()
        return job

    def cancel(self, id: str) -> Job:
        """Stop a job, or take it off the queue; a finished one stays as it is.

        Raises:
            ApiError: 404, no such job.
        """
        self._store.get(id)
        if self._store.change(id, status="cancelled", finished=now()) is not None:
            self._metrics.jobs.labels("cancelled").inc()
        return self._store.get(id)

    def stop(self) -> None:
        """End the thread; the job it is at is queued again, for the next start."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            self._do(job)

    def _next(self) -> Job | None:
        with self._changed:
            while not self._stopped:
                for job in self._store.queued():
                    started = self._store.change(job.id, only=("queued",), status="running", starts=job.starts + 1)
                    if started is not None:
                        return started
                self._changed.wait()
        return None

    def _do(self, job: Job) -> None:
        try:
            photo = self._images.get(job.image)
            source = self._source_of(job.model, job.knobs)
            records = source(
                self._images.pixels(job.image),
                progress=lambda done, total: self._progress(job.id, done, total),
                cancelled=lambda: self._must_stop(job.id),
            )
            name = photo.path.with_suffix("").name
            record = ImageRecord(
                image_id=image_id_for(name, photo.path),
                width=photo.width,
                height=photo.height,
                file_name=name,
                annotations=tuple(records),
            )
            self._store.finish(job.id, to_sa1b(record))
            self._metrics.jobs.labels("done").inc()
        except Cancelled:
            self._store.change(job.id, only=("running",), status="queued", done=0, total=0, starts=job.starts - 1)
        except (SeganyError, ApiError) as error:
            self._fail(job, error.message if isinstance(error, ApiError) else str(error))
        except Exception as error:
            LOG.error("job_failed", job=job.id, kind=type(error).__name__, exc_info=error)
            self._fail(job, "expected masks; got a fault of the service itself. Try again; its log says what happened.")

    def _fail(self, job: Job, reason: str) -> None:
        self._metrics.jobs.labels("failed").inc()
        self._store.change(job.id, only=("running",), status="failed", error=reason, finished=now())

    def _progress(self, id: str, done: int, total: int) -> None:
        self._store.change(id, only=("running",), done=done, total=total)

    def _must_stop(self, id: str) -> bool:
        until = time.monotonic() + GIVE_WAY_S
        while self._others_wait() and time.monotonic() < until and not self._stopped:
            time.sleep(0.002)
        return self._stopped or self._store.get(id).status != "running"
