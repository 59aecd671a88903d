"""The parts an app is made of, and how routes get at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from segany.service.auth import Asker
from segany.service.decoding import Decoder
from segany.service.embeddings import Embeddings
from segany.service.images import ImageStore
from segany.service.jobs import JobStore
from segany.service.metrics import Metrics
from segany.service.models import ModelShelf
from segany.service.onnx_files import OnnxFiles
from segany.service.runner import JobRunner
from segany.service.settings import Settings
from segany.service.workers import Pool


@dataclass(frozen=True)
class Parts:
    """Everything behind the routes; one of each per app."""

    settings: Settings
    shelf: ModelShelf
    images: ImageStore
    embeddings: Embeddings
    decoder: Decoder
    jobs: JobStore
    runner: JobRunner
    onnx: OnnxFiles
    metrics: Metrics
    files: Pool
    """Reading, checking and writing of files and masks."""
    encoder: Pool
    """Loading of models, encoding of photos."""
    exporter: Pool
    """Exports of annotation documents."""


def parts(request: Request) -> Parts:
    """The app's parts, as a dependency."""
    return cast(Parts, request.app.state.parts)


def asker(request: Request) -> Asker:
    """Who asks, as a dependency; the guard found it out."""
    return cast(Asker, request.state.asker)


PartsOf = Annotated[Parts, Depends(parts)]
AskerOf = Annotated[Asker, Depends(asker)]
