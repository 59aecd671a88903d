"""A real `segany serve` process: started, used, killed, started again, stopped."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from segany.masks.rle import decode
from segany.modeling.checkpoints.save import save_model
from segany.records.sa1b import from_sa1b

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

PATIENCE_S = 60
SLOW_KNOBS = {"points_per_side": 100, "points_per_batch": 1}
"""10,000 steps: far more than any test waits for."""


HALF_AN_UPLOAD = (
    b"POST /api/v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    b"Content-Length: 500000\r\n\r\n--b\r\n"
    b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"\x89PNG" * 1000
)


@dataclass
class Service:
    """A running process."""

    process: subprocess.Popen[str]
    url: str
    errors: Path

    @property
    def api(self) -> str:
        return f"{self.url}api/v1"

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rsplit(":", 1)[1])


Start = Callable[..., Service]


@pytest.fixture(scope="module")
def weights(toy_predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "toy.safetensors"
    return save_model(toy_predictor.model.state_dict(), toy_predictor.config, path)


@pytest.fixture
def start(weights: Path, tmp_path: Path) -> Iterator[Start]:
    """(words of the command line) -> a running service, all with one data folder; killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def run(*words: str, **environment: str) -> Service:
        errors = tmp_path / f"stderr-{len(running)}"
        command = [sys.executable, "-m", "segany", "serve", "--model", f"toy={weights}", "--port", "0", "--no-prepare"]
        command += ["--threads", "1", "--data", str(tmp_path / "data"), *words]
        usual = {**os.environ, "OMP_NUM_THREADS": "1"}
        usual.pop("SEGANY_TOKEN", None)
        with open(errors, "w") as sink:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=sink, text=True, env={**usual, **environment}
            )
        running.append(process)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http"), errors.read_text()
        return Service(process, url, errors)

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def photo() -> bytes:
    y, x = np.mgrid[:60, :90]
    buffer = io.BytesIO()
    Image.fromarray(np.stack([x * 2, y * 4, (x // 10 + y // 10) % 2 * 200], -1).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def upload(service: Service, **more: Any) -> str:
    answer = httpx2.post(f"{service.api}/images", files={"file": ("a.png", photo())}, timeout=PATIENCE_S, **more)
    assert answer.status_code == 200, answer.text
    key: str = answer.json()["key"]
    return key


def start_job(service: Service, key: str, **knobs: Any) -> str:
    body = {"kind": "everything", "image": key, "knobs": knobs}
    answer = httpx2.post(f"{service.api}/jobs", json=body, timeout=PATIENCE_S)
    assert answer.status_code == 202, answer.text
    id: str = answer.json()["id"]
    return id


def job(service: Service, id: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx2.get(f"{service.api}/jobs/{id}", timeout=PATIENCE_S).json()
    return answer


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def serves(service: Service, key: str) -> None:
    answer = httpx2.post(
        f"{service.api}/images/{key}/masks",
        json={"prompts": [{"points": [[20, 20]], "labels": [1]}]},
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 200 and len(answer.json()["results"][0]["masks"]) == 3


def test_a_photo_a_click_a_job_and_a_quiet_end(start: Start, toy_predictor: Predictor) -> None:
    service = start()
    key = upload(service)
    prompt = {"points": [[20, 20]], "labels": [1]}
    answer = httpx2.post(f"{service.api}/images/{key}/masks", json={"prompts": [prompt]}, timeout=PATIENCE_S).json()
    rgb = np.asarray(Image.open(io.BytesIO(photo())))
    expected = toy_predictor.decode(toy_predictor.encode(rgb), points=[(20, 20)], labels=[1])
    got = np.stack([decode(mask["segmentation"]) for mask in answer["results"][0]["masks"]])
    assert got.shape == expected.masks.shape and (got != expected.masks).mean() < 0.002
    id = start_job(service, key, points_per_side=2)
    names = []
    with httpx2.stream("GET", f"{service.api}/jobs/{id}/events", timeout=PATIENCE_S) as stream:
        names = [line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event: ")]
    assert names[-1] == "done" and set(names[:-1]) <= {"progress"}
    record = from_sa1b(httpx2.get(f"{service.api}/jobs/{id}/records").json())
    assert (record.height, record.width) == (60, 90)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(PATIENCE_S) == 0


def test_a_kill_loses_no_photo_no_embedding_and_no_job(start: Start) -> None:
    service = start()
    key = upload(service)
    embedding = httpx2.get(f"{service.api}/images/{key}/embedding", timeout=PATIENCE_S).content
    done = start_job(service, key, points_per_side=1)
    wait_until(lambda: job(service, done)["status"] == "done")
    records = httpx2.get(f"{service.api}/jobs/{done}/records").content
    running, queued = start_job(service, key, **SLOW_KNOBS), start_job(service, key, points_per_side=1)
    wait_until(lambda: job(service, running)["progress"]["done"] > 0)
    service.process.kill()
    service.process.wait()

    again = start()
    assert httpx2.get(f"{again.api}/images/{key}").content == photo()
    assert httpx2.get(f"{again.api}/images/{key}/embedding", timeout=PATIENCE_S).content == embedding
    metrics = httpx2.get(f"{again.url}metrics").text
    assert 'segany_embeddings_total{found="disk"} 1.0' in metrics and 'found="made"' not in metrics
    assert httpx2.get(f"{again.api}/jobs/{done}/records").content == records
    wait_until(lambda: job(again, running)["progress"]["done"] > 0)
    assert httpx2.delete(f"{again.api}/jobs/{running}", timeout=PATIENCE_S).json()["status"] == "cancelled"
    wait_until(lambda: job(again, queued)["status"] == "done")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_puts_the_running_job_back(start: Start, tmp_path: Path, name: str) -> None:
    service = start()
    id = start_job(service, upload(service), **SLOW_KNOBS)
    wait_until(lambda: job(service, id)["progress"]["done"] > 0)
    with httpx2.stream("GET", f"{service.api}/jobs/{id}/events", timeout=PATIENCE_S) as stream:
        lines = stream.iter_lines()
        assert any(line.startswith("event: progress") for line in lines)
        service.process.send_signal(getattr(signal, name))
        ends = [line for line in lines if line.startswith(("event: done", "event: failed"))]
    assert ends == [], "the stream ends without an end of the job"
    assert service.process.wait(PATIENCE_S) == (0 if name == "SIGTERM" else 1)
    assert json.loads((tmp_path / "data" / "jobs" / id / "job.json").read_text())["status"] == "queued"
    assert "Traceback" not in service.errors.read_text()


def test_other_addresses_demand_a_token(start: Start) -> None:
    service = start("--host", "0.0.0.0")
    said = service.errors.read_text()
    token = next(line for line in said.splitlines() if "token, shown only now" in line).rsplit(" ", 1)[1]
    api = f"http://127.0.0.1:{service.port}/api/v1"
    assert httpx2.get(f"{api}/health").status_code == 200
    assert httpx2.get(f"{api}/jobs").status_code == 401
    assert httpx2.get(f"{api}/jobs", headers={"authorization": "Bearer " + "x" * 43}).status_code == 401
    assert httpx2.get(f"{api}/jobs", headers={"authorization": f"Bearer {token}"}).status_code == 200
    assert httpx2.get(f"http://127.0.0.1:{service.port}/?token={token}").status_code == 303
    assert said.count(token) == service.errors.read_text().count(token) == 2, "the token is in no later line"


def test_the_token_of_the_environment_is_taken_and_not_told(start: Start) -> None:
    token = "0123456789abcdef-secret"
    service = start(SEGANY_TOKEN=token)
    assert httpx2.get(f"{service.api}/jobs").status_code == 401
    assert httpx2.get(f"{service.api}/jobs", headers={"authorization": f"Bearer {token}"}).status_code == 200
    assert httpx2.get(f"{service.url}?token={token}").status_code == 303
    assert token not in service.errors.read_text()


def test_clients_that_go_away_are_no_trouble(start: Start, tmp_path: Path) -> None:
    service = start()
    key = upload(service)
    id = start_job(service, key, **SLOW_KNOBS)
    for _ in range(5):
        with httpx2.stream("GET", f"{service.api}/jobs/{id}/events", timeout=PATIENCE_S) as stream:
            assert next(stream.iter_lines()).startswith("retry")
        with socket.create_connection(("127.0.0.1", service.port)) as half:
            half.sendall(HALF_AN_UPLOAD)
        with socket.create_connection(("127.0.0.1", service.port)) as impatient:
            body = json.dumps({"prompts": [{"points": [[20, 20]], "labels": [1]}]}).encode()
            head = f"POST /api/v1/images/{key}/masks HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
            impatient.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
    serves(service, key)
    httpx2.delete(f"{service.api}/jobs/{id}", timeout=PATIENCE_S)
    assert len(list((tmp_path / "data" / "images").rglob("*.bin"))) == 1
    said = service.errors.read_text()
    assert "Traceback" not in said and "unforeseen" not in said


def test_nonsense_on_the_wire_is_turned_away(start: Start) -> None:
    service = start()
    for nonsense in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 200_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"b" * 200_000,
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\n{}",
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    ):
        with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_S) as wire:
            answer = b""
            try:
                wire.sendall(nonsense)
                answer = wire.recv(1000)
            except (ConnectionResetError, BrokenPipeError):
                pass
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer
    serves(service, upload(service))


def test_a_port_in_use_is_said_so(start: Start, weights: Path, tmp_path: Path) -> None:
    service = start()
    done = subprocess.run(
        [sys.executable, "-m", "segany", "serve", "--model", f"toy={weights}", "--port", str(service.port),
         "--data", str(tmp_path / "other"), "--no-prepare"],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 1 and "choose one with --port" in done.stderr and "Traceback" not in done.stderr


def test_two_services_do_not_share_a_data_folder(start: Start, weights: Path, tmp_path: Path) -> None:
    start()
    done = subprocess.run(
        [sys.executable, "-m", "segany", "serve", "--model", f"toy={weights}", "--port", "0",
         "--data", str(tmp_path / "data"), "--no-prepare"],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 2 and "in use by another" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--token", "short"], "at least 16"),
        (["--device", "cuda:77"], "device must be"),
        (["--threads", "0"], "threads must be"),
        (["--model", "a=x", "--model", "a=y"], "different names"),
        (["--max-pixels", "0"], "max_pixels must be at least 1"),
    ],
)
def test_wrong_options_end_with_2(words: list[str], said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "segany", "serve", "--port", "0", "--data", str(tmp_path), *words],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
