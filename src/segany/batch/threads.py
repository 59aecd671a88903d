"""Several pieces of work at once in one process, each in a thread of its own; stops as soon as it is told to."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from segany.core.progress import CancelCheck, check_cancelled

Piece = TypeVar("Piece")
Result = TypeVar("Result")
Work = Callable[[Piece, CancelCheck | None], Result]
"""A piece and a question to ask now and then → its result."""


def finished(
    pieces: Sequence[Piece], work: Work[Piece, Result], workers: int, cancelled: CancelCheck | None = None
) -> Generator[Result, None, None]:
    """Results as they are ready; no more pieces are begun than there are workers.

    The caller's thread does the work itself when there is but one worker. Otherwise it waits; whatever ends it, an
    error in a piece, Ctrl-C or a wish to stop, ends the other pieces too at their next question, and those that do not
    ask when they are done.

    Args:
        pieces: what is to be done, in this order.
        work: does one; called from several threads.
        workers: how many at once.
        cancelled: asked before each piece, and by the work.

    Raises:
        Cancelled: `cancelled` said so.
    """
    if workers == 1 or len(pieces) < 2:
        for piece in pieces:
            check_cancelled(cancelled)
            yield work(piece, cancelled)
        return
    stop = threading.Event()
    waiting, running = iter(pieces), set[Future[Result]]()
    with _threads_shared(workers) as begin, ThreadPoolExecutor(workers, initializer=begin) as pool:
        try:
            while True:
                check_cancelled(cancelled)
                for piece in _some(waiting, workers - len(running)):
                    running.add(pool.submit(work, piece, lambda: stop.is_set() or _says(cancelled)))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            stop.set()


def _says(cancelled: CancelCheck | None) -> bool:
    return cancelled is not None and cancelled()


def _some(pieces: Iterator[Piece], count: int) -> list[Piece]:
    return [piece for _, piece in zip(range(count), pieces, strict=False)]


@contextmanager
def _threads_shared(workers: int) -> Iterator[Callable[[], None]]:
    """Divide torch's threads among workers: each calls what this gives when it begins."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield lambda: None
        return
    before = torch.get_num_threads()
    try:
        yield lambda: torch.set_num_threads(max(1, before // workers))
    finally:
        torch.set_num_threads(before)
