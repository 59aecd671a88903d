"""Fixtures every test may use."""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("SEGANY_DTYPE", "float32")
"""What `auto` means in tests, so that no result depends on the machine; tests of other precisions name them."""
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=1500, deadline=None)
settings.register_profile("usual", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") == "true" else "usual"))
"""On CI the same examples every time; elsewhere new ones, and `HYPOTHESIS_PROFILE=search` looks long."""


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


@pytest.fixture(scope="session")
def toy_predictor() -> Predictor:
    """A seconds-fast model whose seeded weights make lively masks; they mean nothing."""
    import torch

    from segany.modeling.build import build_model
    from segany.modeling.presets import PRESETS
    from segany.predict.predictor import Predictor

    model = build_model(PRESETS["toy"])
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            noise = torch.randn(tensor.shape, generator=draw)
            if "embed" in name or "token" in name or "matrix" in name:
                tensor.copy_(noise)
            elif tensor.ndim > 1:
                tensor.copy_(1.5 * noise / tensor[0].numel() ** 0.5)
            else:
                tensor.copy_(0.2 * noise + (1.0 if name.endswith("weight") else 0.0))
            if "hypernetworks" in name and name.endswith("2.weight"):
                tensor.mul_(4.0)
    return Predictor(model, device="cpu")


@pytest.fixture(scope="session")
def scene() -> Callable[[int, int], NDArray[np.uint8]]:
    """(height, width) -> a uint8 RGB picture of coloured tiles."""

    def paint(height: int, width: int) -> NDArray[np.uint8]:
        y, x = np.mgrid[:height, :width]
        tiles = ((x * 8 // width + y * 4 // height) % 2) * 180 + 30
        return np.stack([tiles, x * 255 // width, y * 255 // height], axis=-1).astype(np.uint8)

    return paint


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a real PostgreSQL server, ending in a slash: add a database's name. No binaries: skip (CI: fail)."""
    spec = importlib.util.spec_from_file_location("postgres_server", Path(__file__).with_name("postgres_server.py"))
    assert spec is not None and spec.loader is not None
    server = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(server)
    if server.tools() is None:
        reason = "needs a PostgreSQL server: apt-get install postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with server.running("fsync=off", "max_connections=100") as address:
        yield address


@pytest.fixture(scope="session")
def empty_postgres(postgres: str) -> Callable[[], str]:
    """Empties a PostgreSQL database and tells its address."""
    import sqlalchemy as sa

    engine = sa.create_engine(postgres + "postgres", isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def emptied() -> str:
        with engine.connect() as connection:
            connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA public"))
        return postgres + "postgres"

    return emptied


@pytest.fixture(scope="session")
def new_postgres(postgres: str) -> Callable[[], str]:
    """Makes a PostgreSQL database that nothing else uses and tells its address."""
    import sqlalchemy as sa

    engine = sa.create_engine(postgres + "postgres", isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    numbers = itertools.count()

    def made() -> str:
        name = f"module{next(numbers)}"
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        return postgres + name

    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database's address, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'engine.sqlite'}"
    emptied: Callable[[], str] = request.getfixturevalue("empty_postgres")
    return emptied()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def address_for_all(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same for a whole module; on PostgreSQL a database of its own, which `address` does not empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('database') / 'engine.sqlite'}"
    made: Callable[[], str] = request.getfixturevalue("new_postgres")
    return made()
