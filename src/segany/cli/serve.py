"""`segany serve`: the page and the API on a port."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from segany.cli.console import say, show
from segany.cli.options import Dtype

if TYPE_CHECKING:
    from segany.service.settings import Settings

TOKEN_VARIABLE = "SEGANY_TOKEN"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits that a service for others may want to move; `segany.service.settings` holds all of them."""

    max_upload_bytes: Annotated[int | None, Parameter(help="Largest photo file.")] = None
    max_pixels: Annotated[int | None, Parameter(help="Largest photo, width x height.")] = None
    max_connections: Annotated[int | None, Parameter(help="Open connections.")] = None
    rate_per_s: Annotated[float | None, Parameter(help="Requests per second and address; 0 is off.")] = None
    image_store_bytes: Annotated[int | None, Parameter(help="Photos kept on disk.")] = None
    embedding_store_bytes: Annotated[int | None, Parameter(help="Embeddings kept on disk.")] = None
    embedding_memory_bytes: Annotated[int | None, Parameter(help="Embeddings kept in memory.")] = None

    def given(self) -> dict[str, Any]:
        """The limits that were named."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}


def serve(
    *,
    host: Annotated[str, Parameter(help="Address to listen on; all but loopback ones need a token.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port; 0 takes a free one.")] = 8000,
    model: Annotated[
        list[str] | None,
        Parameter(help="A model to offer, by name, path or NAME=PATH; repeat for more, the first is the default."),
    ] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    dtype: Annotated[Dtype, Parameter(help="Precision of the image encoder.")] = "auto",
    threads: Annotated[int | None, Parameter(help="CPU threads; all processors when left out.")] = None,
    token: Annotated[
        str | None, Parameter(help=f"Password of the API; better given as {TOKEN_VARIABLE}. Made up where needed.")
    ] = None,
    allow_host: Annotated[list[str] | None, Parameter(help="Another name this service is known by.")] = None,
    allow_origin: Annotated[list[str] | None, Parameter(help="Another page that may use it, http://host:port.")] = None,
    data: Annotated[Path | None, Parameter(help="Folder for photos, embeddings and jobs.")] = None,
    prepare: Annotated[
        bool, Parameter(help="Load the first model, and make its ONNX files, right at the start.")
    ] = True,
    openapi: Annotated[Path | None, Parameter(help="Write the API's description to this file and end.")] = None,
    limits: Limits | None = None,
) -> int:
    """Serve the page and the API until Ctrl-C. On 127.0.0.1 without a password; anywhere else with a token."""
    from segany.service import create_app
    from segany.service.settings import Settings, is_loopback

    given = token or os.environ.get(TOKEN_VARIABLE) or None
    made_up = given is None and (not is_loopback(host) or bool(allow_host))
    choice: dict[str, Any] = (limits or Limits()).given()
    if data is not None:
        choice["data_dir"] = data.expanduser().resolve()
    settings = Settings(
        host=host,
        port=port,
        token=secrets.token_urlsafe(32) if made_up else given,
        models=tuple(model or ("tiny",)),
        device=device,
        dtype=dtype,
        threads=threads,
        prepare=prepare,
        allowed_hosts=tuple(name.lower() for name in allow_host or ()),
        allowed_origins=tuple(origin.rstrip("/") for origin in allow_origin or ()),
        **choice,
    )
    app = create_app(settings)
    if openapi is not None:
        from segany.core.files import atomic_write_text

        atomic_write_text(openapi, json.dumps(app.openapi(), indent=1) + "\n")
        show(str(openapi))
        return 0
    check_options(settings)

    from segany.service.server import serve as run

    run(app, settings, lambda address: announce(address, settings, made_up=made_up))
    say("stopped; jobs that were not finished go on at the next start")
    return 0


def check_options(settings: Settings) -> None:
    """Refuse what would only fail at the first request.

    Raises:
        OptionError: a device, precision or thread count that cannot be.
    """
    from segany.core.device import resolve_device, resolve_dtype
    from segany.core.errors import OptionError

    resolve_dtype(settings.dtype, resolve_device(settings.device))
    if settings.threads is not None and settings.threads < 1:
        raise OptionError(f"--threads must be 1 or more; got {settings.threads}. Leave it out to use every processor.")


def announce(address: str, settings: Settings, *, made_up: bool) -> None:
    """Tell where to go; a token that was made up is shown this once."""
    say(f"segany serves {', '.join(settings.models)}; data in {settings.data_dir}; Ctrl-C stops it")
    if made_up:
        say(f"token, shown only now: {settings.token}")
        say(f"open {address}?token={settings.token}")
    elif settings.token is not None:
        say(f"open {address}?token=YOUR-TOKEN")
    show(address)
