"""The parts of an app, made and ended."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
import torch

from segany.core.errors import SeganyError
from segany.predict.cache import EmbeddingCache
from segany.service.decoding import Decoder
from segany.service.embeddings import Embeddings
from segany.service.errors import ApiError
from segany.service.images import ImageStore
from segany.service.jobs import JobStore
from segany.service.metrics import Metrics
from segany.service.models import Loader, ModelShelf
from segany.service.onnx_files import OnnxFiles
from segany.service.parts import Parts
from segany.service.runner import JobRunner, SourceOf
from segany.service.settings import Settings
from segany.service.sources import generator_source
from segany.service.workers import Pool

if TYPE_CHECKING:
    from segany.engine.store.store import Store

LOG = structlog.get_logger("segany.service")


def make_parts(
    settings: Settings,
    named: Mapping[str, Loader],
    source_of: SourceOf | None,
    metrics: Metrics,
    store: Store | None = None,
) -> Parts:
    """Everything behind the routes, with its threads running but for the jobs'."""
    torch.set_num_threads(settings.threads or usable_processors())
    folder = settings.data_dir
    shutil.rmtree(folder / "passing", ignore_errors=True)
    shelf = ModelShelf(named, settings.max_loaded_models)
    job_store = JobStore(folder / "jobs", settings.max_jobs)
    image_store = ImageStore(folder / "images", settings.image_store_bytes, settings.max_pixels, job_store.uses)
    files = Pool("files", settings.file_threads, settings.file_queue)
    encoder = Pool("encoding", 1, settings.encode_queue)
    exporter = Pool("exports", 1, settings.job_queue)
    decoder = Decoder.of(settings, metrics)
    cache = EmbeddingCache(folder / "embeddings", settings.embedding_store_bytes)
    memory = settings.embedding_memory_bytes
    embeddings = Embeddings(shelf, image_store, cache, memory_bytes=memory, pool=encoder, files=files, metrics=metrics)
    made = Parts(
        settings=settings,
        shelf=shelf,
        images=image_store,
        embeddings=embeddings,
        decoder=decoder,
        jobs=job_store,
        runner=JobRunner(
            job_store,
            image_store,
            source_of or generator_source(shelf),
            others_wait=lambda: decoder.is_busy or encoder.open_calls > 0,
            most_waiting=settings.job_queue,
            metrics=metrics,
        ),
        onnx=OnnxFiles(shelf, folder / "onnx", Pool("ONNX files", 1, settings.encode_queue)),
        metrics=metrics,
        files=files,
        encoder=encoder,
        exporter=exporter,
    )
    watch(made)
    return made if store is None else with_engine(made, store)


def with_engine(made: Parts, store: Store) -> Parts:
    """The same with a data engine, whose photos are found beside those that were uploaded."""
    from segany.service.engine.assembly import make_engine

    engine = make_engine(store, made.shelf, made.embeddings, made.settings, made.metrics)
    made.images.elsewhere = engine.photos
    return replace(made, project=engine)


def watch(made: Parts) -> None:
    """Gauges of what waits."""
    made.metrics.watch("segany_decode_waiting", "Prompts that wait.", lambda: made.decoder.waiting)
    made.metrics.watch("segany_encode_open", "Photos that wait or are encoded.", lambda: made.encoder.open_calls)
    made.metrics.watch("segany_files_open", "File work that waits or runs.", lambda: made.files.open_calls)
    made.metrics.watch("segany_jobs_waiting", "Automatic jobs that wait.", lambda: len(made.jobs.queued()))


async def prepare(made: Parts, name: str | None = None) -> None:
    """Load a model, normally the default one, and make its ONNX files, so that the first visitor need not wait."""
    try:
        wanted = await made.model_name(name)
        await made.encoder.run(made.shelf.get, wanted)
        if made.onnx.is_possible:
            await made.onnx.made(wanted)
    except (SeganyError, ApiError) as error:
        LOG.warning("not_prepared", reason=str(error))
    except Exception as error:
        LOG.warning("not_prepared", kind=type(error).__name__, exc_info=error)


def follow(made: Parts) -> None:
    """Begin to follow the weights that the data engine publishes; from the event loop alone."""
    if made.project is None:
        return
    loop = asyncio.get_running_loop()
    if made.settings.prepare:
        made.project.weights.taken = lambda name: asyncio.run_coroutine_threadsafe(prepare(made, name), loop)
    made.project.weights.start()


def close_parts(made: Parts) -> None:
    """Finish what runs: prompts are answered, the job at work is queued again for the next start."""
    if made.project is not None:
        from segany.service.engine.assembly import close_engine

        close_engine(made.project)
    made.runner.stop()
    made.onnx.stop()
    for pool in (made.encoder, made.exporter, made.files):
        pool.close()
    made.decoder.stop()


def usable_processors() -> int:
    """Processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return max(1, len(affinity(0)) if affinity else os.cpu_count() or 1)
