"""The built page at `/`, or a plain word on how to build it."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE = Path(__file__).with_name("page")
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval' blob:",
        "worker-src 'self' blob:",
        "connect-src 'self' blob: data:",
        "img-src 'self' blob: data:",
        "style-src 'self' 'unsafe-inline'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
ABSENT = """The page of this service is not built.

From a source checkout, with Node 20 or newer:

    cd web
    npm ci
    npm run build

then reload. An installed package brings the page along. The API works without it: /api/v1/openapi.json
"""


class PageFiles(StaticFiles):
    """The files of the page with its content policy; hashed ones may be kept for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One file."""
        response = await super().get_response(path, scope)
        response.headers["Content-Security-Policy"] = POLICY
        is_hashed = path.replace("\\", "/").startswith("assets/")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_hashed else "no-cache"
        return response


def add_page(app: FastAPI, folder: Path = PAGE) -> None:
    """Serve the page; to be called after every other route is there."""
    if (folder / "index.html").is_file():
        app.mount("/", PageFiles(directory=folder, html=True), name="page")
        return

    @app.get("/", include_in_schema=False)
    async def absent() -> PlainTextResponse:
        return PlainTextResponse(ABSENT)
