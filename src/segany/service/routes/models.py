"""The models, and their ONNX files for decoding in the page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse

from segany.service.parts import Parts, PartsOf
from segany.service.schemas import ModelInfo

router = APIRouter(prefix="/models", tags=["models"])

Name = Annotated[str, Path(min_length=1, max_length=64, examples=["tiny"])]
FileName = Annotated[str, Path(min_length=1, max_length=100, examples=["manifest.json"])]


@router.get("")
async def list_models(parts: PartsOf) -> list[ModelInfo]:
    """Every model that a request may name; the default one is loaded for this, the others are not."""
    default = await parts.model_name(None)
    await parts.encoder.run(parts.shelf.get, default)
    return [model_info(parts, name, default) for name in names(parts)]


@router.get("/{name}")
async def get_model(parts: PartsOf, name: Name) -> ModelInfo:
    """One model, loaded when it must be. In a project, `current` is the version in use."""
    wanted = await parts.model_name(name)
    await parts.encoder.run(parts.shelf.get, wanted)
    return model_info(parts, wanted, await parts.model_name(None))


@router.get(
    "/{name}/onnx/{file}",
    response_class=FileResponse,
    responses={200: {"content": {"application/octet-stream": {}, "application/json": {}}}},
)
async def get_onnx_file(parts: PartsOf, name: Name, file: FileName, request: Request) -> FileResponse:
    """`manifest.json`, and the files it names. They are made on the first request, which then takes a while.

    With `?v=` and anything behind it, for example the hash in the manifest, the answer may be kept for ever.
    """
    path = await parts.onnx.file(await parts.model_name(name), file)
    media_type = "application/json" if path.suffix == ".json" else "application/octet-stream"
    kept = "private, max-age=31536000, immutable" if "v" in request.query_params else "no-cache"
    return FileResponse(path, media_type=media_type, headers={"Cache-Control": kept})


def names(parts: Parts) -> list[str]:
    """Models to choose from: in a project the versions in use, then what the service was started with."""
    used = [] if parts.project is None else parts.project.weights.names()
    return [*used, *(name for name in parts.shelf.names if name not in used)]


def model_info(parts: Parts, name: str, default: str) -> ModelInfo:
    """What is known of a model right now."""
    predictor = parts.shelf.held(name)
    config = predictor.config if predictor else None
    return ModelInfo(
        name=name,
        label=None if parts.project is None else parts.project.weights.label(name),
        default=name == default,
        loaded=predictor is not None,
        onnx=parts.onnx.is_possible,
        fingerprint=predictor.fingerprint if predictor else None,
        canvas=config.canvas if config else None,
        low_res=config.low_res if config else None,
        channels=config.channels if config else None,
        mask_threshold=config.mask_threshold if config else None,
        pixel_mean=list(config.pixel_mean) if config else None,
        pixel_std=list(config.pixel_std) if config else None,
    )
