"""Eight annotators, a reviewer, a program at the database and a service, on both databases; twenty times one of them,
or a connection of the database, is killed in the midst of work. What was acknowledged is there, once; nothing is stuck.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

sa = pytest.importorskip("sqlalchemy")

from pwdlib import PasswordHash  # noqa: E402
from pwdlib.hashers.argon2 import Argon2Hasher  # noqa: E402

from segany.engine.config import ProjectSettings  # noqa: E402
from segany.engine.store.store import Store  # noqa: E402
from segany.engine.store.tables import DocumentRow, EventRow, ImageRow, TaskRow  # noqa: E402
from segany.engine.store.work import document_sha256  # noqa: E402
from segany.masks.rle import encode  # noqa: E402
from segany.modeling.checkpoints.save import save_model  # noqa: E402
from segany.records.annotation import AnnotationDocument  # noqa: E402

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

SCRIPT = Path(__file__).with_name("_kills_people.py")
SPEC = importlib.util.spec_from_file_location("kills_people", SCRIPT)
assert SPEC is not None and SPEC.loader is not None
PEOPLE_OF = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(PEOPLE_OF)
PASSWORD, lines_of, unanswered = PEOPLE_OF.PASSWORD, PEOPLE_OF.lines_of, PEOPLE_OF.unanswered
patient = PEOPLE_OF.patient
SEED = int(os.environ.get("SEGANY_KILLS_SEED", "20"))
"""Of the order of the victims and of the moments; other ones find other moments."""
KILLS, ANNOTATORS, PHOTOS = 20, 8, 400
LEASE_S, PATIENCE_S = 4.0, 180.0
HEIGHT, WIDTH = 48, 80
BUSY = {"claimed", "sent"}
PEOPLE = ("annotator", "reviewer")
DECKS = {
    "sqlite": ["service"] * 4 + ["worker"] * 11 + ["client"] * 5,
    "postgresql": ["service"] * 4 + ["worker"] * 7 + ["client"] * 4 + ["connection"] * 3 + ["backend"] * 2,
}
"""Whom to kill, in an order drawn by chance. A backend that dies takes all connections of the server with it."""
MAKING = ("submit", "fix", "automatic")
"""Events that come with a document of their own."""
BACKENDS = """SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'service'
AND state IN ('active', 'idle in transaction') ORDER BY pid LIMIT 1"""


class Told:
    """What a ledger says, read on as it grows."""

    def __init__(self, path: Path) -> None:
        self.path, self.newest, self.answers, self._read = path, "", 0, 0

    def look(self) -> str:
        """Kind of the newest line."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                file.seek(self._read)
                whole, cut, _ = file.read().rpartition(b"\n")
            self._read += len(whole) + len(cut)
            kinds = [text[9:].split(b'"')[1].decode() for text in whole.splitlines() if text.startswith(b'{"kind": ')]
            self.answers += kinds.count("told")
            self.newest = kinds[-1] if kinds else self.newest
        return self.newest


@dataclass
class Hall:
    """The project, its people, and the processes that play them."""

    folder: Path
    address: str | None
    weights: Path
    store: Store
    project: int
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(SEED))
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    away: dict[str, float] = field(default_factory=dict)
    hits: list[str] = field(default_factory=list)
    starts: int = 0
    gone: int = 0
    port: int = 0

    def start(self, name: str) -> None:
        """Let somebody work, or work again."""
        self.starts += 1
        role = name.split()[0]
        command = [sys.executable, str(SCRIPT), role, str(self.folder), name, str(SEED * 1000 + self.starts)]
        if role == "service":
            command = [sys.executable, "-m", "segany", "serve", "--project", str(self.folder / "store")]
            command += ["--port", str(self.port), "--model", f"toy={self.weights}", "--no-prepare", "--threads", "1"]
            command += ["--rate-per-s", "0", "--data", str(self.folder / "data")]
        known = {**os.environ, "OMP_NUM_THREADS": "1", "PGAPPNAME": role}
        known.pop("SEGANY_DATABASE", None)
        if self.address is not None:
            known["SEGANY_DATABASE"] = self.address
        with open(self.folder / f"{name}.log", "ab") as log:
            self.running[name] = subprocess.Popen(command, stdout=log, stderr=log, env=known)
        if role != "service":
            self.told.setdefault(name, Told(self.folder / f"{name}.ledger"))

    def watch(self) -> None:
        """Start those again whose time has come; nobody may have ended alone."""
        for name, when in list(self.away.items()):
            if time.monotonic() >= when:
                del self.away[name]
                self.start(name)
        for name, process in self.running.items():
            ended = process.poll() is not None and name not in self.away
            assert not ended, f"{name} ended alone:\n{(self.folder / f'{name}.log').read_text()[-3000:]}"

    def wait(self, until: Callable[[], Any], what: str) -> Any:
        """Go on until something is so."""
        over = time.monotonic() + PATIENCE_S
        while not (found := until()):
            self.watch()
            assert time.monotonic() < over, f"waited in vain for {what}; so far: {self.hits}"
            time.sleep(0.01)
        return found

    def answers(self) -> int:
        """Writes of people that the service has acknowledged."""
        for told in self.told.values():
            told.look()
        return sum(told.answers for name, told in self.told.items() if not name.startswith("client"))

    def busy(self, roles: tuple[str, ...], how: set[str] = BUSY) -> list[str]:
        """Those who hold a task, or wait for the answer to a write."""
        here = [name for name in self.told if name.startswith(roles) and name not in self.away]
        return [name for name in here if self.told[name].look() in how and self.running[name].poll() is None]

    def kill(self, kind: str) -> None:
        """The next kill: somebody of a kind, in the midst of work."""
        before = self.answers()
        self.wait(lambda: self.answers() >= before + 2, "work between two kills")
        self.rest(self.rng.uniform(0, 0.5))
        if kind in ("connection", "backend"):
            self.cut(kind)
        else:
            name = self.choose(kind)
            self.running[name].send_signal(signal.SIGKILL)
            assert self.running[name].wait() == -signal.SIGKILL, f"{name} was not alive"
            self.away[name] = time.monotonic() + self.pause(kind)
        self.hits.append(kind)

    def choose(self, kind: str) -> str:
        """Whom to kill; every second time somebody waits for the answer to a write."""
        how = {"sent"} if len(self.hits) % 2 else BUSY
        roles = (kind,) if kind == "client" else PEOPLE
        names: list[str] = self.wait(lambda: self.busy(roles, how), "somebody at work")
        if kind == "service":
            time.sleep(self.rng.uniform(0, 0.03))
            return "service"
        return names[int(self.rng.integers(len(names)))]

    def pause(self, kind: str) -> float:
        """Seconds until the killed one is back; every second worker comes back to a lease that ran out."""
        self.gone += kind == "worker"
        return 1.5 * LEASE_S if kind == "worker" and self.gone % 2 else float(self.rng.uniform(0, 0.3))

    def rest(self, seconds: float) -> None:
        over = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= over, "the time")

    def cut(self, kind: str) -> None:
        """End the server's side of a connection on which the service has a transaction open."""
        assert self.address is not None
        engine = sa.create_engine(self.address, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            while True:
                pid = self.wait(lambda: connection.scalar(sa.text(BACKENDS)), "a transaction of the service")
                if kind == "connection":
                    if connection.scalar(sa.text(f"SELECT pg_terminate_backend({pid:d})")):
                        return
                else:
                    os.kill(pid, signal.SIGKILL)
                    return

    def end(self) -> None:
        """Send everybody home."""
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture(params=["sqlite", "postgresql"])
def hall(request: pytest.FixtureRequest, tmp_path: Path, toy_predictor: Predictor) -> Iterator[Hall]:
    """A project without photos, and its people; photos and what is to be seen in them lie beside it."""
    address = None
    if request.param == "postgresql":
        server: str = request.getfixturevalue("postgres")
        engine = sa.create_engine(server + "postgres", isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text("DROP DATABASE IF EXISTS kills WITH (FORCE)"))
            connection.execute(sa.text("CREATE DATABASE kills"))
        address = server + "kills"
    cheap = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    store = Store(tmp_path / "store", database=address, create=True, hasher=cheap)
    knobs = ProjectSettings(
        lease_seconds=LEASE_S, review_seconds=LEASE_S, mend_seconds=0.0, review_share=0.4, review_first=0
    )
    project = store.create_project("garden", settings=knobs).id
    names = [*(f"annotator {number}" for number in range(ANNOTATORS)), "reviewer", "client"]
    users = {name: store.add_user(name, PASSWORD, role_of(name), simulated=True).id for name in names}
    seen, truth = photos(tmp_path / "photos")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    judged = {key: masks[: 1 + (number % 3 > 0)] for number, (key, masks) in enumerate(seen.items())}
    about = {"url": f"http://127.0.0.1:{port}/", "project": project, "users": users, "truth": truth}
    about |= {"annotator": seen, "reviewer": judged}  # a reviewer who sees less sends back, then mends
    (tmp_path / "about.json").write_text(json.dumps(about))
    state, config = toy_predictor.model.state_dict(), toy_predictor.config
    made = Hall(tmp_path, address, save_model(state, config, tmp_path / "toy.safetensors"), store, project, port=port)
    yield made
    made.end()
    store.close()


def role_of(name: str) -> Any:
    return "annotator" if name.startswith("annotator") else "reviewer" if name == "reviewer" else "admin"


def photos(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pictures of two boxes each; what is in them, by hash and by name."""
    folder.mkdir()
    rng = np.random.default_rng(SEED)
    seen, truth = {}, {}
    for number in range(PHOTOS):
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[:] = rng.integers(0, 255, 3)
        masks = []
        for left in (2, 42):
            box = np.zeros((HEIGHT, WIDTH), bool)
            x, y = int(left + rng.integers(0, 10)), int(rng.integers(2, 12))
            box[y : y + int(rng.integers(14, 30)), x : x + int(rng.integers(14, 24))] = True
            pixels[box] = rng.integers(0, 255, 3)
            masks.append(dict(encode(box)))
        pixels[0, 0] = number % 256, number // 256, 7
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        name = f"{number:04d}.png"
        (folder / name).write_bytes(file.getvalue())
        seen[hashlib.sha256(file.getvalue()).hexdigest()] = truth[name] = masks
    return seen, truth


@pytest.mark.timeout(900)
def test_twenty_kills_lose_nothing_double_nothing_and_leave_nothing_stuck(hall: Hall) -> None:
    deck = DECKS["sqlite" if hall.address is None else "postgresql"]
    for name in ("service", *json.loads((hall.folder / "about.json").read_text())["users"]):
        hall.start(name)
    for index in hall.rng.permutation(len(deck)):
        hall.kill(deck[int(index)])
    assert len(hall.hits) == KILLS and Counter(hall.hits) == Counter(deck), "every kill hit somebody at work"
    (hall.folder / "enough").touch()
    hall.wait(lambda: not hall.away, "the killed to come back")
    hall.wait(lambda: at_rest(hall), "tasks that are stuck")
    hall.end()
    with patient(hall.store._read) as s:
        events = list(s.scalars(sa.select(EventRow).order_by(EventRow.id)))
        documents = {row.id: row for row in s.scalars(sa.select(DocumentRow))}
        tasks = list(s.scalars(sa.select(TaskRow)))
        images = list(s.scalars(sa.select(ImageRow.sha256)))
    ledgers = {name: lines_of(told.path) for name, told in hall.told.items()}
    users = json.loads((hall.folder / "about.json").read_text())["users"]
    check_writes({users[name]: lines for name, lines in ledgers.items()}, events, documents)
    check_leases(events)
    check_tasks(tasks, documents, ledgers)
    assert len(images) == len(set(images)) >= sum(line["kind"] == "told" for line in ledgers["client"])
    told = [
        line["answer"] for lines in ledgers.values() for line in lines if line["kind"] == "told" and "answer" in line
    ]
    print(f"{Counter(hall.hits)}; {len(told)} writes of people, {sum(one['repeated'] for one in told)} told twice")
    print(Counter(event.kind for event in events), Counter(task.state for task in tasks))


def at_rest(hall: Hall) -> bool:
    """Whether all work is done, and everybody has been told so."""
    states = {task.state for task in patient(lambda: hall.store.tasks(hall.project))}
    return states <= {"accepted", "skipped"} and not hall.busy((*PEOPLE, "client"))


def check_writes(ledgers: dict[int, list[Any]], events: list[EventRow], documents: dict[int, DocumentRow]) -> None:
    """What was acknowledged is there, once, with the masks that were sent; nothing that was refused, nothing else."""
    kept = Counter((event.person_id, event.key) for event in events if event.key)
    assert set(kept.values()) == {1}
    by_key = {(event.person_id, event.key): event for event in events if event.key}
    sent_keys, made = set(), Counter(event.document_id for event in events if event.kind in MAKING)
    for user, lines in ledgers.items():
        bodies = {
            line["key"]: line.get("body", {}) for line in lines if line["kind"] in ("sent", "told") and "body" in line
        }
        sent_keys |= {(user, line["key"]) for line in lines if line["kind"] == "sent"}
        assert not unanswered(lines), "everybody was answered in the end"
        for line in lines:
            if line["kind"] == "refused":
                assert (user, line["key"]) not in by_key, "a write was made and yet refused"
            if line["kind"] != "told":
                continue
            event = by_key.get((user, line["key"]))
            assert event is not None, f"acknowledged, and lost: {line}"
            assert event.document_id == line.get("document", line.get("answer", {}).get("document"))
            body = bodies[line["key"]].get("document") or line.get("body")
            if body is not None:
                row = documents[event.document_id]
                assert content(json.loads(row.body)) == content(body) and row.author_id == user
                assert row.masks == len(body["annotations"])
                assert made[row.id] == 1, "two writes made one document"
    assert set(by_key) <= sent_keys, "in the store stands what nobody sent"
    assert set(made) == set(documents), "a document without the event of its writing, or an event without its document"


def content(document: Any) -> str:
    """Hash of what a document says."""
    return document_sha256(AnnotationDocument.from_json(document))


def check_leases(events: list[EventRow]) -> None:
    """A task has one annotator at a time, and nobody's lease is taken away before its time."""
    holders: dict[int, tuple[int | None, Any]] = {}
    ran_out = 0
    for event in events:
        if event.task_id is None:
            continue
        holder, since = holders.get(event.task_id, (None, None))
        if event.kind == "claim":
            assert holder is None, f"task {event.task_id} was held by two"
            holders[event.task_id] = (event.person_id, event.at)
        elif event.kind in ("submit", "skip"):
            assert holder == event.person_id, f"task {event.task_id} was written by who did not hold it"
            holders[event.task_id] = (None, None)
        elif event.kind == "expire":
            ran_out += holder is not None
            assert since is None or (event.at - since).total_seconds() >= LEASE_S
            holders[event.task_id] = (None, None)
    assert all(holder is None for holder, _ in holders.values())
    assert ran_out, "nobody's lease ran out: the test has not shown that others go on"


def check_tasks(tasks: list[TaskRow], documents: dict[int, DocumentRow], ledgers: dict[str, list[Any]]) -> None:
    """Every photo is done, once, and what counts is what somebody sent last."""
    assert len({(task.image_id, task.stage) for task in tasks}) == len(tasks) > KILLS
    versions: dict[int, list[DocumentRow]] = {}
    for row in documents.values():
        assert row.task_id is not None
        versions.setdefault(row.task_id, []).append(row)
    sent: dict[int, set[str]] = {}
    for lines in ledgers.values():
        for line in lines:
            if line["kind"] == "sent" and "document" in line.get("body", ()):
                sent.setdefault(int(line["path"].split("/")[2]), set()).add(content(line["body"]["document"]))
    for task in tasks:
        rows = sorted(versions.get(task.id, ()), key=lambda row: row.version)
        assert [row.version for row in rows] == list(range(1, len(rows) + 1))
        if task.stage == "auto":
            assert len(rows) == 1
        else:
            assert sum(row.kind == "submission" for row in rows) == task.submissions
            assert task.state == "skipped" or content(json.loads(rows[-1].body)) in sent[task.id]
