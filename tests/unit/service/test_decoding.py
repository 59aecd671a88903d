"""The decoder gathers orders, answers each as if alone, and is not spoilt by a bad one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from segany.core.errors import PromptError
from segany.prompts.prompt import Prompt
from segany.service.decoding import Decoder
from segany.service.errors import ApiError
from segany.service.metrics import Metrics

from .conftest import same_masks

if TYPE_CHECKING:
    from segany.predict.prediction import Prediction
    from segany.predict.predictor import Predictor


class Watched:
    """A real predictor whose passes can be held up and counted."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.sizes: list[int] = []
        self.go = threading.Event()
        self.entered = threading.Event()
        self.go.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)

    def decode_many(self, pairs: Sequence[Any]) -> list[Prediction]:
        self.sizes.append(len(pairs))
        self.entered.set()
        self.go.wait(30)
        return self._predictor.decode_many(pairs)


@pytest.fixture
def make_decoder() -> Iterator[Callable[..., Decoder]]:
    made: list[Decoder] = []

    def make(**knobs: Any) -> Decoder:
        usual = {"window_s": 0.003, "most_prompts": 16, "most_pixels": 10**9, "waiting": 64, "metrics": Metrics()}
        made.append(Decoder(**{**usual, **knobs}))
        return made[-1]

    yield make
    for decoder in made:
        decoder.stop()


def click(x: float) -> Prompt:
    return Prompt(points=[(x, 10)], labels=[1])


def held_up(decoder: Decoder, watched: Watched, embedding: Any) -> Future[Prediction]:
    """An order that is being decoded and does not end before `watched.go`."""
    watched.go.clear()
    watched.entered.clear()
    (first,) = decoder.order(cast("Predictor", watched), embedding, [click(5)])
    assert watched.entered.wait(30)
    return first


def test_what_waits_is_decoded_together_and_each_is_its_own(
    toy_predictor: Predictor, photo: NDArray[np.uint8], make_decoder: Callable[..., Decoder]
) -> None:
    watched, decoder = Watched(toy_predictor), make_decoder()
    embeddings = [toy_predictor.encode(photo), toy_predictor.encode(photo[::-1].copy())]
    held_up(decoder, watched, embeddings[0])
    orders = [
        decoder.order(cast("Predictor", watched), embeddings[index % 2], [click(8 * index + 1)])[0]
        for index in range(9)
    ]
    watched.go.set()
    for index, order in enumerate(orders):
        alone = toy_predictor.decode(embeddings[index % 2], points=[(8 * index + 1, 10)], labels=[1])
        assert same_masks(order.result(30).masks, alone.masks)
    assert watched.sizes == [1, 9]


def test_a_batch_has_at_most_so_many_prompts_and_pixels(
    toy_predictor: Predictor, photo: NDArray[np.uint8], make_decoder: Callable[..., Decoder]
) -> None:
    embedding = toy_predictor.encode(photo)
    for knobs, sizes in (({"most_prompts": 4}, [1, 4, 4, 2]), ({"most_pixels": 48 * 80 * 3 * 5}, [1, 5, 5])):
        watched, decoder = Watched(toy_predictor), make_decoder(**knobs)
        held_up(decoder, watched, embedding)
        orders = decoder.order(cast("Predictor", watched), embedding, [click(x) for x in range(10)])
        watched.go.set()
        assert all(order.result(30).masks.shape == (3, 48, 80) for order in orders)
        assert watched.sizes == sizes


def test_a_bad_prompt_is_refused_before_it_waits(
    toy_predictor: Predictor, photo: NDArray[np.uint8], make_decoder: Callable[..., Decoder]
) -> None:
    decoder = make_decoder()
    with pytest.raises(PromptError, match="inside the image"):
        decoder.order(toy_predictor, toy_predictor.encode(photo), [click(5), click(500)])
    assert decoder.waiting == 0


def test_one_that_fails_in_the_model_does_not_fail_the_others(
    toy_predictor: Predictor, photo: NDArray[np.uint8], make_decoder: Callable[..., Decoder]
) -> None:
    class Picky(Watched):
        def decode_many(self, pairs: Sequence[Any]) -> list[Prediction]:
            predictions = super().decode_many(pairs)
            if any(prompt.points[0, 0] == 7 for _, prompt in pairs):
                raise PromptError("seven must not be; got 7. Take another.")
            return predictions

    watched, decoder = Picky(toy_predictor), make_decoder()
    embedding = toy_predictor.encode(photo)
    held_up(decoder, watched, embedding)
    orders = decoder.order(cast("Predictor", watched), embedding, [click(6), click(7), click(8)])
    watched.go.set()
    first = toy_predictor.decode(embedding, points=[(6, 10)], labels=[1])
    assert same_masks(orders[0].result(30).masks, first.masks)
    with pytest.raises(PromptError, match="seven"):
        orders[1].result(30)
    alone = toy_predictor.decode(embedding, points=[(8, 10)], labels=[1])
    assert same_masks(orders[2].result(30).masks, alone.masks)


def test_a_full_queue_says_when_to_come_again(
    toy_predictor: Predictor, photo: NDArray[np.uint8], make_decoder: Callable[..., Decoder]
) -> None:
    watched, decoder = Watched(toy_predictor), make_decoder(waiting=3)
    embedding = toy_predictor.encode(photo)
    held_up(decoder, watched, embedding)
    kept = decoder.order(cast("Predictor", watched), embedding, [click(1), click(2)])
    with pytest.raises(ApiError) as refusal:
        decoder.order(cast("Predictor", watched), embedding, [click(3), click(4)])
    assert refusal.value.status_code == 503 and refusal.value.headers == {"Retry-After": "1"}
    watched.go.set()
    assert all(order.result(30) for order in kept)


def test_stopping_answers_what_waits(
    toy_predictor: Predictor, photo: NDArray[np.uint8], make_decoder: Callable[..., Decoder]
) -> None:
    watched, decoder = Watched(toy_predictor), make_decoder()
    embedding = toy_predictor.encode(photo)
    first = held_up(decoder, watched, embedding)
    waiting = decoder.order(cast("Predictor", watched), embedding, [click(1), click(2)])
    stopper = threading.Thread(target=decoder.stop)
    stopper.start()
    watched.go.set()
    stopper.join(30)
    assert all(order.done() for order in [first, *waiting])
    with pytest.raises(ApiError):
        decoder.order(toy_predictor, embedding, [click(1)])


def test_an_order_nobody_waits_for_any_more_is_not_decoded(
    toy_predictor: Predictor, photo: NDArray[np.uint8], make_decoder: Callable[..., Decoder]
) -> None:
    watched, decoder = Watched(toy_predictor), make_decoder()
    embedding = toy_predictor.encode(photo)
    held_up(decoder, watched, embedding)
    gone, stays = decoder.order(cast("Predictor", watched), embedding, [click(1), click(2)])
    assert gone.cancel()
    watched.go.set()
    assert stays.result(30)
    assert watched.sizes == [1, 1]
