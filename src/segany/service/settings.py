"""The knobs of the service; no web library and no torch here."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, fields
from pathlib import Path

from segany.core.errors import OptionError
from segany.core.files import cache_dir

MIB = 1 << 20
SHORTEST_TOKEN = 16
"""Characters; shorter ones can be guessed."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the service listens, what it serves, and where its limits are."""

    host: str = "127.0.0.1"
    """Address to listen on. Anything but a loopback address demands a token."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    token: str | None = field(default=None, repr=False)
    """Password that every request for the API must bring; None only on a loopback address."""
    accounts: bool = False
    """People log in with names and passwords of a data engine's store; no token is used then."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names that the Host header may hold, such as a reverse proxy's. Naming one demands a token."""
    allowed_origins: tuple[str, ...] = ()
    """Pages of other origins that may call the API, such as "http://localhost:5173"."""
    data_dir: Path = field(default_factory=lambda: cache_dir() / "service")
    """Folder of photos, embeddings, jobs and ONNX files; survives restarts."""
    models: tuple[str, ...] = ("tiny",)
    """Models that requests may name: "tiny", "vit_b" …, a path, or NAME=PATH. The first is the default."""
    device: str = "auto"
    """As for the predictor."""
    dtype: str = "auto"
    """As for the predictor."""
    threads: int | None = None
    """CPU threads of the model; None takes the processors this process may use."""
    max_loaded_models: int = 2
    """Models held in memory; the one unused for longest goes first. At least 1."""
    prepare: bool = True
    """Load the default model, and make its ONNX files, right after the start instead of on the first request."""

    max_upload_bytes: int = 64 * MIB
    """Largest photo file."""
    max_json_bytes: int = 8 * MIB
    """Largest body of any other request but an export."""
    max_export_bytes: int = 32 * MIB
    """Largest body of an export."""
    max_pixels: int = 100_000_000
    """Largest photo, width x height; read from its header, before it is decoded."""
    max_prompts: int = 64
    """Prompts per request."""
    max_points: int = 256
    """Clicks per prompt."""
    max_job_clicks: int = 20_000
    """Clicks of one automatic job; the data set's preset takes 3,072."""
    max_job_batch: int = 256
    """Most clicks decoded together that a job may ask for; memory grows with it."""
    max_export_pixels: int = 20_000_000_000
    """Pixels of all masks of one export together."""
    max_documents: int = 1000
    """Documents per export."""

    image_store_bytes: int = 4096 * MIB
    """Photos kept on disk; the ones unused for longest go first, those of unfinished jobs stay."""
    embedding_store_bytes: int = 2048 * MIB
    """Embeddings kept on disk."""
    embedding_memory_bytes: int = 256 * MIB
    """Embeddings kept in memory."""
    max_jobs: int = 500
    """Jobs remembered; the oldest finished ones are forgotten first."""

    decode_window_s: float = 0.003
    """How long a decode waits for others that are on their way, seconds; one that is alone does not wait."""
    decode_batch: int = 64
    """Most prompts decoded together."""
    decode_batch_pixels: int = 200_000_000
    """Most mask pixels made together; bounds memory."""
    decode_queue: int = 512
    """Prompts that may wait; more are answered 503 with Retry-After."""
    encode_queue: int = 64
    """Photos that may wait to be encoded."""
    job_queue: int = 64
    """Automatic jobs that may wait."""
    file_threads: int = 4
    """Threads that read, check and write files and masks."""
    file_queue: int = 256
    """Pieces of such work that may wait."""

    store_threads: int = 16
    """Threads that ask the data engine's database; each holds one connection while it does."""
    store_queue: int = 1024
    """Questions that may wait for one of them."""
    login_threads: int = 2
    """Passwords checked at once; each takes 64 MiB and a processor for a moment."""
    login_queue: int = 64
    """Logins that may wait."""
    login_tries: int = 10
    """Wrong passwords that one name at one address may send at once; five times as many for the name from everywhere,
    ten times as many for the address."""
    login_pause_s: float = 10.0
    """Seconds until one more is allowed; accordingly shorter for the other two."""
    session_s: float = 12 * 3600.0
    """How long a login lasts."""
    model_poll_s: float = 0.5
    """Seconds between two looks whether other weights were published."""
    max_document_bytes: int = 32 * MIB
    """Largest body that hands in an annotation document."""

    rate_per_s: float = 200.0
    """Requests per second and client address, on average; 0 is off."""
    rate_burst: int = 400
    """Requests that a client may send at once."""
    max_connections: int = 512
    """Open connections; more are answered 503."""
    header_timeout_s: float = 10.0
    """A request's header must be complete after this time."""
    body_idle_s: float = 20.0
    """Longest pause between two pieces of a request's body."""
    body_timeout_s: float = 300.0
    """A request's body must be complete after this time."""
    write_timeout_s: float = 60.0
    """A client that takes nothing for this long is cut off."""
    stop_timeout_s: float = 15.0
    """Seconds that open requests get to finish when the service is stopped."""
    keep_alive_s: float = 10.0
    """Seconds between two signs of life on an event stream."""

    def __post_init__(self) -> None:
        problems = [problem for problem in self._problems() if problem]
        if problems:
            raise OptionError(" ".join(problems))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)

    @property
    def needs_token(self) -> bool:
        """Whether the service may not run without a token."""
        return not self.is_loopback or bool(self.allowed_hosts)

    def _problems(self) -> list[str]:
        problems = [
            f"{item.name} must be at least {lowest:g}; got {value!r}. Raise it."
            for item in fields(self)
            if isinstance(value := getattr(self, item.name), (int, float)) and not isinstance(value, bool)
            if not value >= (lowest := 0 if item.name in MAY_BE_ZERO else 1e-4 if item.name.endswith("_s") else 1)
        ]
        if not 0 <= self.port <= 65535:
            problems.append(f"port must be from 0 to 65535; got {self.port}. 8000 is usual.")
        if not self.models:
            problems.append("models must name at least one model; got none. Name tiny.")
        if self.token is not None and (len(self.token) < SHORTEST_TOKEN or not self.token.isprintable()):
            problems.append(
                f"token must have at least {SHORTEST_TOKEN} printable characters; got {len(self.token)} of them. "
                'Make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        if self.accounts and self.token is not None:
            problems.append("with accounts everybody logs in; got a token as well. Leave the token out.")
        if self.token is None and self.needs_token and not self.accounts:
            problems.append(
                f"a service that others can reach ({', '.join([self.host, *self.allowed_hosts])}) needs a token; got "
                "none. Set token, or listen on 127.0.0.1."
            )
        return problems


MAY_BE_ZERO = ("port", "rate_per_s")


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine alone."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
