"""Annotation documents in, files out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from segany.service.errors import ApiError, validation_answer
from segany.service.exporting import MEDIA_TYPES, PassingFile, export
from segany.service.parts import PartsOf
from segany.service.schemas import ExportRequest

router = APIRouter(tags=["export"])

BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ExportRequest"}}},
    }
}


@router.post(
    "/export",
    response_class=Response,
    responses={200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}},
    openapi_extra=BODY,
)
async def export_documents(parts: PartsOf, request: Request) -> Response:
    """Write annotation documents in a format: the file itself when it is one, else a zip."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ApiError(
            415,
            "content_type",
            f"expected a body of application/json; got {media_type!a}. Send the header Content-Type.",
        )
    raw = await request.body()
    try:
        wanted = await parts.exporter.run(ExportRequest.model_validate_json, raw)
    except ValidationError as error:
        return validation_answer(list(error.errors()))
    path = await parts.exporter.run(export, wanted, parts.settings, parts.settings.data_dir / "passing")
    kind = MEDIA_TYPES.get(path.suffix, "application/octet-stream")
    return PassingFile(path, media_type=kind, filename=path.name)
