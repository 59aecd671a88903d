"""A real `segany serve --project` process, on both databases: worked with, killed, stopped, its weights changed by
another process, and its log searched for secrets."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from segany.engine.store.store import Store
from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.save import save_model

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

PASSWORD, WRONG = "correct horse battery", "incorrect donkey cell"
DATABASE_PASSWORD = "geheim-und-lang"
PATIENCE_S = 60.0
PUBLISH = """
import sys, time
from segany.engine.store import open_store
store = open_store(sys.argv[1])
store.publish_model(int(sys.argv[2]))
print(time.time())
"""


@dataclass
class Shop:
    """A store, and the processes that serve it."""

    folder: Path
    environment: dict[str, str]
    weights: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)

    def start(self) -> str:
        """Serve; the address of the API."""
        log = self.folder / f"log-{len(self.logs)}"
        command = [sys.executable, "-m", "segany", "serve", "--project", str(self.folder / "store"), "--port", "0"]
        command += ["--model", f"toy={self.weights}", "--no-prepare", "--threads", "1"]
        with open(log, "w") as sink:
            process = subprocess.Popen(
                [*command, "--data", str(self.folder / "data")],
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                env=self.environment,
            )
        self.running.append(process)
        self.logs.append(log)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http"), log.read_text()
        return f"{url}api/v1"

    def end(self, how: signal.Signals) -> int:
        """Stop the newest one."""
        self.running[-1].send_signal(how)
        return self.running[-1].wait(PATIENCE_S)

    def publish(self, model: int) -> subprocess.Popen[str]:
        """Put weights into use from another process; it tells when it had done so."""
        command = [sys.executable, "-c", PUBLISH, str(self.folder / "store"), str(model)]
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)
        self.running.insert(0, process)
        return process


def photo(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 80, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, toy_predictor: Predictor) -> Iterator[Shop]:
    """A project with two photos, an annotator, and two versions of weights of which none is in use."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SEGANY_TOKEN": "a token that does not count here"}
    environment.pop("SEGANY_DATABASE", None)
    address = None
    if request.param == "postgresql":
        import sqlalchemy as sa

        server: str = request.getfixturevalue("postgres")
        engine = sa.create_engine(server + "postgres", isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text("DROP DATABASE IF EXISTS shop WITH (FORCE)"))
            connection.execute(sa.text("CREATE DATABASE shop"))
        address = server.replace("segany@", f"segany:{DATABASE_PASSWORD}@") + "shop"
        environment["SEGANY_DATABASE"] = address
    store = Store(tmp_path / "store", database=address, create=True)
    project = store.create_project("garden").id
    for number in range(2):
        store.add_image(project, f"{number}.png", photo(number))
    store.open_stage(project, "manual")
    store.add_user("ann", PASSWORD, "annotator")
    state = toy_predictor.model.state_dict()
    files = [
        save_model({name: tensor * scale for name, tensor in state.items()}, toy_predictor.config, tmp_path / file)
        for scale, file in ((1.0, "toy.safetensors"), (1.1, "one.safetensors"), (1.2, "two.safetensors"))
    ]
    for file in files[1:]:
        store.register_model(project, file.stem, file, fingerprint=load_model(file).fingerprint)
    store.close()
    made = Shop(tmp_path, environment, files[0])
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def nothing_found(work: dict[str, Any]) -> dict[str, Any]:
    """A document without masks."""
    about = {name: work["image"][name] for name in ("image_id", "width", "height", "file_name")}
    when = "2026-01-31T12:00:00Z"
    image = {**about, "sha256": work["image"]["key"]}
    document = {"format": "segany-annotation 1", "image": image, "created": when, "modified": when}
    return {**document, "active_seconds": 1.0, "annotations": []}


def test_work_outlives_kills_weights_change_and_no_secret_is_logged(shop: Shop) -> None:
    api = shop.start()
    secrets = [PASSWORD, WRONG, DATABASE_PASSWORD, shop.environment["SEGANY_TOKEN"]]
    with httpx2.Client(timeout=PATIENCE_S) as page:
        assert page.get(f"{api}/health").json()["project"] is True
        assert page.post(f"{api}/session", json={"name": "ann", "password": WRONG}).status_code == 401
        shown = {"Authorization": f"Bearer {shop.environment['SEGANY_TOKEN']}"}
        assert httpx2.get(f"{api}/projects", headers=shown).status_code == 401
        csrf = page.post(f"{api}/session", json={"name": "ann", "password": PASSWORD}).json()["csrf"]
        head = {"X-Segany-CSRF": csrf}
        token = page.post(f"{api}/session/token", json={"label": "mine"}, headers=head).json()["token"]
        work = page.post(f"{api}/projects/1/claim", json={}, headers=head).json()
        secrets += [csrf, token, work["lease"], page.cookies["segany_session"]]
        assert page.get(f"{api}/projects?token={token}&lease={work['lease']}").status_code == 200

        prompts = {"prompts": [{"points": [[5, 5]], "labels": [1]}]}
        address = f"images/{work['image']['key']}/masks"
        before = page.post(f"{api}/{address}", json=prompts, headers=head).json()["fingerprint"]
        wanted, answers = load_model(shop.folder / "one.safetensors").fingerprint, [before]
        other, began = shop.publish(1), time.monotonic()
        while answers[-1] != wanted:
            answer = page.post(f"{api}/{address}", json=prompts, headers=head)
            assert answer.status_code == 200, "nobody notices the change"
            answers.append(answer.json()["fingerprint"])
            assert time.monotonic() - began < PATIENCE_S
        seen = time.time()
        assert sorted(answers, key=[before, wanted].index) == answers and before != wanted
        assert other.stdout is not None
        print(f"answered by the new weights {seen - float(other.stdout.readline()):.2f} s after their publication")

        assert shop.end(signal.SIGKILL) == -signal.SIGKILL
        api = shop.start()
        beat = page.post(f"{api}/tasks/{work['task']}/heartbeat", json={"lease": work["lease"]}, headers=head)
        assert beat.status_code == 200, "login and lease are in the database"
        assert page.post(f"{api}/{address}", json=prompts, headers=head).json()["fingerprint"] == wanted
        body = {"lease": work["lease"], "key": "a-key-of-the-client", "document": nothing_found(work)}
        wrong = {**body, "lease": "another", "document": {**nothing_found(work), "format": token}}
        assert page.post(f"{api}/tasks/{work['task']}/submit", json=wrong, headers=head).status_code == 422
        done = page.post(f"{api}/tasks/{work['task']}/submit", json=body, headers=head)
        assert done.json()["state"] == "submitted"

        again = page.post(f"{api}/tasks/{work['task']}/submit", json=body, headers=head).json()
        assert again["repeated"] and again["document"] == done.json()["document"]
        assert shop.end(signal.SIGTERM) == 0, "a stop that is asked for is no failure"

    logs = "".join(log.read_text() for log in shop.logs)
    for process in shop.running:
        assert process.stdout is not None
        logs += process.stdout.read()
    assert "weights_taken" in logs and f"/api/v1/tasks/{work['task']}/submit" in logs, "this is the log"
    assert [secret for secret in secrets if secret in logs] == []
    assert "unforeseen" not in logs and "Traceback" not in logs


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--project", "{folder}/nothing"], "nothing"),
        (["--project", "{folder}", "--token", "a" * 20], "--token"),
        (["--database", "sqlite:///a"], "--project"),
    ],
)
def test_wrong_options_are_said_so(words: list[str], said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "segany", "serve", *(word.format(folder=tmp_path) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode != 0 and said in done.stderr and "Traceback" not in done.stderr
