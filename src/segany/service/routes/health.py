"""Whether the service is there, and how it does."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from segany import __version__
from segany.service.parts import PartsOf
from segany.service.schemas import Health

router = APIRouter(tags=["health"])
metrics_router = APIRouter()


@router.get("/health")
async def health(parts: PartsOf) -> Health:
    """Answers when the service runs; needs no token."""
    return Health(version=__version__, project=parts.project is not None)


@metrics_router.get("/metrics", include_in_schema=False)
async def metrics(parts: PartsOf) -> Response:
    """Everything Prometheus wants to know."""
    return Response(parts.metrics.text(), media_type=CONTENT_TYPE_LATEST)
