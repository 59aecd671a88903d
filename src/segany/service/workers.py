"""Threads for work that must not hold up the event loop, with bounded queues."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from segany.service.errors import busy

Result = TypeVar("Result")


class Pool:
    """A few threads and a bounded number of waiting calls.

    Args:
        name: for messages and thread names.
        threads: calls that run at once.
        waiting: calls that may wait beyond those.
    """

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self.name = name
        self._limit = threads + waiting
        self._open = 0
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"segany-{name}")

    @property
    def open_calls(self) -> int:
        """Calls that wait or run."""
        return self._open

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call it in one of the threads; to be used from the event loop alone.

        Raises:
            ApiError: 503 when too many wait already.
        """
        if self._open >= self._limit:
            raise busy(f"the queue for {self.name}")
        self._open += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        future.add_done_callback(self._finished)
        return await future

    def _finished(self, future: asyncio.Future[Any]) -> None:
        self._open -= 1
        if not future.cancelled():
            future.exception()  # looked at, should nobody wait for it any more

    def close(self) -> None:
        """Forget what waits, finish what runs."""
        self._threads.shutdown(wait=True, cancel_futures=True)
