"""What the service writes to stderr: one line per event, JSON where no person looks, and never a secret.

Lines hold paths without their query (a token may stand there), no headers and no bodies; tracebacks no values of
variables.
"""

from __future__ import annotations

import logging
import sys

import structlog


def set_up(*, plain: bool | None = None) -> None:
    """Write events to stderr.

    Args:
        plain: readable lines instead of JSON; None looks whether stderr is a terminal.
    """
    is_plain = sys.stderr.isatty() if plain is None else plain
    readable = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    last = readable if is_plain else structlog.processors.JSONRenderer()
    shape = [] if is_plain else [structlog.processors.format_exc_info]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *shape,
            last,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
