"""Photos in, photos and embeddings out. Nothing is ever fetched from an address."""

from __future__ import annotations

import json
from typing import Annotated

import numpy as np
from fastapi import APIRouter, File, Path, Query, Response, UploadFile
from fastapi.responses import FileResponse

from segany.geometry.frames import Frame
from segany.service.errors import ApiError
from segany.service.parts import PartsOf
from segany.service.schemas import KEY, ImageInfo

router = APIRouter(prefix="/images", tags=["images"])

KeyInPath = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", examples=[KEY], description="SHA-256 of the file, hex.")]
ModelInQuery = Annotated[
    str | None, Query(min_length=1, max_length=64, examples=["tiny"], description="The default model when left out.")
]
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/tiff", "image/bmp", "image/gif")


@router.post("")
async def add_image(
    parts: PartsOf,
    file: Annotated[UploadFile, File(description="A JPEG, PNG, WebP, TIFF, BMP or GIF; its name is not looked at.")],
) -> ImageInfo:
    """Put a photo into the store. The same file always gets the same key."""
    stored = await parts.files.run(parts.images.add, file.file)
    return ImageInfo(key=stored.key, width=stored.width, height=stored.height)


@router.get(
    "/{key}",
    response_class=FileResponse,
    responses={200: {"content": {media_type: {} for media_type in IMAGE_TYPES}}},
)
async def get_image(parts: PartsOf, key: KeyInPath) -> FileResponse:
    """The photo's file, as it came."""
    stored = await parts.files.run(parts.images.get, key)
    headers = {"Cache-Control": "private, max-age=31536000, immutable", "Content-Disposition": "inline"}
    return FileResponse(stored.path, media_type=stored.media_type, headers=headers)


@router.delete("/{key}", status_code=204)
async def delete_image(parts: PartsOf, key: KeyInPath) -> Response:
    """Remove a photo and its embeddings."""
    if parts.jobs.uses(key):
        raise ApiError(
            409, "image_in_use", "expected a photo that no job needs; one is not finished yet. Cancel the job first."
        )
    await parts.files.run(parts.images.delete, key)
    await parts.files.run(parts.embeddings.forget, key)
    return Response(status_code=204)


@router.get(
    "/{key}/embedding",
    response_class=Response,
    responses={
        200: {
            "content": {"application/octet-stream": {}},
            "description": "Little-endian float32, (C, g, g).",
            "headers": {
                "X-Segany-Shape": {"schema": {"type": "string"}, "description": "C,g,g"},
                "X-Segany-Model": {"schema": {"type": "string"}, "description": "Name of the model."},
                "X-Segany-Fingerprint": {"schema": {"type": "string"}, "description": "SHA-256 of the model."},
                "X-Segany-Frame": {
                    "schema": {"type": "string"},
                    "description": "JSON: original_hw, resized_hw, canvas, low_res.",
                },
            },
        }
    },
)
async def get_embedding(parts: PartsOf, key: KeyInPath, model: ModelInQuery = None) -> Response:
    """What a model saw in the photo, for a decoder in the page; made on the first request."""
    name = await parts.model_name(model, key)
    _, embedding = await parts.embeddings.get(key, name)
    features = embedding.features.cpu().numpy().astype(np.dtype("<f4"), copy=False)
    headers = {
        "X-Segany-Shape": ",".join(str(side) for side in features.shape),
        "X-Segany-Model": name,
        "X-Segany-Fingerprint": embedding.fingerprint,
        "X-Segany-Frame": json.dumps(frame_values(embedding.frame)),
    }
    return Response(features.tobytes(), media_type="application/octet-stream", headers=headers)


def frame_values(frame: Frame) -> dict[str, object]:
    """A frame as JSON values."""
    return {
        "original_hw": frame.original_hw,
        "resized_hw": frame.resized_hw,
        "canvas": frame.canvas,
        "low_res": frame.low_res,
    }
