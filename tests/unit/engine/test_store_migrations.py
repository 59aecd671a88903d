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
        assert migrations.revision(s.connection()) == "v0002"
        assert migrations.differences(s.connection()) == []
    with session(engine, writes=True) as s:
        migrations.upgrade(s.connection())
    engine.dispose()


def test_an_older_store_keeps_its_people_and_gains_what_is_new(address: str) -> None:
    engine = connect(address)
    with session(engine, writes=True) as s:
        migrations.upgrade(s.connection(), revision="v0001")
        assert migrations.differences(s.connection()) != [] or engine.dialect.name == "sqlite"
        s.execute(sa.text("INSERT INTO project (name, settings, created) VALUES ('old', '{}', '2026-01-01')"))
    with session(engine, writes=True) as s:
        migrations.upgrade(s.connection())
        assert migrations.differences(s.connection()) == []
        assert s.scalar(sa.text("SELECT name FROM project")) == "old"
        indexes = {one["name"] for one in sa.inspect(s.connection()).get_indexes("task")}
        assert {"ix_task_next", "ix_task_author_id", "ix_task_holder_id"} <= indexes
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


def test_the_next_task_of_a_long_queue_is_read_from_its_index(address: str) -> None:
    """Sorting all that waits would cost a second for each claim in a project of a million photos."""
    from datetime import UTC, datetime

    from segany.engine.config import ProjectSettings
    from segany.engine.store.queue import _claimable
    from segany.engine.store.tables import ImageRow, ProjectRow, TaskRow, UserRow

    engine, at, count = connect(address), datetime(2026, 1, 31, tzinfo=UTC), 4000
    picture = {"project_id": 1, "width": 9, "height": 9, "held_out": False, "privacy": "unseen", "detectors": []}
    work = {"project_id": 1, "stage": "manual", "purpose": "work", "replica": 0, "priority": 0, "state": "queued"}
    work |= {"submissions": 0, "rejections": 0, "mending": False, "changed": at, "created": at}
    person = {"name": "ann", "password_hash": "-", "role": "annotator", "simulated": True, "active": True, "claims": 0}
    numbers = range(1, count + 1)
    with session(engine, writes=True) as s:
        migrations.upgrade(s.connection())
        s.execute(sa.insert(ProjectRow), [{"id": 1, "name": "p", "settings": {}, "created": at}])
        s.execute(sa.insert(UserRow), [{"id": 1, "created": at, **person}])
        pictures = ({"id": n, "image_id": n, "sha256": f"{n:064x}", "file_name": "-", **picture} for n in numbers)
        s.execute(sa.insert(ImageRow), [{**one, "created": at} for one in pictures])
        s.execute(sa.insert(TaskRow), [{"id": n, "image_id": n, **work} for n in numbers])
    with session(engine, writes=True) as s:
        s.execute(sa.text("ANALYZE"))
        query = _claimable(1, 1, at, ProjectSettings(), None).limit(2)
        assert [row.id for row in s.scalars(query)] == [1, 2]
        said = query.compile(engine, compile_kwargs={"literal_binds": True, "render_postcompile": True})
        explain = "EXPLAIN" if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        plan = "\n".join(str(row) for row in s.execute(sa.text(f"{explain} {said}".replace(":", r"\:"))))
        assert "ix_task_next" in plan and "Sort" not in plan and "TEMP B-TREE" not in plan, plan
    engine.dispose()
