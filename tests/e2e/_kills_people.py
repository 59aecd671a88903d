"""People and programs at work on a project, meant to be killed: `python _kills_people.py ROLE FOLDER NAME SEED`.

ROLE "annotator" or "reviewer": a simulated person behind the HTTP API, who tries every call again until it is
answered. ROLE "client": a program that writes to the database itself, as importing photos and the automatic stage do.

Each keeps a ledger, FOLDER/NAME.ledger, one line of JSON per step, on the disk before the next step: "sent" before a
write, "told" with its answer. Whoever is started again first sends once more what was sent and never answered, under
the same key.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from segany.core.errors import StoreUnavailableError
from segany.masks.rle import decode
from segany.recipes.engine_client import EngineClient, ServiceError
from segany.recipes.engine_human import HumanConfig
from segany.recipes.engine_simulated import Annotator, Reviewer
from segany.records.annotation import Annotation, AnnotationDocument, Interaction
from segany.records.record import MaskRecord

PASSWORD = "correct horse battery"
PATIENCE_S = 180.0
HUMAN = HumanConfig(most_clicks=2, most_masks=3, most_strokes=1, enough_iou=0.6, drop_iou=0.0, skip_share=0.08)
THINK_S = (0.05, 0.3)
"""Before each question to the model."""
IDLE_S = 0.1
QUEUE = 14
"""So many photos wait for annotators while the client adds some."""
HOLD_S = 0.03
"""The client is slow: so long every transaction stays open before it is committed."""
AT = "2026-01-31T12:00:00Z"
Result = TypeVar("Result")
Line = dict[str, Any]


class Ledger:
    """What somebody sent and was told; survives them."""

    def __init__(self, path: Path) -> None:
        torn = path.exists() and not path.read_bytes().endswith(b"\n")
        self._file = open(path, "ab")  # noqa: SIM115 (kept open until the process is killed)
        if torn:
            self._file.write(b"\n")

    def note(self, kind: str, **more: Any) -> None:
        """Add a line, and wait until it is on the disk."""
        self._file.write(json.dumps({"kind": kind, **more}).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def lines_of(path: Path) -> list[Line]:
    """Every whole line of a ledger."""
    found = []
    for text in path.read_bytes().splitlines():
        try:
            found.append(json.loads(text))
        except ValueError:  # its writer was killed in the midst of it
            continue
    return found


def unanswered(lines: list[Line]) -> list[Line]:
    """Writes that were sent and neither confirmed nor refused."""
    over = {line["key"] for line in lines if line["kind"] in ("told", "refused")}
    return list({line["key"]: line for line in lines if line["kind"] == "sent" and line["key"] not in over}.values())


class LedgerClient(EngineClient):
    """A client of the API that writes down what it writes."""

    ledger: Ledger
    rng: np.random.Generator

    def call(self, method: str, path: str, body: Any) -> Any:
        """One call, tried again until it is answered; a write under one key."""
        if path.endswith("/masks"):
            time.sleep(self.rng.uniform(*THINK_S))
        if not isinstance(body, dict) or "key" not in body:
            answer = super().call(method, path, body)
            if path.endswith("/claim") and answer is not None:
                self.ledger.note("claimed", task=answer["task"])
            return answer
        self.ledger.note("sent", key=body["key"], path=path, body=body)
        return self.send(path, body)

    def send(self, path: str, body: Line) -> Any:
        """A write that the ledger has already."""
        try:
            answer = super().call("POST", path, body)
        except ServiceError as error:
            self.ledger.note("refused", key=body["key"], code=error.code)
            raise
        self.ledger.note("told", key=body["key"], answer=answer)
        return answer


def person(role: str, folder: Path, name: str, seed: int) -> None:
    """Annotate or review for ever."""
    about = json.loads((folder / "about.json").read_text())
    client = LedgerClient(about["url"], PATIENCE_S)
    client.ledger, client.rng = Ledger(folder / f"{name}.ledger"), np.random.default_rng(seed)
    client.log_in(name, PASSWORD)
    for line in unanswered(lines_of(folder / f"{name}.ledger")):
        try:
            client.send(line["path"], line["body"])
        except ServiceError as error:
            if error.code != "lease":
                raise
    worker = (Annotator if role == "annotator" else Reviewer)(client, about[role], HUMAN, seed)
    while True:
        if not worker.work_once(about["project"], "manual"):
            client.ledger.note("idle")
            time.sleep(IDLE_S)


def patient(call: Callable[[], Result]) -> Result:
    """Try again while the database does not answer."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except StoreUnavailableError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


class Client:
    """A program that brings photos and puts them into the queue, and writes masks that no person made."""

    def __init__(self, folder: Path, name: str) -> None:
        import sqlalchemy as sa

        from segany.engine.store import open_store

        about = json.loads((folder / "about.json").read_text())
        self.folder, self.project, self.user = folder, about["project"], about["users"][name]
        self.truth = about["truth"]
        self.store = patient(lambda: open_store(folder / "store"))
        sa.event.listen(self.store._engine, "commit", lambda connection: time.sleep(HOLD_S))
        self.path = folder / f"{name}.ledger"
        self.ledger = Ledger(self.path)

    def work(self) -> None:
        """One photo after the other, from where it stopped."""
        for line in unanswered(lines_of(self.path)):
            self.write(line["key"], line["photo"])
        done = {line["photo"] for line in lines_of(self.path) if line["kind"] == "told"}
        for photo in sorted(path.name for path in (self.folder / "photos").iterdir()):
            if photo in done:
                continue
            while patient(lambda: len(self.store.tasks(self.project, state="queued"))) >= QUEUE:
                time.sleep(IDLE_S)
            if (self.folder / "enough").exists():
                break
            key = f"automatic-{photo}"
            self.ledger.note("sent", key=key, photo=photo)
            self.write(key, photo)
        while True:
            time.sleep(1)

    def write(self, key: str, photo: str) -> None:
        """Photo, task and document: three transactions, each of which may be the last."""
        raw = (self.folder / "photos" / photo).read_bytes()
        image = patient(lambda: self.store.add_image(self.project, photo, raw))
        patient(lambda: self.store.open_stage(self.project, "manual", [image.id]))
        masks = [MaskRecord.from_mask(decode(rle), id=n, source="automatic") for n, rle in enumerate(self.truth[photo])]
        document = AnnotationDocument(
            image_id=image.image_id,
            width=image.width,
            height=image.height,
            file_name=image.file_name,
            sha256=image.sha256,
            created=AT,
            modified=AT,
            annotations=tuple(Annotation(mask=one, interaction=Interaction(created=AT, modified=AT)) for one in masks),
        )
        kept, _ = patient(lambda: self.store.add_automatic(self.user, image.id, document, key=key))
        self.ledger.note("told", key=key, photo=photo, image=image.id, document=kept.id, body=document.to_json())


if __name__ == "__main__":
    _, role, folder, name, seed = sys.argv
    if role == "client":
        Client(Path(folder), name).work()
    else:
        person(role, Path(folder), name, int(seed))
