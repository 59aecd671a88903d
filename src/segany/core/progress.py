"""How long work reports and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable

from segany.core.errors import Cancelled

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

CancelCheck = Callable[[], bool]
"""Asked now and then; True stops the work."""


def check_cancelled(cancelled: CancelCheck | None) -> None:
    """Raise `Cancelled` when the caller wants to stop."""
    if cancelled is not None and cancelled():
        raise Cancelled("stopped on request; nothing further was written.")
