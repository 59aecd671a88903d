"""The parts an app is made of, and how routes get at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

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

if TYPE_CHECKING:
    from segany.service.engine.parts import EngineParts


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
    """Exports of annotation documents, plots."""
    project: EngineParts | None = None
    """The data engine, where there is one."""

    async def model_name(self, name: str | None, key: str | None = None) -> str:
        """The model that a request means.

        Args:
            name: as the request says.
            key: of its photo.

        Raises:
            ApiError: 404, no such model.
        """
        if self.project is None:
            return self.shelf.check(name)
        return await self.project.model_name(self, name, key)


async def parts(request: Request) -> Parts:
    """The app's parts, as a dependency."""
    return cast(Parts, request.app.state.parts)


async def asker(request: Request) -> Asker:
    """Who asks, as a dependency; the guard found it out."""
    return cast(Asker, request.state.asker)


PartsOf = Annotated[Parts, Depends(parts)]
AskerOf = Annotated[Asker, Depends(asker)]
