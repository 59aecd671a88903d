"""The service: photos and prompts over HTTP, masks back. Needs the extra `serve`.

`create_app` is the whole of it; `segany.service.server` runs the app on a port. Every other module of this room needs
the extra to be imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segany.core.optional import require
from segany.service.settings import Settings as Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["Settings", "create_app"]


def create_app(settings: Settings, **parts: Any) -> FastAPI:
    """The application; see `segany.service.app.create_app`.

    Raises:
        MissingDependencyError: the extra is not installed.
    """
    for module in ("fastapi", "python_multipart", "prometheus_client", "structlog"):
        require(module, "serve")
    from segany.service.app import create_app as make

    return make(settings, **parts)
