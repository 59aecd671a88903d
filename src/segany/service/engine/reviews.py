"""Reviewers' work: take what was handed in, then accept, fix, or send back with a reason."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from segany.core.errors import DataError
from segany.engine.values import Outcome
from segany.service.engine.access import EngineOf, ReviewerOf
from segany.service.engine.bodies import assignment_text, author_of, body_of, document_of, outcome_value, read_body
from segany.service.engine.parts import Id
from segany.service.engine.schemas import AssignmentInfo, ReviewBody, WriteAnswer
from segany.service.engine.tasks import JSON, NOTHING

router = APIRouter(tags=["reviews"])


@router.post("/projects/{project}/reviews/claim", response_model=AssignmentInfo, responses=NOTHING)
async def claim_review(engine: EngineOf, person: ReviewerOf, project: Id) -> Response:
    """The next document to judge under a lease; the one that is held already, if there is one."""

    def claim() -> str | None:
        work = engine.store.next_review(project, person.user.id)
        if work is None:
            return None
        return assignment_text(work, engine.weights.current(project), author_of(engine.store, work))

    text = await engine.ask(claim)
    return Response(status_code=204) if text is None else Response(text, media_type=JSON)


@router.post("/tasks/{task}/review", response_model=WriteAnswer, openapi_extra=body_of(ReviewBody))
async def judge(engine: EngineOf, person: ReviewerOf, task: Id, request: Request) -> dict[str, Any]:
    """A verdict: accept as it is, fix with the mended document, reject with a reason."""
    user, store = person.user, engine.store
    body = await read_body(engine, request, ReviewBody)
    if body.verdict == "reject" and not body.reason.strip():
        raise DataError("a document is sent back only with a reason; got none. Say what is wrong in a few words.")
    if (body.verdict == "fix") != (body.document is not None):
        raise DataError("a document comes with fix, and only with fix; got it otherwise. Say fix, or leave it out.")

    def review() -> Outcome:
        image = store.image(store.task(task).image)
        return store.review(
            user.id,
            body.lease,
            body.verdict,
            key=body.key,
            reason=body.reason,
            document=None if body.document is None else document_of(body.document, image),
            active_seconds=body.active_seconds,
            task=task,
        )

    return outcome_value(await engine.under_lease(user, task, review))
