"""The tables come about by the recorded steps, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

sa = pytest.importorskip("sqlalchemy")

from segany.core.errors import DataError, NotFoundError, OptionError, StoreUnavailableError  # noqa: E402
from segany.engine.store import migrations, open_store  # noqa: E402
from segany.engine.store.database import connect, session  # noqa: E402


def test_from_empty_to_the_newest(address: str) -> None:
    engine = connect(address)
    with session(engine, writes=True) as s:
        assert migrations.revision(s.connection()) is None
        migrations.upgrade(s.connection())
        assert migrations.revision(s.connection()) == "v0001"
        assert migrations.differences(s.connection()) == []
    with session(engine, writes=True) as s:
        migrations.upgrade(s.connection())
    engine.dispose()


def test_a_column_too_many_would_be_seen(address: str) -> None:
    engine = connect(address)
    with session(engine, writes=True) as s:
        migrations.upgrade(s.connection())
        s.execute(sa.text("ALTER TABLE task ADD COLUMN colour TEXT"))
        assert migrations.differences(s.connection()) != []
    engine.dispose()


def test_only_served_databases(tmp_path: Path) -> None:
    for wrong in ("mysql://x/y", "nonsense", "sqlite://", "sqlite:///:memory:"):
        with pytest.raises(OptionError):
            connect(wrong)


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="try again"):
        open_store(tmp_path / "s", database="postgresql+psycopg://nobody@127.0.0.1:1/none", create=True)


def test_a_folder_knows_where_its_database_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError, match="Create it first"):
        open_store(tmp_path / "store")
    open_store(tmp_path / "store", create=True).close()
    assert (tmp_path / "store" / "engine.sqlite").is_file()
    monkeypatch.setenv("SEGANY_DATABASE", f"sqlite:///{tmp_path / 'other.sqlite'}")
    open_store(tmp_path / "store").close()
    assert not (tmp_path / "other.sqlite").exists(), "a store in a file stays in its file"
    open_store(tmp_path / "far", create=True).close()
    assert (tmp_path / "other.sqlite").exists()
    monkeypatch.delenv("SEGANY_DATABASE")
    with pytest.raises(DataError, match="--database"):
        open_store(tmp_path / "far")
    assert "other" not in (tmp_path / "far" / "segany-store.json").read_text(encoding="utf-8")
