"""Fetching released weights: resumable, checked against pinned hashes, into the standard cache folder."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segany.core.errors import Cancelled, CheckpointError
from segany.core.files import cache_dir, sha256_file
from segany.core.progress import CancelCheck, Progress

BLOCK = 1 << 20
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class RemoteFile:
    """One released file."""

    url: str
    sha256: str
    """Of the whole file, hexadecimal."""
    size: int
    """Bytes."""
    note: str = ""
    """What a person should know before using it."""

    @property
    def file_name(self) -> str:
        return self.url.rsplit("/", 1)[1]


_OFFICIAL = "https://dl.fbaipublicfiles.com/segment_anything/"
REGISTRY: Mapping[str, RemoteFile] = {
    "vit_b": RemoteFile(
        url=_OFFICIAL + "sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        size=375_042_383,
    ),
    "vit_l": RemoteFile(
        url=_OFFICIAL + "sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        size=1_249_524_607,
    ),
    "vit_h": RemoteFile(
        url=_OFFICIAL + "sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        size=2_564_550_879,
    ),
    "vit_t": RemoteFile(
        url="https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        size=40_728_226,
        note="MobileSAM; numerics not yet verified against the original",
    ),
}
"""Released weights by preset name."""


def models_dir() -> Path:
    """Where downloaded weights lie."""
    return cache_dir() / "models"


def cached_path(name: str, registry: Mapping[str, RemoteFile] = REGISTRY) -> Path:
    """Where the weights of a preset lie, whether or not they are there yet."""
    return models_dir() / _remote(name, registry).file_name


def fetch_hint(name: str, registry: Mapping[str, RemoteFile] = REGISTRY) -> str:
    """How to get a preset's weights, by command or by hand."""
    remote = _remote(name, registry)
    return (
        f"Run `segany models download {name}`, or fetch {remote.url} ({remote.size / 1e6:.0f} MB) on any "
        f"machine and put it at {cached_path(name, registry)}."
    )


def download(
    name: str,
    *,
    registry: Mapping[str, RemoteFile] = REGISTRY,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> Path:
    """Fetch a preset's weights into the cache folder; a partial download is taken up where it stopped.

    Args:
        name: key of `registry`.
        registry: what can be fetched.
        progress: called with (bytes done, bytes in all).
        cancelled: asked between blocks; what came so far stays for the next time.

    Returns:
        the checked file.

    Raises:
        CheckpointError: no connection, or what came is not the pinned file.
        Cancelled: `cancelled` said so.
    """
    remote, target = _remote(name, registry), cached_path(name, registry)
    if target.is_file():
        verify(target, remote)
        return target
    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if not (part.is_file() and part.stat().st_size == remote.size):
            _fetch(remote, part, progress, cancelled)
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        raise CheckpointError(
            f"{name} must be fetched from {remote.url}; that failed: {error}. Run it again to resume, "
            f"or, without a connection, fetch the file on another machine and put it at {target}."
        ) from error
    try:
        verify(part, remote)
    except CheckpointError:
        part.unlink()
        raise
    os.replace(part, target)
    return target


def verify(path: Path, remote: RemoteFile) -> None:
    """Check a file against its pinned size and hash.

    Raises:
        CheckpointError: it is another file, or damaged.
    """
    size = path.stat().st_size
    found = f"{size} bytes" if size != remote.size else sha256_file(path)
    if found != remote.sha256:
        raise CheckpointError(
            f"{path} must be {remote.file_name}, {remote.size} bytes with sha256 {remote.sha256[:12]}…; "
            f"got {found}. Remove it and fetch {remote.url} again."
        )


def _remote(name: str, registry: Mapping[str, RemoteFile]) -> RemoteFile:
    if name not in registry:
        known = ", ".join(registry)
        raise CheckpointError(f"weights to fetch must be one of {known}; got {name!r}. Choose one of them.")
    return registry[name]


def _fetch(remote: RemoteFile, part: Path, progress: Progress | None, cancelled: CancelCheck | None) -> None:
    start = part.stat().st_size if part.is_file() else 0
    if start > remote.size:
        part.unlink()
        start = 0
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        done = start if resumed else 0
        with part.open("ab" if resumed else "wb") as stream:
            while block := response.read(BLOCK):
                stream.write(block)
                done += len(block)
                if progress is not None:
                    progress(done, remote.size)
                if cancelled is not None and cancelled():
                    raise Cancelled(f"stopped at {done} of {remote.size} bytes; download again to resume.")
                if done > remote.size:
                    break
    if done < remote.size:
        raise http.client.IncompleteRead(b"", remote.size - done)
