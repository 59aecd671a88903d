"""Names, passwords, roles, tokens; on both databases."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

sa = pytest.importorskip("sqlalchemy")

from segany.core.errors import AccessError, NotFoundError, OptionError  # noqa: E402

from .conftest import PASSWORD, Clock  # noqa: E402

if TYPE_CHECKING:
    from segany.engine.store.store import Store


def everything(store: Store) -> str:
    """All that a thief of the database would read of people."""
    with store._read() as s:
        found = [s.execute(sa.text(f"SELECT * FROM {name}")).all() for name in ("person", "token", "event")]
    return repr(found)


def test_passwords_and_tokens_are_not_kept(store: Store) -> None:
    ann = store.add_user("ann", PASSWORD, "annotator")
    token = store.issue_token(ann.id, seconds=60)
    kept = everything(store)
    assert "$argon2id$" in kept
    assert PASSWORD not in kept and token.secret not in kept and token.secret[4:] not in kept
    assert hashlib.sha256(token.secret.encode()).hexdigest() in kept


def test_logging_in(store: Store, clock: Clock) -> None:
    ann = store.add_user(" ann ", PASSWORD, "annotator")
    assert store.authenticate("ann", PASSWORD) == ann
    for name, password in (("ann", "wrong password"), ("bob", PASSWORD), ("ann", "x" * 5000)):
        with pytest.raises(AccessError, match="name and password"):
            store.authenticate(name, password)
    token = store.issue_token(ann.id, seconds=60, label="laptop")
    assert store.check_token(token.secret) == ann
    clock.passes(61)
    with pytest.raises(AccessError, match="Log in again"):
        store.check_token(token.secret)


def test_a_token_ends_by_logging_out_a_new_password_and_a_lock(store: Store) -> None:
    ann = store.add_user("ann", PASSWORD, "annotator").id
    ends: list[Callable[[str], object]] = [
        store.revoke_token,
        lambda _: store.change_user(ann, password="another password"),
        lambda _: store.change_user(ann, active=False),
    ]
    for end in ends:
        token = store.issue_token(ann, seconds=60).secret
        end(token)
        with pytest.raises(AccessError):
            store.check_token(token)
    assert [one.revoked for one in store.tokens(ann)] == [True, True, True]
    with pytest.raises(AccessError):
        store.authenticate("ann", "another password")
    with pytest.raises(AccessError, match="locked out"):
        store.issue_token(ann, seconds=60)
    store.change_user(ann, active=True, role="reviewer")
    assert store.authenticate("ann", "another password").role == "reviewer"


def test_bad_people_are_refused(store: Store) -> None:
    store.add_user("ann", PASSWORD, "annotator")
    with pytest.raises(OptionError, match="taken"):
        store.add_user("ann", PASSWORD, "annotator")
    with pytest.raises(OptionError, match="8 to 1000"):
        store.add_user("bob", "short", "annotator")
    with pytest.raises(OptionError, match="role"):
        store.add_user("bob", PASSWORD, "king")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="1 to 200"):
        store.add_user("  ", PASSWORD, "annotator")
    with pytest.raises(NotFoundError, match="no person 99"):
        store.user(99)
