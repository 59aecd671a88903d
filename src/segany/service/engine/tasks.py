"""Annotators' work: claim, give signs of life, hand in, skip, give back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from segany.engine.values import Outcome
from segany.service.engine.access import AdminOf, AnnotatorOf, EngineOf
from segany.service.engine.bodies import assignment_text, body_of, document_of, outcome_value, read_body
from segany.service.engine.parts import Id
from segany.service.engine.schemas import (
    AssignmentInfo,
    ClaimBody,
    LeaseAnswer,
    LeaseBody,
    ReopenBody,
    SkipBody,
    StateAnswer,
    SubmitBody,
    WriteAnswer,
)

router = APIRouter(tags=["tasks"])
JSON = "application/json"
NOTHING: dict[int | str, dict[str, Any]] = {204: {"description": "There is nothing to do."}}


@router.post("/projects/{project}/claim", response_model=AssignmentInfo, responses=NOTHING)
async def claim_task(engine: EngineOf, person: AnnotatorOf, project: Id, body: ClaimBody | None = None) -> Response:
    """The next task under a lease; the one that is held already, if there is one."""
    stage = None if body is None else body.stage

    def claim() -> str | None:
        work = engine.store.claim(project, person.user.id, stage=stage)
        return None if work is None else assignment_text(work, engine.weights.current(project))

    text = await engine.ask(claim)
    return Response(status_code=204) if text is None else Response(text, media_type=JSON)


@router.post("/tasks/{task}/heartbeat")
async def heartbeat(engine: EngineOf, person: AnnotatorOf, task: Id, body: LeaseBody) -> LeaseAnswer:
    """Still there: the lease, of an annotator or a reviewer, lasts longer."""
    user = person.user
    beat = engine.store.heartbeat
    expires = await engine.under_lease(user, task, lambda: beat(user.id, body.lease, task=task))
    return LeaseAnswer(expires=expires)


@router.post("/tasks/{task}/release", status_code=204)
async def release_task(engine: EngineOf, person: AnnotatorOf, task: Id, body: LeaseBody) -> Response:
    """Give a task back undone; a lease that is over is left alone."""
    user = person.user

    def give_back() -> None:
        engine.must_know(user, task)
        engine.store.give_back(user.id, body.lease, task=task)

    await engine.under_lease(user, task, give_back)
    return Response(status_code=204)


@router.post("/tasks/{task}/submit", response_model=WriteAnswer, openapi_extra=body_of(SubmitBody))
async def submit_task(engine: EngineOf, person: AnnotatorOf, task: Id, request: Request) -> dict[str, Any]:
    """Hand a document in. The same key again, after a lost answer, changes nothing and says what the first one did."""
    user, store = person.user, engine.store
    body = await read_body(engine, request, SubmitBody)

    def submit() -> Outcome:
        engine.must_know(user, task)
        image = store.image(store.task(task).image)
        document = document_of(body.document, image)
        return store.submit(user.id, body.lease, document, key=body.key, task=task)

    return outcome_value(await engine.under_lease(user, task, submit))


@router.post("/tasks/{task}/skip", response_model=WriteAnswer)
async def skip_task(engine: EngineOf, person: AnnotatorOf, task: Id, body: SkipBody) -> dict[str, Any]:
    """Leave an image for good, with a reason."""
    user, skip = person.user, engine.store.skip
    seconds = body.active_seconds
    outcome = await engine.under_lease(
        user, task, lambda: skip(user.id, body.lease, body.reason, key=body.key, active_seconds=seconds, task=task)
    )
    return outcome_value(outcome)


@router.post("/tasks/{task}/reopen")
async def reopen_task(engine: EngineOf, person: AdminOf, task: Id, body: ReopenBody | None = None) -> StateAnswer:
    """Put a finished task back into the queue; its documents stay."""
    reason = "" if body is None else body.reason
    found = await engine.ask(engine.store.reopen, person.user.id, task, reason=reason)
    return StateAnswer(state=found.state)
