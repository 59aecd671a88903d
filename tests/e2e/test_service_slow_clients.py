"""Clients that send or take too slowly are cut off, and hold nobody up."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest
import uvicorn
from PIL import Image

from segany.service import Settings, create_app
from segany.service.patience import patient_protocol

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

LONG_S = 30


@pytest.fixture
def port(toy_predictor: Predictor, tmp_path: Path) -> Iterator[int]:
    settings = Settings(
        data_dir=tmp_path,
        threads=1,
        prepare=False,
        header_timeout_s=0.4,
        body_idle_s=0.4,
        write_timeout_s=0.4,
        max_pixels=10**8,
    )
    app = create_app(settings, loaders={"toy": lambda: toy_predictor})
    config = uvicorn.Config(app, port=0, log_config=None, ws="none", lifespan="on", http=patient_protocol(settings))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    number: int = server.servers[0].sockets[0].getsockname()[1]
    yield number
    server.should_exit = True
    thread.join(LONG_S)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LONG_S)


def read_all(wire: socket.socket) -> bytes:
    got = b""
    while piece := wire.recv(1 << 16):
        got += piece
    return got


def test_a_silent_client_is_cut_off(port: int) -> None:
    with connect(port) as wire:
        assert read_all(wire) == b""


def test_a_header_that_trickles_is_cut_off(port: int) -> None:
    with connect(port) as wire:
        wire.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n")
        assert read_all(wire) == b""


def test_the_second_request_of_a_connection_is_timed_too(port: int) -> None:
    with connect(port) as wire:
        wire.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/v1/heal")
        answer = read_all(wire)
    assert answer.count(b"HTTP/1.1 200") == 1


def test_a_body_that_trickles_gets_408(port: int) -> None:
    with connect(port) as wire:
        wire.sendall(
            b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b'Content-Length: 100\r\n\r\n{"kind":'
        )
        answer = read_all(wire)
    assert answer.startswith(b"HTTP/1.1 408") and b'"code":"slow"' in answer


def test_an_answer_nobody_takes_is_given_up(port: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2000, 2000, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    url = f"http://127.0.0.1:{port}/api/v1/images"
    key = httpx2.post(url, files={"file": ("a.bmp", buffer.getvalue())}, timeout=LONG_S).json()["key"]
    with connect(port) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        wire.sendall(f"GET /api/v1/images/{key} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(2)
        assert httpx2.get(f"http://127.0.0.1:{port}/api/v1/health", timeout=LONG_S).status_code == 200
        got = 0
        try:
            while piece := wire.recv(1 << 20):
                got += len(piece)
        except ConnectionResetError:
            pass
    assert got < len(buffer.getvalue())
