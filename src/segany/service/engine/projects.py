"""Projects, what waits in them, and their photos."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, UploadFile
from fastapi.responses import FileResponse

from segany.core.errors import DataError
from segany.engine.config import Stage
from segany.engine.store.store import Store
from segany.engine.values import Image, Project
from segany.service.engine.access import AdminOf, AnnotatorOf, EngineOf
from segany.service.engine.bodies import photo_value
from segany.service.engine.parts import Id
from segany.service.engine.schemas import AddedPhoto, ProjectInfo, QueueAnswer
from segany.service.images import HEAD, kind_of
from segany.service.parts import PartsOf
from segany.service.routes.images import IMAGE_TYPES
from segany.transforms.encoded import decode_image

router = APIRouter(tags=["projects"])
LONGEST_NAME = 255
BEATS = 3.0
"""Signs of life per lease, so that one or two may get lost."""
RAREST_S = 60.0

StageInQuery = Annotated[Stage | None, Query(description="Any when left out.")]
QueueStage = Annotated[Stage | None, Query(description="Put it into this queue as well.")]


@router.get("/projects")
async def list_projects(engine: EngineOf, person: AnnotatorOf) -> list[ProjectInfo]:
    """Every project of the store."""
    return [ProjectInfo.model_validate(value) for value in await engine.ask(project_values, engine.store)]


@router.get("/projects/{project}/queue")
async def peek(
    engine: EngineOf,
    person: AnnotatorOf,
    project: Id,
    stage: StageInQuery = None,
    count: Annotated[int, Query(ge=1, le=10)] = 2,
) -> QueueAnswer:
    """Photos that will probably come next, so that their embeddings can be fetched; nothing is taken."""
    store, user = engine.store, person.user.id

    def ask() -> dict[str, Any]:
        images = store.peek(project, user, stage=stage, count=count)
        remaining = store.remaining(project, user, stage=stage)
        return {"next": [queue_value(image) for image in images], "remaining": remaining}

    return QueueAnswer.model_validate(await engine.ask(ask))


@router.post("/projects/{project}/images")
async def add_photo(
    parts: PartsOf,
    engine: EngineOf,
    person: AdminOf,
    project: Id,
    file: Annotated[UploadFile, File(description="A JPEG, PNG, WebP, TIFF or BMP; its name is kept.")],
    stage: QueueStage = None,
) -> AddedPhoto:
    """Add a photo to a project; the same bytes twice are one photo."""
    store, name = engine.store, file_name(file.filename)

    def add() -> dict[str, Any]:
        store.project(project)
        content = file.file.read()
        kind_of(content[:HEAD])
        decode_image(content, name, max_pixels=parts.settings.max_pixels)
        image = store.add_image(project, name, content)
        queued = store.open_stage(project, stage, [image.id]) if stage is not None else 0
        return {"image": photo_value(image), "queued": bool(queued)}

    return AddedPhoto.model_validate(await parts.files.run(add))


@router.get(
    "/engine/images/{image}/photo",
    response_class=FileResponse,
    responses={200: {"content": {media_type: {} for media_type in IMAGE_TYPES}}},
)
async def get_photo(engine: EngineOf, person: AnnotatorOf, image: Id) -> FileResponse:
    """A project's photo, as it came."""
    stored = await engine.ask(lambda: engine.photos.stored(engine.store.image(image)))
    headers = {"Cache-Control": "private, max-age=31536000, immutable", "Content-Disposition": "inline"}
    return FileResponse(stored.path, media_type=stored.media_type, headers=headers)


def project_values(store: Store) -> list[dict[str, Any]]:
    """Fields of every `ProjectInfo`."""
    return [project_value(project, store.stages(project.id)) for project in store.projects()]


def project_value(project: Project, stages: list[Stage]) -> dict[str, Any]:
    """Fields of a `ProjectInfo`."""
    knobs = project.settings
    return {
        "id": project.id,
        "name": project.name,
        "guideline": knobs.guideline,
        "settings": {
            "seconds_per_mask": knobs.mask_seconds,
            "lease_seconds": knobs.lease_seconds,
            "review_seconds": knobs.review_seconds,
            "heartbeat_seconds": min(RAREST_S, min(knobs.lease_seconds, knobs.review_seconds) / BEATS),
            "self_review": knobs.self_review,
        },
        "stages": stages,
    }


def queue_value(image: Image) -> dict[str, Any]:
    """Fields of a `QueuePhoto`."""
    return {"image": image.id, "key": image.sha256, "width": image.width, "height": image.height}


def file_name(given: str | None) -> str:
    """A file's own name.

    Raises:
        DataError: none that can be kept.
    """
    name = PurePath((given or "").replace("\\", "/")).name
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise DataError(f"a photo's file must have a printable name of at most {LONGEST_NAME} characters; rename it.")
    return name
