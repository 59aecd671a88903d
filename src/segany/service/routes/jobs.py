"""Automatic masks as jobs: begun, watched, cancelled, fetched."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse, StreamingResponse

from segany.service.jobs import Job
from segany.service.parts import AskerOf, Parts, PartsOf
from segany.service.schemas import JobInfo, JobRequest, Progress, RecordsAnswer
from segany.service.sources import check_knobs

router = APIRouter(prefix="/jobs", tags=["jobs"])

IdInPath = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])]
LOOK_AGAIN_S = 1.0
"""How often a stream looks whether the service is being stopped."""
EVENTS = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "description": "One event; its data is a `JobInfo` as JSON.",
            "properties": {
                "event": {"type": "string", "enum": ["progress", "done", "failed", "cancelled"]},
                "data": {"type": "string"},
            },
        },
    }
}


@router.post("", status_code=202)
async def start_job(parts: PartsOf, asker: AskerOf, body: JobRequest) -> JobInfo:
    """Queue a search for everything in a photo. Jobs are done one by one, and survive a restart of the service."""
    model = await parts.model_name(body.model, body.image)
    check_knobs(body.knobs, parts.settings)
    await parts.files.run(parts.images.get, body.image)
    job = await parts.files.run(
        lambda: parts.runner.submit(kind=body.kind, image=body.image, model=model, knobs=body.knobs, owner=asker.owner)
    )
    return job_info(job)


@router.get("")
async def list_jobs(parts: PartsOf, asker: AskerOf) -> list[JobInfo]:
    """Every job that is remembered, oldest first; where people have accounts, one's own, and for admins everybody's."""
    return [job_info(job) for job in parts.jobs.all() if asker.may_see(job.owner)]


@router.get("/{id}")
async def get_job(parts: PartsOf, asker: AskerOf, id: IdInPath) -> JobInfo:
    """How far a job is."""
    return job_info(parts.jobs.get(id, asker.may_see))


@router.delete("/{id}")
async def cancel_job(parts: PartsOf, asker: AskerOf, id: IdInPath) -> JobInfo:
    """Cancel a job; one that is finished stays as it is."""
    parts.jobs.get(id, asker.may_see)
    return job_info(await parts.files.run(parts.runner.cancel, id))


@router.get("/{id}/records", response_model=RecordsAnswer, response_class=FileResponse)
async def get_records(parts: PartsOf, asker: AskerOf, id: IdInPath) -> FileResponse:
    """The masks of a done job."""
    parts.jobs.get(id, asker.may_see)
    return FileResponse(parts.jobs.records(id), media_type="application/json")


@router.get("/{id}/events", response_class=StreamingResponse, responses={200: {"content": EVENTS}})
async def watch_job(parts: PartsOf, asker: AskerOf, id: IdInPath, request: Request) -> StreamingResponse:
    """A job's steps as server-sent events: `progress`, then one of `done`, `failed`, `cancelled`.

    The data of each is the job as `GET /jobs/{id}` gives it. A stream that ends without one of the last three was cut
    by a restart: open it again.
    """
    parts.jobs.get(id, asker.may_see)
    return StreamingResponse(events(parts, id, request), media_type="text/event-stream")


async def events(parts: Parts, id: str, request: Request) -> AsyncIterator[str]:
    """The text of the stream; never more than one event waits for a slow reader."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    end = parts.jobs.listen(id, lambda: _tell(loop, changed))
    silent_s = 0.0
    try:
        yield "retry: 1000\n\n"
        changed.set()
        while not request.app.state.is_stopping():
            if changed.is_set():
                changed.clear()
                silent_s = 0.0
                job = parts.jobs.get(id)
                name = job.status if job.is_finished else "progress"
                yield f"event: {name}\ndata: {json.dumps(job_info(job).model_dump())}\n\n"
                if job.is_finished:
                    return
            try:
                await asyncio.wait_for(changed.wait(), LOOK_AGAIN_S)
            except TimeoutError:
                silent_s += LOOK_AGAIN_S
                if silent_s >= parts.settings.keep_alive_s:
                    silent_s = 0.0
                    yield ": still here\n\n"
    finally:
        end()


def _tell(loop: asyncio.AbstractEventLoop, changed: asyncio.Event) -> None:
    loop.call_soon_threadsafe(changed.set)


def job_info(job: Job) -> JobInfo:
    """A job as it goes out."""
    return JobInfo(
        id=job.id,
        kind=job.kind,
        image=job.image,
        model=job.model,
        status=job.status,
        progress=Progress(done=job.done, total=job.total),
        masks=job.masks,
        error=job.error,
        created=job.created,
        finished=job.finished,
    )
