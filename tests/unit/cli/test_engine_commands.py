"""`segany engine` on the command line: passwords, projects, what goes wrong."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sa = pytest.importorskip("sqlalchemy")

Run = Callable[..., Any]


@pytest.fixture
def garden(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGANY_PASSWORD", "correct horse")
    assert run("engine", "init", tmp_path / "garden", "--project", "garden").code == 0
    return tmp_path / "garden"


def test_passwords_come_from_the_environment_or_standard_input(
    garden: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segany.engine.store import open_store

    monkeypatch.delenv("SEGANY_PASSWORD")
    monkeypatch.setattr("sys.stdin", io.StringIO("battery staple\n"))
    told = run("engine", "users", garden, "--add", "ann", "--role", "reviewer")
    assert told.code == 0 and "ann" in told.out and "reviewer" in told.out
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run("engine", "users", garden, "--add", "bob").code == 2
    store = open_store(garden)
    assert store.authenticate("ann", "battery staple").role == "reviewer"
    assert store.authenticate("admin", "correct horse").role == "admin"
    store.close()
    assert "locked" in run("engine", "users", garden, "--lock", "ann").out


def test_tokens_are_listed_and_ended(garden: Path, run: Run) -> None:
    from segany.core.errors import AccessError
    from segany.engine.store import open_store

    store = open_store(garden)
    admin = store.users()[0]
    kept, ended = (store.issue_token(admin.id, seconds=3600, label=label) for label in ("nightly", "lost laptop"))
    told = run("engine", "tokens", garden, admin.name)
    assert "nightly" in told.out and "lost laptop" in told.out and kept.secret not in told.out
    told = run("engine", "tokens", garden, admin.name, "--end", str(ended.id))
    assert told.code == 0 and "nightly" in told.out and "lost laptop" not in told.out
    assert store.check_token(kept.secret).name == admin.name
    with pytest.raises(AccessError):
        store.check_token(ended.secret)
    store.close()
    assert run("engine", "tokens", garden, "nobody").code == 1
    assert run("engine", "tokens", garden, admin.name, "--end", "4711").code == 1


def test_a_project_is_named_where_there_are_several(garden: Path, run: Run) -> None:
    assert run("engine", "status", garden).code == 0
    assert run("engine", "init", garden, "--project", "pond").code == 0
    told = run("engine", "status", garden)
    assert told.code == 2 and "garden, pond" in told.err
    assert "pond: 0 images" in run("engine", "status", garden, "--project", "pond").out
    assert run("engine", "status", garden, "--project", "lake").code == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["status", "nowhere"], 1, "there is none"),
        (["add", "GARDEN"], 2, "expected photos"),
        (["clear", "GARDEN"], 2, "--all"),
        (["round", "GARDEN"], 2, "Annotate"),
        (["rollback", "GARDEN"], 1, "there are none"),
        (["prefill", "GARDEN"], 2, "Annotate"),
        (["auto", "GARDEN", "--knob", "points"], 2, "NAME=NUMBER"),
        (["users", "GARDEN", "--lock", "nobody"], 1, "there is none"),
        (["release", "GARDEN", "-o", "out"], 2, "accepted and cleared"),
    ],
)
def test_what_goes_wrong_is_said(
    garden: Path, run: Run, toy: Path, words: list[str], code: int, said: str, tmp_path: Path
) -> None:
    given = [str(garden) if word == "GARDEN" else word for word in words]
    given += ["--model", str(toy)] if words[0] in ("round", "prefill", "auto") else []
    told = run("engine", *given)
    assert told.code == code and said in told.err
    assert told.err.count("\n") <= 2 or words[0] in ("prefill", "auto"), "no traceback"


def test_settings_are_checked(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGANY_PASSWORD", "correct horse")
    path = tmp_path / "settings.json"
    for content, said in (("{", "cannot be read"), ("[]", "JSON object"), ('{"colour": 1}', "colour")):
        path.write_text(content)
        told = run("engine", "init", tmp_path / "store", "--settings", path)
        assert told.code == 2 and said in told.err
    assert not (tmp_path / "store").exists()
    path.write_text(json.dumps({"guideline": "Everything.", "held_out_share": 0.3}))
    assert run("engine", "init", tmp_path / "store", "--settings", path).code == 0
