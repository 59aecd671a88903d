"""Values of the store as they go out, and documents as they come in: large ones are read in a thread."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from segany.core.errors import DataError
from segany.engine.values import Assignment, Image, ModelVersion, Outcome, Region, TokenInfo, User
from segany.records.annotation import AnnotationDocument
from segany.service.engine.parts import EngineParts
from segany.service.engine.schemas import LONGEST_SECONDS
from segany.service.engine.weights import name_of
from segany.service.errors import ApiError

if TYPE_CHECKING:
    from segany.engine.store.store import Store

Body = TypeVar("Body", bound=BaseModel)


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """How a body that `read_body` reads is described."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def read_body(engine: EngineParts, request: Request, model: type[Body]) -> Body:
    """A JSON body, checked in the pool: it may hold thousands of masks.

    Raises:
        ApiError: 415, another kind of content.
        RequestValidationError: it does not fit its description.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ApiError(
            415,
            "content_type",
            f"expected a body of application/json; got {media_type!a}. Send the header Content-Type.",
        )
    raw = await request.body()
    try:
        return await engine.ask(model.model_validate_json, raw)
    except ValidationError as error:
        problems = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        raise RequestValidationError(problems) from None


def document_of(value: dict[str, Any], image: Image) -> AnnotationDocument:
    """The document of a request, for its task's image.

    Raises:
        DataError: it is none, or of another image.
    """
    about = value.get("image")
    told = about if isinstance(about, dict) else {}
    right = {"image_id": image.image_id, "width": image.width, "height": image.height, "sha256": image.sha256}
    if any(told.get(name) != said for name, said in right.items()):
        raise DataError(
            f"a document must be of its task's image, image_id {image.image_id}, {image.width} x {image.height}; got "
            "another. Take the image's section from the task."
        )
    try:
        document = AnnotationDocument.from_json(value)
        json.dumps(document.to_json(), allow_nan=False)
    except DataError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"a document must hold plain JSON values; got others: {error}. Save it anew.") from error
    seconds = [document.active_seconds, *(one.interaction.active_seconds for one in document.annotations)]
    if max(seconds) > LONGEST_SECONDS:
        raise DataError(f"active_seconds must be {LONGEST_SECONDS:g} or less; got {max(seconds):g}. Check the clock.")
    return document


def person_value(user: User) -> dict[str, Any]:
    """Fields of a `PersonInfo`."""
    return {"id": user.id, "name": user.name, "role": user.role, "simulated": user.simulated}


def account_value(user: User) -> dict[str, Any]:
    """Fields of an `AccountInfo`."""
    return {**person_value(user), "active": user.active, "created": user.created}


def token_values(tokens: list[TokenInfo]) -> list[dict[str, Any]]:
    """Fields of every `TokenListed`: of those that are still good for something."""
    return [
        {"id": one.id, "label": one.label, "created": one.created, "expires": one.expires, "current": one.shown}
        for one in tokens
        if not one.over
    ]


def photo_value(image: Image) -> dict[str, Any]:
    """Fields of a `PhotoInfo`."""
    return {
        "id": image.id,
        "image_id": image.image_id,
        "key": image.sha256,
        "width": image.width,
        "height": image.height,
        "file_name": image.file_name,
    }


def region_value(region: Region) -> dict[str, Any]:
    """Fields of a `RegionInfo`."""
    outline = [list(corner) for corner in region.outline]
    return {
        "id": region.id,
        "kind": region.kind,
        "outline": outline,
        "score": region.score,
        "by": region.source,
    }


def version_value(version: ModelVersion | None) -> dict[str, Any] | None:
    """Fields of a `VersionInfo`."""
    if version is None:
        return None
    return {"name": name_of(version), "label": version.name, "fingerprint": version.fingerprint}


def outcome_value(outcome: Outcome) -> dict[str, Any]:
    """Fields of a `WriteAnswer`."""
    return {"state": outcome.task.state, "document": outcome.document, "repeated": outcome.repeated}


def assignment_text(work: Assignment, model: ModelVersion | None, annotator: str | None = None) -> str:
    """The JSON text of an `AssignmentInfo`; a known answer and a second opinion look like any other task."""
    task, document = work.task, work.document
    sent_back = bool(task.rejections and task.reason)
    value = {
        "task": task.id,
        "stage": task.stage,
        "purpose": "audit" if task.purpose == "audit" else "work",
        "lease": work.lease,
        "expires": spelled(work.expires),
        "image": photo_value(work.image),
        "document": None if document is None else document.document.to_json(),
        "document_id": None if document is None else document.id,
        "verdict": {"reason": task.reason} if sent_back else None,
        "attempt": task.submissions + (task.state != "in_review"),
        "model": version_value(model),
        "annotator": annotator,
    }
    return json.dumps(value, separators=(",", ":"))


def author_of(store: Store, work: Assignment) -> str | None:
    """Name of the one who handed a task in."""
    return None if work.task.author is None else store.user(work.task.author).name


def spelled(moment: datetime) -> str:
    """ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
