"""The scripts of `benchmarks/`, imported by name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def script_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Name → module, found as the scripts find each other; forgotten after the test."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    for path in SCRIPTS.glob("*.py"):
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    return importlib.import_module
