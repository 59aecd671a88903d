"""A service around a store with photos and people, on both databases, and somebody of every role to ask it."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
from PIL import Image as Picture
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from starlette.testclient import TestClient

from segany.engine.config import ProjectSettings
from segany.engine.store.store import Store
from segany.modeling.checkpoints.save import save_model
from segany.records.annotation import Annotation, AnnotationDocument, Interaction
from segany.records.gesture import Gesture
from segany.records.record import MaskRecord
from segany.service import Settings, create_app

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

HERE = "http://127.0.0.1:8000"
API = "/api/v1"
PASSWORD = "correct horse"
HEIGHT, WIDTH = 48, 80
AT = "2026-01-31T12:00:00Z"
ROLES = ("annotator", "reviewer", "admin")
KEYS = (f"client-key-{number}" for number in itertools.count())


def photo(seed: int) -> bytes:
    """A small PNG, different for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def document(image: dict[str, Any], *boxes: tuple[int, int, int, int], seconds: float = 10.0) -> dict[str, Any]:
    """Boxes as masks, each made with one click, for the image of an assignment."""
    annotations = []
    for number, (x0, y0, x1, y1) in enumerate(boxes or ((2, 2, 12, 12),)):
        mask = np.zeros((image["height"], image["width"]), np.bool_)
        mask[y0:y1, x0:x1] = True
        prompts = (Gesture(kind="point", x=x0, y=y0, label=1, at=AT),)
        annotations.append(
            Annotation(
                mask=MaskRecord.from_mask(mask, id=number, source="model"),
                interaction=Interaction(created=AT, modified=AT, prompts=prompts, active_seconds=seconds),
            )
        )
    return AnnotationDocument(
        image_id=image["image_id"],
        width=image["width"],
        height=image["height"],
        file_name=image["file_name"],
        sha256=image["key"],
        created=AT,
        modified=AT,
        active_seconds=seconds,
        annotations=tuple(annotations),
    ).to_json()


def key() -> str:
    """A new key of a write."""
    return next(KEYS)


class Person:
    """Asks the service as somebody, with their token; without one as nobody."""

    def __init__(self, client: TestClient, token: str | None, id: int | None = None) -> None:
        self.client, self.token, self.id = client, token, id

    def __call__(self, method: str, path: str, **more: Any) -> httpx2.Response:
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        headers |= more.pop("headers", {})
        return self.client.request(method, API + path, headers=headers, **more)

    def claim(self, project: int) -> dict[str, Any]:
        """The next task."""
        answer = self("POST", f"/projects/{project}/claim", json={})
        assert answer.status_code == 200, answer.text
        work: dict[str, Any] = answer.json()
        return work

    def submit(self, work: dict[str, Any], *boxes: tuple[int, int, int, int], **more: Any) -> httpx2.Response:
        """Hand in boxes."""
        body = {"lease": work["lease"], "key": key(), "document": document(work["image"], *boxes), **more}
        return self("POST", f"/tasks/{work['task']}/submit", json=body)

    def claim_review(self, project: int) -> dict[str, Any]:
        """The next document to judge."""
        answer = self("POST", f"/projects/{project}/reviews/claim")
        assert answer.status_code == 200, answer.text
        work: dict[str, Any] = answer.json()
        return work

    def judge(self, work: dict[str, Any], verdict: str, **more: Any) -> httpx2.Response:
        """A verdict."""
        body = {"lease": work["lease"], "key": key(), "verdict": verdict, **more}
        return self("POST", f"/tasks/{work['task']}/review", json=body)


class Place:
    """A store, and services on it one after the other."""

    def __init__(self, folder: Path, address: str, predictor: Predictor, stack: ExitStack) -> None:
        cheap = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
        self.store = Store(folder / "store", database=address, create=True, hasher=cheap)
        stack.callback(self.store.close)
        self._folder, self._predictor, self._stack = folder, predictor, stack
        self.client: TestClient

    def fill(self, *, images: int = 3, **settings: Any) -> Place:
        """A project with photos in the first stage, two annotators, and one of each other role."""
        self.project = self.store.create_project("garden", settings=ProjectSettings(**settings)).id
        self.images = [self.store.add_image(self.project, f"photo{i}.png", photo(i)) for i in range(images)]
        self.store.open_stage(self.project, "manual")
        self.names = {"ann": "annotator", "bob": "annotator", "rev": "reviewer", "root": "admin"}
        self.users = {name: self.store.add_user(name, PASSWORD, role).id for name, role in self.names.items()}
        self.tokens = {name: self.store.issue_token(id, seconds=3600).secret for name, id in self.users.items()}
        return self

    def serve(self, loaders: Any = None, source_of: Any = None, **settings: Any) -> Place:
        """Start a service."""
        usual = {"data_dir": self._folder / "data", "threads": 1, "prepare": False, "rate_per_s": 0, "accounts": True}
        app = create_app(
            Settings(**{**usual, **settings}),
            loaders=loaders or {"toy": lambda: self._predictor},
            source_of=source_of,
            project=self.store,
        )
        self.client = TestClient(app, base_url=HERE, raise_server_exceptions=False)
        self._running = self._stack.enter_context(ExitStack())
        self._running.enter_context(self.client)
        return self

    def stop(self) -> None:
        """Stop the service as a signal would."""
        self._running.close()

    def as_(self, name: str | None) -> Person:
        """Somebody who asks."""
        return Person(self.client, None if name is None else self.tokens[name], self.users.get(name or ""))


@pytest.fixture
def place(address: str, tmp_path: Path, toy_predictor: Predictor) -> Iterator[Place]:
    """A store on each database in turn; services end with the test."""
    with ExitStack() as stack:
        yield Place(tmp_path, address, toy_predictor, stack)


@pytest.fixture
def here(tmp_path: Path, toy_predictor: Predictor) -> Iterator[Place]:
    """A store on SQLite alone, for what does not depend on the database."""
    with ExitStack() as stack:
        yield Place(tmp_path, f"sqlite:///{tmp_path / 'engine.sqlite'}", toy_predictor, stack)


@pytest.fixture(scope="session")
def weights(toy_predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of three different models."""
    folder, made = tmp_path_factory.mktemp("weights"), []
    for number in range(3):
        state = {name: tensor * (1.05 + 0.05 * number) for name, tensor in toy_predictor.model.state_dict().items()}
        made.append(save_model(state, toy_predictor.config, folder / f"toy{number}.safetensors"))
    return made
