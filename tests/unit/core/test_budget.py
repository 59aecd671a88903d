"""Memory sizes as people write them."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from segany.core.budget import LEAST_WORK, USUAL_WORK, MemoryBudget, parse_bytes, resident_bytes
from segany.core.errors import OptionError


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4GB", 4 * 10**9),
        ("4 gb", 4 * 10**9),
        ("1.5GiB", 3 * 2**29),
        ("512M", 512 * 10**6),
        ("64KiB", 2**16),
        ("123", 123),
        ("7B", 7),
        ("2TB", 2 * 10**12),
        (99, 99),
    ],
)
def test_sizes(text: str | int, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("wrong", ["", "GB", "4 apples", "-1GB", "0", 0, -5, True, None, 2.5, "4GBB"])
def test_no_sizes(wrong: Any) -> None:
    with pytest.raises(OptionError, match=r"memory must be a size such as 4GB.*got.*Write a number"):
        parse_bytes(wrong)


def test_what_is_left_for_work() -> None:
    assert MemoryBudget.of(None).work() == USUAL_WORK
    assert MemoryBudget.of(None).shared(2).work() == USUAL_WORK // 2
    limited = MemoryBudget.of("1GB")
    assert limited == MemoryBudget.of(limited) == MemoryBudget(10**9)
    assert limited.work(held=400 * 10**6) == 600 * 10**6
    assert limited.shared(3).work(held=400 * 10**6) == 200 * 10**6
    assert limited.work(held=2 * 10**9) == LEAST_WORK, "the least that works, however small the limit"
    assert MemoryBudget.of("64GB").work(held=0) == USUAL_WORK, "more than that brings nothing"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_what_the_process_holds() -> None:
    assert 5 * 2**20 < resident_bytes() < 2**40
