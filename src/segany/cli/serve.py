"""`segany serve`: the page and the API on a port."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from segany.cli.console import say, show
from segany.cli.options import Dtype

if TYPE_CHECKING:
    from segany.engine.store.store import Store
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
    project: Annotated[
        Path | None, Parameter(help="A data engine's folder: people log in and annotate its photos.")
    ] = None,
    database: Annotated[
        str | None, Parameter(help="Its database, where that is a server; better given as SEGANY_DATABASE.")
    ] = None,
    prepare: Annotated[
        bool, Parameter(help="Load the first model, and make its ONNX files, right at the start.")
    ] = True,
    openapi: Annotated[Path | None, Parameter(help="Write the API's description to this file and end.")] = None,
    limits: Limits | None = None,
) -> int:
    """Serve the page and the API until Ctrl-C. On 127.0.0.1 without a password; anywhere else with a token.

    With --project everybody logs in with a name and a password of their own, wherever the service listens.
    """
    from segany.service import create_app
    from segany.service.settings import Settings, is_loopback

    given = None if project is not None else token or os.environ.get(TOKEN_VARIABLE) or None
    made_up = given is None and project is None and (not is_loopback(host) or bool(allow_host))
    choice: dict[str, Any] = (limits or Limits()).given()
    if data is not None:
        choice["data_dir"] = data.expanduser().resolve()
    settings = Settings(
        host=host,
        port=port,
        token=secrets.token_urlsafe(32) if made_up else given,
        accounts=project is not None,
        models=tuple(model or ("tiny",)),
        device=device,
        dtype=dtype,
        threads=threads,
        prepare=prepare,
        allowed_hosts=tuple(name.lower() for name in allow_host or ()),
        allowed_origins=tuple(origin.rstrip("/") for origin in allow_origin or ()),
        **choice,
    )
    if openapi is not None:
        from segany.core.files import atomic_write_text

        described = create_app(replace(settings, accounts=False), describe_all=True)
        atomic_write_text(openapi, json.dumps(described.openapi(), indent=1) + "\n")
        show(str(openapi))
        return 0
    check_options(settings)
    check_account_options(project, token, database)

    from segany.service.server import serve as run

    with opened(project, database) as store:
        app = create_app(settings, project=store)
        run(app, settings, lambda address: announce(address, settings, made_up=made_up))
    say("stopped; jobs that were not finished go on at the next start")
    return 0


def check_account_options(project: Path | None, token: str | None, database: str | None) -> None:
    """Refuse what says two things at once.

    Raises:
        OptionError: a token beside accounts, or a database without a project.
    """
    from segany.core.errors import OptionError

    if project is not None and token is not None:
        raise OptionError("--token is for a service without accounts; with --project everybody logs in. Leave it out.")
    if project is None and database is not None:
        raise OptionError("--database is the one of a project; name its folder with --project.")


@contextmanager
def opened(project: Path | None, database: str | None) -> Iterator[Store | None]:
    """The store of a project, open as long as it is needed.

    Raises:
        NotFoundError: there is none in the folder.
        StoreUnavailableError: its database does not answer.
    """
    if project is None:
        yield None
        return
    from segany.engine.store import open_store

    store = open_store(project, database=database)
    try:
        yield store
    finally:
        store.close()


def check_options(settings: Settings) -> None:
    """Refuse what would only fail at the first request.

    Raises:
        OptionError: a device, precision or thread count that cannot be.
    """
    from segany.core.device import resolve_device, resolve_dtype
    from segany.core.errors import OptionError
    from segany.predict.backends.encoder import INT8, check_int8

    device = resolve_device(settings.device)
    if settings.dtype == INT8:
        check_int8(device)
    else:
        resolve_dtype(settings.dtype, device)
    if settings.threads is not None and settings.threads < 1:
        raise OptionError(f"--threads must be 1 or more; got {settings.threads}. Leave it out to use every processor.")


def announce(address: str, settings: Settings, *, made_up: bool) -> None:
    """Tell where to go; a token that was made up is shown this once."""
    say(f"segany serves {', '.join(settings.models)}; data in {settings.data_dir}; Ctrl-C stops it")
    if made_up:
        say(f"token, shown only now: {settings.token}")
        say(f"open {address}?token={settings.token}")
    elif settings.accounts:
        say(f"open {address} and log in")
    elif settings.token is not None:
        say(f"open {address}?token=YOUR-TOKEN")
    show(address)
