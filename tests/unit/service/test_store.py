"""The folder of entries: limits, order of leaving, restarts, halves left by a kill."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from segany.service.store import LruFolder


def put(store: LruFolder, key: str, size: int = 10) -> None:
    store.put(key, lambda path: path.write_bytes(b"x" * size), {"key": key})


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    store = LruFolder(tmp_path, 30)
    for key in ("aa1", "bb2", "cc3"):
        put(store, key)
    assert store.path("aa1") is not None
    put(store, "dd4")
    assert store.keys() == ["cc3", "aa1", "dd4"]
    assert store.total_bytes == 30
    assert store.path("bb2") is None and store.note("bb2") is None
    assert sorted(path.name for path in tmp_path.rglob("bb2*")) == []


def test_what_is_pinned_stays(tmp_path: Path) -> None:
    store = LruFolder(tmp_path, 20, is_pinned=lambda key: key == "aa1")
    for key in ("aa1", "bb2", "cc3"):
        put(store, key)
    assert store.keys() == ["aa1", "cc3"]


def test_one_that_is_larger_than_the_limit_is_kept_until_the_next(tmp_path: Path) -> None:
    store = LruFolder(tmp_path, 20)
    put(store, "aa1", 50)
    assert store.path("aa1") is not None
    put(store, "bb2")
    assert store.keys() == ["bb2"]


def test_a_restart_finds_everything_in_the_order_of_use(tmp_path: Path) -> None:
    store = LruFolder(tmp_path, 100)
    for age, key in enumerate(("aa1", "bb2", "cc3")):
        put(store, key)
        os.utime(tmp_path / key[:2] / f"{key}.json", (1000 + age, 1000 + age))
    assert store.path("aa1") is not None
    again = LruFolder(tmp_path, 20)
    assert again.keys() == ["cc3", "aa1"]
    assert again.note("aa1") == {"key": "aa1"}


def test_a_failed_or_killed_write_leaves_nothing(tmp_path: Path) -> None:
    store = LruFolder(tmp_path, 100)

    def broken(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.put("aa1", broken, {})
    assert store.keys() == [] and not [path for path in tmp_path.rglob("*") if path.is_file()]
    (tmp_path / "bb").mkdir()
    (tmp_path / "bb" / ".bb2.7.part.bin").write_bytes(b"half")
    (tmp_path / "bb" / "bb3.json").write_text("{}")
    assert LruFolder(tmp_path, 100).keys() == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
