"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of golden files and data packs, named by SEGANY_SHARED; without it the test skips (CI: fails)."""
    folder = os.environ.get("SEGANY_SHARED")
    if folder and Path(folder).is_dir():
        return Path(folder).resolve()
    reason = f"needs the folder of golden files and data packs: set SEGANY_SHARED (now {folder!r})"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
