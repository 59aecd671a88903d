"""Downloads against a real server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from segany.core.errors import Cancelled, CheckpointError
from segany.modeling.checkpoints import download as room
from segany.modeling.checkpoints.download import REGISTRY, RemoteFile, cached_path, download

CONTENT = bytes(range(256)) * 4096
NAME = "vit_x"


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT; can ignore ranges, drop the connection half-way, or answer with an error."""

    ranges: bool = True
    drop_after: int | None = None
    status: int = 200
    asked: list[str | None]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.drop_after])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("SEGANY_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(room, "BLOCK", 1 << 16)
    made = Server(("127.0.0.1", 0), Handler)
    made.asked = []
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def registry(server: Server, content: bytes = CONTENT) -> Mapping[str, RemoteFile]:
    url = f"http://127.0.0.1:{server.server_port}/weights.pth"
    return {NAME: RemoteFile(url=url, sha256=hashlib.sha256(content).hexdigest(), size=len(content))}


def part_of(known: Mapping[str, RemoteFile]) -> Path:
    target = cached_path(NAME, known)
    return target.with_name(target.name + ".part")


def test_whole_file_with_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = download(NAME, registry=registry(server), progress=lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "models" / "weights.pth"
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_present_file_is_not_fetched_again(server: Server) -> None:
    known = registry(server)
    assert download(NAME, registry=known) == download(NAME, registry=known)
    assert len(server.asked) == 1


def test_dropped_connection_resumes(server: Server) -> None:
    known = registry(server)
    server.drop_after = 300_000
    with pytest.raises(CheckpointError, match=r"must be fetched from http.*failed: .*Run it again to resume"):
        download(NAME, registry=known)
    assert part_of(known).stat().st_size == 300_000
    assert not cached_path(NAME, known).exists()
    server.drop_after = None
    assert download(NAME, registry=known).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-"]


def test_server_without_ranges_starts_over(server: Server) -> None:
    known = registry(server)
    part_of(known).parent.mkdir()
    part_of(known).write_bytes(b"x" * 1000)
    server.ranges = False
    assert download(NAME, registry=known).read_bytes() == CONTENT


def test_complete_part_needs_no_connection(server: Server) -> None:
    known = registry(server)
    part_of(known).parent.mkdir()
    part_of(known).write_bytes(CONTENT)
    assert download(NAME, registry=known).read_bytes() == CONTENT
    assert not server.asked


def test_overlong_part_starts_over(server: Server) -> None:
    known = registry(server)
    part_of(known).parent.mkdir()
    part_of(known).write_bytes(CONTENT + b"more")
    assert download(NAME, registry=known).read_bytes() == CONTENT


def test_corrupted_part_is_noticed_and_removed(server: Server) -> None:
    known = registry(server)
    part_of(known).parent.mkdir()
    part_of(known).write_bytes(b"x" * 1000)
    with pytest.raises(CheckpointError, match=r"sha256 .*; got [0-9a-f]{64}. Remove it and fetch"):
        download(NAME, registry=known)
    assert not list(part_of(known).parent.iterdir())
    assert download(NAME, registry=known).read_bytes() == CONTENT


def test_another_file_under_that_address(server: Server) -> None:
    known = registry(server, bytes(len(CONTENT)))
    with pytest.raises(CheckpointError, match=r"got [0-9a-f]{64}"):
        download(NAME, registry=known)
    assert not list(cached_path(NAME, known).parent.iterdir())


def test_corrupted_file_in_the_cache(server: Server) -> None:
    known = registry(server)
    path = download(NAME, registry=known)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(CheckpointError, match=rf"{len(CONTENT)} bytes.*got {len(CONTENT) - 1} bytes. Remove it"):
        download(NAME, registry=known)


def test_cancelled_keeps_what_came(server: Server) -> None:
    known = registry(server)
    with pytest.raises(Cancelled, match=r"of 1048576 bytes; download again to resume"):
        download(NAME, registry=known, cancelled=lambda: True)
    assert 0 < part_of(known).stat().st_size < len(CONTENT)
    assert download(NAME, registry=known).read_bytes() == CONTENT


def test_server_error(server: Server) -> None:
    server.status = 404
    with pytest.raises(CheckpointError, match=r"failed: HTTP Error 404"):
        download(NAME, registry=registry(server))


def test_offline_says_where_to_put_the_file(server: Server) -> None:
    known = registry(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(CheckpointError, match=r"must be fetched.*failed.*put it at .*models.*weights.pth"):
        download(NAME, registry=known)
    assert not list(cached_path(NAME, known).parent.iterdir())


def test_unknown_name() -> None:
    with pytest.raises(CheckpointError, match=r"must be one of vit_b, vit_l, vit_h, vit_t; got 'vit_z'"):
        download("vit_z")


def test_released_files() -> None:
    prefixes = {"vit_b": "01ec64", "vit_l": "0b3195", "vit_h": "4b8939"}
    for name, prefix in prefixes.items():
        assert REGISTRY[name].file_name == f"sam_{name}_{prefix}.pth"
        assert REGISTRY[name].url.startswith("https://dl.fbaipublicfiles.com/segment_anything/")
    assert [round(REGISTRY[name].size / 1e6) for name in ("vit_h", "vit_l", "vit_b")] in ([2565, 1250, 375],)
    assert all(len(remote.sha256) == 64 for remote in REGISTRY.values())
