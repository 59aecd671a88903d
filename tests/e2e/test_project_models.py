"""Rounds and weights in the browser: seen, published and given up on the dashboard, changed while somebody works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segany.masks.rle import decode
from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.save import save_model
from segany.predict.predictor import Predictor

if TYPE_CHECKING:
    from segany.engine.values import ModelVersion

ROUNDS = ((0.41, 21.0, 3.4, 5.2), (0.48, 14.5, 2.6, 8.9), (0.52, 11.2, 2.1, 12.4))
"""Made up, to be seen again: one-click mIoU, seconds per mask, clicks per mask, masks per image."""
ASKED = "performance.getEntriesByType('resource').map((one) => one.name).filter((name) => name.includes('/embedding'))"


@pytest.fixture(scope="module")
def weights(tiny: Predictor, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models that answer differently: every weight is moved a little, another way each."""
    folder, made = tmp_path_factory.mktemp("weights"), []
    for number in range(3):
        draw = np.random.default_rng(number)
        state = {
            name: tensor * (1.0 + 0.06 * number * float(draw.standard_normal())) if tensor.ndim > 1 else tensor
            for name, tensor in tiny.model.state_dict().items()
        }
        made.append(save_model(state, tiny.config, folder / f"round{number + 1}.safetensors"))
    return made


@pytest.fixture
def versions(garden: Any, weights: list[Path]) -> list[ModelVersion]:
    """The same as weights of three rounds, the first two of which were published."""
    store, made = garden.store, []
    names = ("one_click_miou", "seconds_per_mask", "clicks_per_mask", "masks_per_image")
    for number, (path, told) in enumerate(zip(weights, ROUNDS, strict=True), 1):
        opened = store.open_round(garden.project, ("manual", "semi", "auto")[number - 1])
        fingerprint = load_model(path).fingerprint
        made.append(store.register_model(garden.project, f"round-{number}", path, fingerprint=fingerprint))
        published = number < 3
        if published:
            store.publish_model(made[-1].id, reason=f"round {number}")
        metrics = dict(zip(names, told, strict=True))
        store.close_round(opened.id, model=made[-1].id, published=published, metrics=metrics)
    return made


def served_by(page: Any, garden: Any, image: str = "wide.png") -> str:
    """Fingerprint of what the service itself answers a click on a photo with."""
    csrf = page.page.request.get(f"{garden.address}api/v1/session").json()["csrf"]
    address = f"{garden.address}api/v1/images/{garden.images[image].sha256}/masks"
    asked = {"prompts": [{"points": [[310, 160]], "labels": [1]}]}
    answer = page.page.request.post(address, data=asked, headers={"x-segany-csrf": csrf})
    assert answer.ok, answer.text()
    return str(answer.json()["fingerprint"])


def test_rounds_are_seen_and_weights_published_and_given_up(
    garden: Any, enter: Callable[..., Any], versions: list[ModelVersion]
) -> None:
    adam = enter("adam", "dashboard", viewport={"width": 1280, "height": 1180})
    plots = adam.find("rounds").get_by_role("img")
    plots.first.wait_for()
    assert [one.get_attribute("aria-label").partition(":")[0] for one in plots.all()] == [
        "mean IoU of one click, held out",
        "seconds per mask",
        "clicks per mask",
        "masks per image",
    ]
    assert "round 1: 0.41" in plots.first.get_attribute("aria-label")
    assert "round 3: 0.52" in plots.first.get_attribute("aria-label")
    models = adam.find("models")

    def used() -> str:
        return str(models.get_by_role("listitem").filter(has_text="in use").inner_text().partition("\n")[0])

    adam.until(lambda: models.get_by_role("listitem").count() == 3)
    assert used() == "round-2"
    adam.until(lambda: served_by(adam, garden) == versions[1].fingerprint)
    adam.picture("60-rounds")

    models.get_by_role("button", name="Publish round-3").click()
    adam.until(lambda: used() == "round-3")
    adam.picture("61-published")
    assert garden.store.current_model(garden.project).id == versions[2].id
    adam.until(lambda: served_by(adam, garden) == versions[2].fingerprint)

    models.get_by_role("button", name="Back to the one before").click()
    adam.until(lambda: used() == "round-2")
    adam.until(lambda: served_by(adam, garden) == versions[1].fingerprint)
    models.get_by_role("button", name="Back to the one before").click()
    adam.until(lambda: used() == "round-1")
    adam.until(lambda: served_by(adam, garden) == versions[0].fingerprint)
    models.get_by_role("button", name="Back to the one before").click()
    adam.page.get_by_role("alert").get_by_text("there must be weights that were in use before").wait_for()
    assert used() == "round-1", "there is nothing before the first"

    rosa = enter("rosa", "dashboard")
    rosa.find("models").get_by_role("listitem").first.wait_for()
    assert rosa.find("models").get_by_role("button").count() == 0, "only admins change the weights in use"


def overlap(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    """IoU."""
    return float(np.count_nonzero(ours & theirs) / np.count_nonzero(ours | theirs))


def test_weights_published_meanwhile_are_taken_for_the_next_photo(
    garden: Any,
    enter: Callable[..., Any],
    versions: list[ModelVersion],
    weights: list[Path],
    photos: dict[str, Path],
) -> None:
    """The open photo stays with its model, embedding and decoder alike; so does a mask that is being made."""
    store = garden.store
    ann = enter("ann")
    ann.until(lambda: served_by(ann, garden) == versions[1].fingerprint)
    store.open_stage(garden.project, "manual", [garden.images["wide.png"].id, garden.images["square.jpg"].id])
    ann.page.get_by_role("button", name="Look again").click()
    ann.prepared()
    first = ann.open_photo()
    second = "square.jpg" if first == "wide.png" else "wide.png"
    ann.until(lambda: any(garden.images[second].sha256 in one for one in ann.page.evaluate(ASKED)))
    spots = {"wide.png": ((310, 160), (60, 350), (395, 230)), "square.jpg": ((220, 130), (400, 300), (90, 420))}
    ann.click(*spots[first][0])
    ann.accept()
    ann.click(*spots[first][1])

    store.publish_model(versions[2].id)
    ann.until(lambda: served_by(ann, garden) == versions[2].fingerprint)
    ann.accept()
    ann.click(*spots[first][2])
    ann.accept()
    ann.press("Control+Enter")
    ann.working(second)
    for spot in spots[second]:
        ann.click(*spot)
        ann.accept()
    asked = [one for one in ann.page.evaluate(ASKED) if garden.images[first].sha256 in one]
    assert [one.partition("model=")[2] for one in asked] == [f"model-{versions[1].id}"]
    asked = [one for one in ann.page.evaluate(ASKED) if garden.images[second].sha256 in one]
    assert [one.partition("model=")[2] for one in asked] == [f"model-{versions[number].id}" for number in (1, 2)]
    ann.press("Control+Enter")
    ann.find("nothing").wait_for()

    handed = {store.image(task.image).file_name: store.documents(task.id)[-1] for task in store.tasks(garden.project)}
    predictors = [Predictor.from_pretrained(path, device="cpu", dtype="float32") for path in weights]
    for name, own, other in ((first, 1, 2), (second, 2, 1)):
        encoded = {number: predictors[number].encode(photos[name]) for number in (own, other)}
        annotations = handed[name].document.annotations
        assert [one.interaction.model for one in annotations] == [versions[own].fingerprint] * 3
        likeness: dict[int, list[float]] = {own: [], other: []}
        for number, scores in likeness.items():
            for one, spot in zip(annotations, spots[name], strict=True):
                told = predictors[number].decode(encoded[number], points=[spot], labels=[1])
                scores.append(overlap(decode(one.mask.segmentation), told.masks[told.best]))
        assert min(likeness[own]) > 0.97, f"{name}: embedding and decoder are of one model, {likeness}"
        assert min(likeness[other]) < 0.95, "otherwise this could not tell the models apart"
