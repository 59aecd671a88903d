"""Stores on both databases, small photos, documents, and a clock that tests turn."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image as Picture

from segany.engine.config import ProjectSettings
from segany.engine.values import Image
from segany.records.annotation import Annotation, AnnotationDocument, Interaction
from segany.records.gesture import Gesture
from segany.records.record import MaskRecord

if TYPE_CHECKING:
    from segany.engine.store.store import Store

HEIGHT, WIDTH = 24, 32
AT = "2026-01-31T12:00:00Z"
PASSWORD = "correct horse"


class Clock:
    """A time that passes when told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_again(address: str, tmp_path: Path, clock: Clock) -> Iterator[Callable[[], Store]]:
    """Opens the store, as another process would; passwords are hashed cheaply."""
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    from segany.engine.store.store import Store

    opened: list[Store] = []

    def again() -> Store:
        cheap = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
        opened.append(Store(tmp_path / "store", database=address, create=True, clock=clock, hasher=cheap))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_again: Callable[[], Store]) -> Store:
    return open_again()


def photo(seed: int) -> bytes:
    """A small PNG, different for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def box_mask(x0: int, y0: int, x1: int, y1: int) -> Any:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def document(image: Image, *boxes: tuple[int, int, int, int], seconds: float = 10.0, clicked: bool = True) -> Any:
    """Boxes as masks, each made with two clicks, or by the sweep."""
    prompts = tuple(Gesture(kind="point", x=1, y=1, label=label, at=AT) for label in (1, 0)) if clicked else ()
    annotations = tuple(
        Annotation(
            mask=MaskRecord.from_mask(box_mask(*box), id=number, source="model" if clicked else "automatic"),
            interaction=Interaction(created=AT, modified=AT, prompts=prompts),
        )
        for number, box in enumerate(boxes)
    )
    return AnnotationDocument(
        image_id=image.image_id,
        width=image.width,
        height=image.height,
        file_name=image.file_name,
        sha256=image.sha256,
        created=AT,
        modified=AT,
        active_seconds=seconds,
        annotations=annotations,
    )


class Desk:
    """A project with photos and people, ready to work."""

    def __init__(self, store: Store, *, images: int = 3, **settings: Any) -> None:
        self.store = store
        self.project = store.create_project("garden", settings=ProjectSettings(**settings)).id
        self.images = [store.add_image(self.project, f"photo{i}.png", photo(i)) for i in range(images)]
        self.ann, self.bob = (store.add_user(name, PASSWORD, "annotator").id for name in ("ann", "bob"))
        self.rev = store.add_user("rev", PASSWORD, "reviewer").id
        self.admin = store.add_user("admin", PASSWORD, "admin").id
        self._keys = itertools.count()

    def key(self) -> str:
        return f"client-key-{next(self._keys)}"

    def done(self, user: int, *boxes: tuple[int, int, int, int], seconds: float = 10.0) -> Any:
        """Claim and submit; the outcome."""
        work = self.store.claim(self.project, user)
        assert work is not None
        made = document(work.image, *(boxes or ((2, 2, 12, 12),)), seconds=seconds)
        return self.store.submit(user, work.lease, made, key=self.key())

    def judged(self, verdict: Any, **more: Any) -> Any:
        work = self.store.next_review(self.project, self.rev)
        assert work is not None
        return self.store.review(self.rev, work.lease, verdict, key=self.key(), **more)


@pytest.fixture
def desk(store: Store) -> Callable[..., Desk]:
    """Makes a `Desk` on the store."""

    def make(**settings: Any) -> Desk:
        return Desk(store, **settings)

    return make
