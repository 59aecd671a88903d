"""How many wrong passwords may be sent, by name, by address, and by both."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from segany.service.errors import ApiError

FROM_EVERYWHERE, FROM_ONE_ADDRESS = 5, 10
"""How much more a name may fail from everywhere, and an address with all names, than a name at an address."""
MOST = 10_000
"""Names and addresses that are remembered; the longest silent are forgotten."""


class LoginTries:
    """Buckets of wrong passwords, refilled at a steady rate. A try is counted before it is known to be wrong.

    Args:
        tries: wrong passwords at once, of one name at one address.
        pause_s: seconds until one more is allowed.
    """

    def __init__(self, tries: int, pause_s: float) -> None:
        self._tries, self._pause_s = tries, pause_s
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def count(self, name: str, address: str) -> None:
        """Count one try; from the event loop alone.

        Raises:
            ApiError: 429, too many were wrong.
        """
        now = time.monotonic()
        found = {key: self._left(key, times, now) for key, times in _keys(name, address)}
        waits = [(1 - found[key]) * self._pause_s / times for key, times in _keys(name, address) if found[key] < 1]
        if waits:
            seconds = max(1, math.ceil(max(waits)))
            raise ApiError(
                429,
                "logins",
                f"expected fewer wrong passwords; got too many for this name or from this address. Try again in "
                f"{seconds} s.",
                {"Retry-After": str(seconds)},
            )
        for key, left in found.items():
            self._put(key, left - 1, now)

    def forgive(self, name: str, address: str) -> None:
        """The try was right: it does not count."""
        now = time.monotonic()
        for key, times in _keys(name, address):
            self._put(key, min(self._tries * times, self._left(key, times, now) + 1), now)

    def _left(self, key: tuple[str, str], times: int, now: float) -> float:
        left, last = self._buckets.get(key, (float(self._tries * times), now))
        return min(self._tries * times, left + (now - last) * times / self._pause_s)

    def _put(self, key: tuple[str, str], left: float, now: float) -> None:
        self._buckets[key] = (left, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > MOST:
            self._buckets.popitem(last=False)


def _keys(name: str, address: str) -> tuple[tuple[tuple[str, str], int], ...]:
    return ((name, address), 1), ((name, ""), FROM_EVERYWHERE), (("", address), FROM_ONE_ADDRESS)
