"""The measured choice of a precision: remembered, overridable, never wrong for lack of a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from segany.core import bfloat16, device
from segany.core.errors import OptionError


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SEGANY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SEGANY_DTYPE", raising=False)
    bfloat16.bfloat16_speedup.cache_clear()
    yield
    bfloat16.bfloat16_speedup.cache_clear()


def test_measured_once_per_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[float] = []
    monkeypatch.setattr(bfloat16, "measure", lambda: measured.append(2.25) or 2.25)
    assert bfloat16.bfloat16_speedup() == 2.25
    bfloat16.bfloat16_speedup.cache_clear()
    bfloat16.bfloat16_speedup()
    assert len(measured) == 1
    (name,) = json.loads((tmp_path / "cache" / "machine.json").read_text())
    assert torch.__version__ in name
    monkeypatch.setattr(bfloat16, "_machine", lambda: "another processor")
    bfloat16.bfloat16_speedup.cache_clear()
    bfloat16.bfloat16_speedup()
    assert len(measured) == 2
    assert len(json.loads((tmp_path / "cache" / "machine.json").read_text())) == 2


@pytest.mark.parametrize("content", ["", "[]", '{"a": "b"}', "\x00"])
def test_a_damaged_memory_is_measured_again(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "machine.json").write_text(content)
    monkeypatch.setattr(bfloat16, "measure", lambda: 2.0)
    assert bfloat16.bfloat16_speedup() == 2.0


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGANY_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(bfloat16, "measure", lambda: 2.0)
    assert bfloat16.bfloat16_speedup() == 2.0


def test_the_measurement_is_a_ratio_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfloat16, "_times", lambda side, rounds: {torch.float32: 6.0, torch.bfloat16: 2.0})
    assert bfloat16.measure() == 3.0
    monkeypatch.setattr(bfloat16, "_times", lambda side, rounds: {torch.float32: 1.0, torch.bfloat16: 10.0})
    assert bfloat16.measure() == 0.1


def test_real_products_are_timed() -> None:
    times = bfloat16._times(64, 1)
    assert set(times) == {torch.float32, torch.bfloat16}
    assert all(0 < seconds < float("inf") for seconds in times.values())


@pytest.mark.parametrize(("speedup", "expected"), [(1.2, torch.float32), (2.2, torch.bfloat16)])
def test_auto_on_a_cpu_follows_the_measurement(
    speedup: float, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "bfloat16_speedup", lambda: speedup)
    assert device.resolve_dtype("auto", "cpu") is expected


def test_the_environment_answers_for_auto_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "bfloat16_speedup", lambda: 9.0)
    monkeypatch.setenv("SEGANY_DTYPE", "float32")
    assert device.resolve_dtype("auto", "cpu") is torch.float32
    assert device.resolve_dtype("bfloat16", "cpu") is torch.bfloat16
    monkeypatch.setenv("SEGANY_DTYPE", "auto")
    assert device.resolve_dtype("auto", "cpu") is torch.bfloat16
    monkeypatch.setenv("SEGANY_DTYPE", "float8")
    with pytest.raises(OptionError, match=r"environment variable SEGANY_DTYPE must be auto, .*float8"):
        device.resolve_dtype("auto", "cpu")
