"""An app around a toy model, a client, and a photo in its store."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import structlog
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from segany.service import Settings, create_app

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))

HERE = "http://127.0.0.1:8000"
MakeClient = Callable[..., TestClient]


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def make_client(toy_predictor: Predictor, tmp_path: Path) -> Iterator[MakeClient]:
    """(app parts as `loaders=…`, settings by name) -> a client of a running app; apps end with the test."""
    with ExitStack() as stack:

        def make(loaders: Any = None, source_of: Any = None, authenticate: Any = None, **settings: Any) -> TestClient:
            settings = {"data_dir": tmp_path / "data", "threads": 1, "prepare": False, **settings}
            app = create_app(
                Settings(**settings),
                loaders=loaders or {"toy": lambda: toy_predictor},
                source_of=source_of,
                authenticate=authenticate,
            )
            return stack.enter_context(TestClient(app, base_url=HERE, raise_server_exceptions=False))

        yield make


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    """A client of an app with usual settings."""
    return make_client()


@pytest.fixture
def photo(scene: Callable[[int, int], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """(48, 80, 3)."""
    return scene(48, 80)


def upload(client: TestClient, pixels: NDArray[np.uint8]) -> str:
    """Put a photo into the store; its key."""
    answer = client.post("/api/v1/images", files={"file": ("photo.png", png(pixels), "image/png")})
    assert answer.status_code == 200, answer.text
    key: str = answer.json()["key"]
    return key


def same_masks(got: NDArray[np.bool_], expected: NDArray[np.bool_]) -> bool:
    """Equal but for pixels on the edge of the threshold: a batch adds numbers up in another order than one alone."""
    return got.shape == expected.shape and float((got != expected).mean()) < 0.002
