"""Photo in, embedding and masks out: the same values as the predictor gives."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from segany.masks.rle import decode
from segany.prompts.prompt import Prompt

from .conftest import MakeClient, png, same_masks, upload

if TYPE_CHECKING:
    from segany.predict.prediction import Prediction
    from segany.predict.predictor import Predictor

PROMPTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"points": [[20, 10]], "labels": [1]}, {"points": [(20, 10)], "labels": [1]}),
    ({"points": [[20.5, 10], [70, 40]], "labels": [1, 0]}, {"points": [(20.5, 10), (70, 40)], "labels": [1, 0]}),
    ({"box": [5, 5, 60, 40]}, {"boxes": (5, 5, 60, 40)}),
    (
        {"box": [5, 5, 60, 40], "points": [[30, 20]], "labels": [1]},
        {"boxes": (5, 5, 60, 40), "points": [(30, 20)], "labels": [1]},
    ),
    (
        {"points": [[20, 10]], "labels": [1], "multimask": False},
        {"points": [(20, 10)], "labels": [1], "multimask": False},
    ),
]


def agrees(result: dict[str, Any], expected: Prediction) -> None:
    masks = np.stack([decode(mask["segmentation"]) for mask in result["masks"]])
    assert same_masks(masks, expected.masks)
    assert [mask["predicted_iou"] for mask in result["masks"]] == pytest.approx(
        expected.predicted_iou.tolist(), abs=1e-4
    )
    assert [mask["output_index"] for mask in result["masks"]] == list(expected.output_index)
    assert [mask["area"] for mask in result["masks"]] == masks.sum(axis=(1, 2)).tolist()
    assert result["best"] == expected.best


def test_upload_answers_the_file_hash_and_the_size(client: TestClient, photo: NDArray[np.uint8]) -> None:
    assert upload(client, photo) == hashlib.sha256(png(photo)).hexdigest()
    again = client.post("/api/v1/images", files={"file": ("other.gif", png(photo), "text/html")}).json()
    assert (again["width"], again["height"]) == (80, 48)


def test_the_size_is_the_turned_one(client: TestClient, photo: NDArray[np.uint8]) -> None:
    import io

    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", exif=exif)
    answer = client.post("/api/v1/images", files={"file": ("turned.jpg", buffer.getvalue())}).json()
    assert (answer["width"], answer["height"]) == (48, 80)


def test_a_photo_comes_back_as_it_came(client: TestClient, photo: NDArray[np.uint8]) -> None:
    answer = client.get(f"/api/v1/images/{upload(client, photo)}")
    assert answer.content == png(photo)
    assert answer.headers["content-type"] == "image/png"


def test_a_deleted_photo_is_gone(client: TestClient, photo: NDArray[np.uint8]) -> None:
    key = upload(client, photo)
    assert client.get(f"/api/v1/images/{key}/embedding").status_code == 200
    assert client.delete(f"/api/v1/images/{key}").status_code == 204
    for path in ("", "/embedding"):
        assert client.get(f"/api/v1/images/{key}{path}").status_code == 404


def test_embedding_is_the_predictors(client: TestClient, photo: NDArray[np.uint8], toy_predictor: Predictor) -> None:
    expected = toy_predictor.encode(photo)
    answer = client.get(f"/api/v1/images/{upload(client, photo)}/embedding?model=toy")
    shape = [int(side) for side in answer.headers["x-segany-shape"].split(",")]
    assert np.array_equal(np.frombuffer(answer.content, "<f4").reshape(shape), expected.features.numpy())
    assert answer.headers["x-segany-fingerprint"] == toy_predictor.fingerprint
    frame = json.loads(answer.headers["x-segany-frame"])
    assert tuple(frame["resized_hw"]) == expected.frame.resized_hw
    assert (frame["original_hw"], frame["canvas"], frame["low_res"]) == (
        [48, 80], toy_predictor.config.canvas, toy_predictor.config.low_res,
    )  # fmt: skip


def test_every_kind_of_prompt_gives_the_predictors_masks(
    client: TestClient, photo: NDArray[np.uint8], toy_predictor: Predictor
) -> None:
    embedding = toy_predictor.encode(photo)
    key = upload(client, photo)
    answer = client.post(f"/api/v1/images/{key}/masks", json={"prompts": [sent for sent, _ in PROMPTS]}).json()
    assert answer["fingerprint"] == toy_predictor.fingerprint
    for result, (_, arguments) in zip(answer["results"], PROMPTS, strict=True):
        agrees(result, toy_predictor.decode(embedding, **arguments))


def test_refining_with_low_res_and_with_a_mask(
    client: TestClient, photo: NDArray[np.uint8], toy_predictor: Predictor
) -> None:
    embedding = toy_predictor.encode(photo)
    address = f"/api/v1/images/{upload(client, photo)}/masks"
    click = {"points": [[20, 10]], "labels": [1]}
    first = client.post(address, json={"prompts": [click], "return_low_res": "all"}).json()["results"][0]
    expected = toy_predictor.decode(embedding, points=[(20, 10)], labels=[1])
    logits = np.frombuffer(base64.b64decode(first["low_res"]), "<f4").reshape(expected.low_res_logits.shape)
    np.testing.assert_allclose(logits, expected.low_res_logits, atol=1e-4)
    best = logits[first["best"]]
    text = base64.b64encode(best.tobytes()).decode()
    refined = client.post(address, json={"prompts": [{**click, "low_res": text}]}).json()["results"][0]
    agrees(refined, toy_predictor.decode(embedding, points=[(20, 10)], labels=[1], mask=best))
    mask = first["masks"][first["best"]]["segmentation"]
    from_mask = client.post(address, json={"prompts": [{"mask": mask}]}).json()["results"][0]
    agrees(from_mask, toy_predictor.decode(embedding, mask=decode(mask)))


def test_many_users_at_once_get_their_own_masks(
    client: TestClient, scene: Callable[[int, int], NDArray[np.uint8]], toy_predictor: Predictor
) -> None:
    photos = [scene(48 + 8 * index, 120 - 6 * index) for index in range(6)]
    keys = [upload(client, photo) for photo in photos]

    def ask(user: int) -> tuple[int, dict[str, Any], dict[str, Any]]:
        sent, arguments = PROMPTS[user % 3]
        body = {"prompts": [sent]}
        answer = client.post(f"/api/v1/images/{keys[user % 6]}/masks", json=body)
        assert answer.status_code == 200, answer.text
        return user % 6, arguments, answer.json()["results"][0]

    embeddings = [toy_predictor.encode(photo) for photo in photos]
    with ThreadPoolExecutor(12) as users:
        for index, arguments, result in users.map(ask, range(48)):
            agrees(result, toy_predictor.decode_many([(embeddings[index], Prompt(**arguments))])[0])
    metrics = client.get("/metrics").text
    passes = float(
        next(line for line in metrics.splitlines() if line.startswith("segany_decode_batch_prompts_count")).split()[1]
    )
    assert passes <= 48


def test_model_list_tells_what_the_page_needs(client: TestClient, toy_predictor: Predictor) -> None:
    (model,) = client.get("/api/v1/models").json()
    config = toy_predictor.config
    assert model["name"] == "toy" and model["default"] and model["fingerprint"] == toy_predictor.fingerprint
    assert (model["canvas"], model["low_res"], model["channels"]) == (config.canvas, config.low_res, config.channels)
    assert client.get("/api/v1/models/toy").json() == model


def test_a_model_is_loaded_once_and_only_when_asked_for(
    make_client: MakeClient, photo: NDArray[np.uint8], toy_predictor: Predictor
) -> None:
    loads: list[str] = []

    def loader(name: str) -> Callable[[], Predictor]:
        return lambda: (loads.append(name), toy_predictor)[1]

    client = make_client({"first": loader("first"), "second": loader("second")})
    key = upload(client, photo)
    assert loads == []
    for _ in range(2):
        assert client.get(f"/api/v1/images/{key}/embedding?model=second").status_code == 200
    assert loads == ["second"]
    names = {model["name"]: model["loaded"] for model in client.get("/api/v1/models").json()}
    assert names == {"first": True, "second": True}
    assert loads == ["second", "first"]
