"""Prompts of many requests, decoded together: one thread, one pass of the model for all that wait.

Each result is what the prompt would give alone.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Self

from segany.core.errors import InputError
from segany.predict.embedding import ImageEmbedding
from segany.predict.prediction import Prediction
from segany.predict.predictor import Predictor
from segany.prompts.prompt import Prompt
from segany.service.errors import busy
from segany.service.metrics import Metrics
from segany.service.settings import Settings


@dataclass(frozen=True, eq=False)
class Order:
    """One prompt that waits for its masks."""

    predictor: Predictor
    embedding: ImageEmbedding
    prompt: Prompt
    answer: Future[Prediction] = field(default_factory=Future)

    @property
    def pixels(self) -> int:
        """Mask pixels it will make."""
        height, width = self.embedding.size_hw
        candidates = self.predictor.model.mask_decoder.num_mask_tokens - 1
        return height * width * (candidates if self.prompt.wants_candidates else 1)


class Decoder:
    """Takes orders from any thread and decodes them in its own.

    Orders that come while a batch runs make the next one. After a batch of several orders, and only then, it waits
    `window_s` for more: who is alone never waits.

    Args:
        window_s: seconds.
        most_prompts: per batch.
        most_pixels: of masks per batch; a single order may exceed it.
        waiting: orders that may wait.
        metrics: sizes and times of batches.
    """

    def __init__(self, *, window_s: float, most_prompts: int, most_pixels: int, waiting: int, metrics: Metrics) -> None:
        self._window_s, self._most_prompts, self._most_pixels = window_s, most_prompts, most_pixels
        self._limit, self._metrics = waiting, metrics
        self._orders: deque[Order] = deque()
        self._changed = threading.Condition()
        self._crowded = False
        self._running = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="segany-decode", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, settings: Settings, metrics: Metrics) -> Self:
        """A decoder with the limits of the settings."""
        return cls(
            window_s=settings.decode_window_s,
            most_prompts=settings.decode_batch,
            most_pixels=settings.decode_batch_pixels,
            waiting=settings.decode_queue,
            metrics=metrics,
        )

    @property
    def waiting(self) -> int:
        """Orders that wait."""
        return len(self._orders)

    @property
    def is_busy(self) -> bool:
        """Whether anyone waits for masks."""
        return self._running or bool(self._orders)

    def order(self, predictor: Predictor, embedding: ImageEmbedding, prompts: list[Prompt]) -> list[Future[Prediction]]:
        """Line up prompts of one photo.

        Raises:
            PromptError: a prompt does not fit the photo; nothing is lined up.
            EmbeddingError: the embedding is of another model.
            ApiError: 503, too many wait.
        """
        predictor.check(embedding)
        for prompt in prompts:
            prompt.check_against(embedding.size_hw, embedding.frame.low_res)
        orders = [Order(predictor, embedding, prompt) for prompt in prompts]
        with self._changed:
            if self._stopped or len(self._orders) + len(orders) > self._limit:
                raise busy("the queue of prompts")
            self._orders.extend(orders)
            self._changed.notify()
        return [order.answer for order in orders]

    def stop(self) -> None:
        """Finish what waits, then end the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while self._did_one():  # a call of its own, so that nothing of the last batch is kept while it waits
            pass

    def _did_one(self) -> bool:
        batch = self._next_batch()
        try:
            self._decode(batch)
        finally:
            self._running = False
        return bool(batch)

    def _next_batch(self) -> list[Order]:
        with self._changed:
            while not self._orders:
                if self._stopped:
                    return []
                self._changed.wait()
            until = time.monotonic() + self._window_s
            while self._crowded and len(self._orders) < self._most_prompts and not self._stopped:
                if (left := until - time.monotonic()) <= 0 or not self._changed.wait(left):
                    break
            batch = self._taken()
            self._crowded = len(batch) > 1
            self._running = True
            return batch

    def _taken(self) -> list[Order]:
        batch: list[Order] = []
        pixels = 0
        while self._orders and len(batch) < self._most_prompts:
            pixels += self._orders[0].pixels
            if batch and pixels > self._most_pixels:
                break
            batch.append(self._orders.popleft())
        return batch

    def _decode(self, batch: list[Order]) -> None:
        wanted = [order for order in batch if order.answer.set_running_or_notify_cancel()]
        for predictor in {id(order.predictor): order.predictor for order in wanted}.values():
            own = [order for order in wanted if order.predictor is predictor]
            self._metrics.decode_batch.observe(len(own))
            with self._metrics.decode_seconds.time():
                self._decode_one_model(predictor, own)

    def _decode_one_model(self, predictor: Predictor, orders: list[Order]) -> None:
        try:
            predictions = predictor.decode_many([(order.embedding, order.prompt) for order in orders])
        except Exception as error:
            if len(orders) == 1 or not isinstance(error, InputError):
                for order in orders:
                    order.answer.set_exception(error)
                return
            for order in orders:  # one of them spoils it for all: each alone
                self._decode_one_model(predictor, [order])
            return
        for order, prediction in zip(orders, predictions, strict=True):
            order.answer.set_result(prediction)
