"""A photo is encoded once, whoever asks and however often."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .conftest import MakeClient, upload

if TYPE_CHECKING:
    from segany.predict.embedding import ImageEmbedding
    from segany.predict.predictor import Predictor


class Counted:
    """A real predictor that counts its encodings and can hold them up."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.encoded = 0
        self.go = threading.Event()
        self.go.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)

    def encode(self, image: Any) -> ImageEmbedding:
        self.go.wait(30)
        self.encoded += 1
        return self._predictor.encode(image)


def test_requests_at_the_same_time_share_one_encoding(
    make_client: MakeClient, photo: NDArray[np.uint8], toy_predictor: Predictor
) -> None:
    counted = Counted(toy_predictor)
    client = make_client({"toy": lambda: counted})
    key = upload(client, photo)
    counted.go.clear()
    with ThreadPoolExecutor(5) as users:
        asked = [users.submit(client.get, f"/api/v1/images/{key}/embedding") for _ in range(5)]
        threading.Timer(0.3, counted.go.set).start()
        answers = [one.result(30) for one in asked]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert counted.encoded == 1


def test_memory_is_bounded_and_the_disk_takes_over(
    make_client: MakeClient,
    scene: Callable[[int, int], NDArray[np.uint8]],
    toy_predictor: Predictor,
    tmp_path: Path,
) -> None:
    counted = Counted(toy_predictor)
    client = make_client({"toy": lambda: counted}, embedding_memory_bytes=1)
    keys = [upload(client, scene(30 + index, 50)) for index in range(3)]
    first = [client.get(f"/api/v1/images/{key}/embedding").content for key in keys]
    again = [client.get(f"/api/v1/images/{key}/embedding").content for key in keys]
    assert first == again and counted.encoded == 3
    made, disk = (
        next(line for line in client.get("/metrics").text.splitlines() if f'found="{where}"' in line).split()[1]
        for where in ("made", "disk")
    )
    assert (made, disk) == ("3.0", "3.0")


def test_a_restart_keeps_embeddings(
    make_client: MakeClient, photo: NDArray[np.uint8], toy_predictor: Predictor
) -> None:
    counted = Counted(toy_predictor)
    client = make_client({"toy": lambda: counted})
    key = upload(client, photo)
    before = client.get(f"/api/v1/images/{key}/embedding").content
    client.__exit__(None, None, None)
    client.__enter__()
    assert client.get(f"/api/v1/images/{key}/embedding").content == before
    assert counted.encoded == 1
