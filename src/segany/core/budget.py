"""How much memory a piece of work may take: sizes as people write them, and what is left of them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from segany.core.errors import OptionError

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", re.IGNORECASE)

USUAL_WORK = 2**30
"""Bytes for work when nobody set a limit."""
LEAST_WORK = 96 * 2**20
"""Bytes that work takes however small the limit: one click at a time, the smallest strips."""


def parse_bytes(text: str | int) -> int:
    """A number of bytes: 4000000000, "4GB", "3.5 GiB", "512M".

    Raises:
        OptionError: no size, or nothing.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        count = text
    else:
        match = _SIZE.fullmatch(text) if isinstance(text, str) else None
        count = int(float(match[1]) * UNITS[(match[2] or "").lower()]) if match else 0
    if count < 1:
        raise OptionError(
            f"memory must be a size such as 4GB, 512MB or 1.5GiB; got {text!r}. Write a number and a unit."
        )
    return count


@dataclass(frozen=True)
class MemoryBudget:
    """What a process may hold in all, model and photo included. It bounds how much is done at once, never the result.

    Attributes:
        total: bytes; None when nobody set a limit.
        shares: how many workers of the process divide what is left for work.
    """

    total: int | None = None
    shares: int = 1

    @classmethod
    def of(cls, limit: str | int | MemoryBudget | None) -> MemoryBudget:
        """From what a person wrote.

        Raises:
            OptionError: no size.
        """
        if isinstance(limit, MemoryBudget):
            return limit
        return cls(None if limit is None else parse_bytes(limit))

    def shared(self, workers: int) -> MemoryBudget:
        """The same limit for a process of so many workers."""
        return MemoryBudget(self.total, workers)

    def work(self, held: int | None = None) -> int:
        """Bytes of one worker beside what the process holds already, never less than the least that works.

        Args:
            held: bytes held; measured when None.
        """
        if self.total is None:
            return max(USUAL_WORK // self.shares, LEAST_WORK)
        held = resident_bytes() if held is None else held
        return max(min((self.total - held) // self.shares, USUAL_WORK), LEAST_WORK)


def cores() -> int:
    """CPU cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def free_bytes() -> int | None:
    """Bytes of memory the machine has free; None where the system does not tell."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def resident_bytes() -> int:
    """Bytes of memory this process holds now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError, IndexError):
        return 0
