"""Embeddings of photos: made once, kept in memory and on disk, whoever asks and however often."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from typing import TypeAlias

from segany.predict.cache import EmbeddingCache
from segany.predict.embedding import ImageEmbedding
from segany.predict.predictor import Predictor
from segany.service.images import ImageStore
from segany.service.metrics import Metrics
from segany.service.models import ModelShelf
from segany.service.workers import Pool

FLOAT_BYTES = 4
Found: TypeAlias = tuple[Predictor, ImageEmbedding]


class Embeddings:
    """Embeddings by photo and model. Two requests for the same one wait for the same work.

    Args:
        shelf: the models.
        images: the photos.
        cache: embeddings on disk.
        memory_bytes: limit of those in memory.
        pool: where photos are encoded.
        files: where photos are looked up that are not at hand.
        metrics: counts what was found where.
    """

    def __init__(
        self,
        shelf: ModelShelf,
        images: ImageStore,
        cache: EmbeddingCache,
        *,
        memory_bytes: int,
        pool: Pool,
        files: Pool,
        metrics: Metrics,
    ) -> None:
        self._shelf, self._images, self._cache, self._pool, self._metrics = shelf, images, cache, pool, metrics
        self._files = files
        self._memory: OrderedDict[tuple[str, str], ImageEmbedding] = OrderedDict()
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._making: dict[tuple[str, str], asyncio.Future[Found]] = {}

    async def get(self, key: str, model: str) -> Found:
        """The model and its embedding of a photo; to be used from the event loop alone.

        Args:
            key: of a photo in the store.
            model: a name the shelf knows.

        Raises:
            ApiError: 404, no such photo; 503, too many photos wait.
        """
        if not self._images.is_at_hand(key):
            await self._files.run(self._images.get, key)
        self._images.get(key)
        predictor = self._shelf.held(model)
        if predictor is not None and (found := self._from_memory(key, model)) is not None:
            self._metrics.embeddings.labels("memory").inc()
            return predictor, found
        making = self._making.get((key, model))
        if making is None:
            making = asyncio.ensure_future(self._pool.run(self._load_or_encode, key, model))
            self._making[key, model] = making
            making.add_done_callback(lambda done: self._made(key, model, done))
        else:
            self._metrics.embeddings.labels("joined").inc()
        return await asyncio.shield(making)

    def forget(self, key: str) -> None:
        """Remove the embeddings of a photo; on disk, those of the models in memory, the others age out."""
        with self._lock:
            for entry in [entry for entry in self._memory if entry[0] == key]:
                del self._memory[entry]
        for predictor in self._shelf.all_held():
            self._cache.path(predictor, key).unlink(missing_ok=True)

    def forget_model(self, model: str) -> None:
        """Remove a model's embeddings from memory; those on disk age out."""
        with self._lock:
            for entry in [entry for entry in self._memory if entry[1] == model]:
                del self._memory[entry]

    def _made(self, key: str, model: str, done: asyncio.Future[Found]) -> None:
        self._making.pop((key, model), None)
        if not done.cancelled():
            done.exception()  # looked at, should every client have gone

    def _load_or_encode(self, key: str, model: str) -> Found:
        predictor = self._shelf.get(model)
        embedding, where = self._from_memory(key, model), "memory"
        if embedding is None:
            embedding, where = self._cache.get(predictor, key), "disk"
        if embedding is None:
            where = "made"
            pixels = self._images.pixels(key)
            with self._metrics.encode_seconds.time():
                embedding = self._cache.get_or_encode(predictor, pixels, key)
        self._metrics.embeddings.labels(where).inc()
        self._remember(key, model, embedding)
        return predictor, embedding

    def _from_memory(self, key: str, model: str) -> ImageEmbedding | None:
        with self._lock:
            if (found := self._memory.get((key, model))) is not None:
                self._memory.move_to_end((key, model))
            return found

    def _remember(self, key: str, model: str, embedding: ImageEmbedding) -> None:
        with self._lock:
            self._memory[key, model] = embedding
            total = sum(kept.features.numel() * FLOAT_BYTES for kept in self._memory.values())
            while total > self._memory_bytes and len(self._memory) > 1:
                _, gone = self._memory.popitem(last=False)
                total -= gone.features.numel() * FLOAT_BYTES
