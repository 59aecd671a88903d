"""The data engine's parts and routes, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from segany.predict.predictor import Predictor
from segany.service.embeddings import Embeddings
from segany.service.engine import clearing, numbers, people, projects, reviews, sessions, tasks
from segany.service.engine.parts import EngineParts
from segany.service.engine.photos import ProjectPhotos
from segany.service.engine.schemas import ReviewBody, SubmitBody
from segany.service.engine.tries import LoginTries
from segany.service.engine.weights import Weights
from segany.service.metrics import Metrics
from segany.service.models import ModelShelf
from segany.service.settings import Settings
from segany.service.workers import Pool

if TYPE_CHECKING:
    from pathlib import Path

    from segany.engine.store.store import Store

ROUTERS: tuple[APIRouter, ...] = tuple(
    module.router for module in (sessions, projects, tasks, reviews, clearing, numbers, people)
)
READ_BY_HAND = (SubmitBody, ReviewBody)
"""Bodies that routes read themselves, to be described all the same."""


def make_engine(
    store: Store, shelf: ModelShelf, embeddings: Embeddings, settings: Settings, metrics: Metrics
) -> EngineParts:
    """Everything behind the data engine's routes; its weights are not followed yet."""

    def load(path: Path) -> Predictor:
        return Predictor.from_pretrained(path, device=settings.device, dtype=settings.dtype)

    pool = Pool("the data engine", settings.store_threads, settings.store_queue)
    metrics.watch("segany_store_open", "Questions to the store that wait or run.", lambda: pool.open_calls)
    return EngineParts(
        store=store,
        pool=pool,
        logins=Pool("logins", settings.login_threads, settings.login_queue),
        tries=LoginTries(settings.login_tries, settings.login_pause_s),
        photos=ProjectPhotos(store),
        weights=Weights(store, shelf, load=load, poll_s=settings.model_poll_s, gone=embeddings.forget_model),
    )


def close_engine(engine: EngineParts) -> None:
    """Finish what runs; the store stays open."""
    engine.weights.stop()
    engine.logins.close()
    engine.pool.close()
