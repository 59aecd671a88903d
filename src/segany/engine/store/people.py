"""People, passwords and tokens."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from functools import cached_property

import sqlalchemy as sa
from pwdlib import PasswordHash
from sqlalchemy import exc

from segany.core.errors import AccessError, NotFoundError, OptionError
from segany.engine.config import ROLES, Role
from segany.engine.store import rows
from segany.engine.store.base import StoreBase, get
from segany.engine.store.tables import TokenRow, UserRow
from segany.engine.values import IssuedToken, TokenInfo, User

LEAST_PASSWORD = 8
MOST_PASSWORD = 1000


class PeopleStore(StoreBase):
    """Who may do what."""

    _hasher: PasswordHash

    def add_user(self, name: str, password: str, role: Role, *, simulated: bool = False) -> User:
        """A new person.

        Args:
            name: unique, 1 to 200 characters.
            password: 8 characters or more; kept as an argon2id hash.
            role: what they may do.
            simulated: somebody who plays ground truth; everything they make carries the mark.

        Raises:
            OptionError: an impossible or taken name, a short password, or an unknown role.
        """
        shown = name.strip()
        if not 1 <= len(shown) <= 200:
            raise OptionError(f"a name must have 1 to 200 characters; got {len(shown)}.")
        _check_role(role)
        hashed = self._hashed(password)
        with self._write() as s:
            if s.scalar(sa.select(UserRow.id).where(UserRow.name == shown)) is not None:
                raise OptionError(f"names must differ; {shown!r} is taken. Choose another.")
            row = UserRow(
                name=shown,
                password_hash=hashed,
                role=role,
                simulated=simulated,
                active=True,
                claims=0,
                created=self._clock(),
            )
            s.add(row)
            try:
                s.flush()
            except exc.IntegrityError:  # by somebody else in this very moment
                raise OptionError(f"names must differ; {shown!r} is taken. Choose another.") from None
            return rows.user(row)

    def users(self) -> list[User]:
        """Everybody."""
        with self._read() as s:
            return [rows.user(row) for row in s.scalars(sa.select(UserRow).order_by(UserRow.id))]

    def user(self, user: int) -> User:
        """One of them.

        Raises:
            NotFoundError: there is none.
        """
        with self._read() as s:
            return rows.user(get(s, UserRow, user, "person"))

    def change_user(
        self, user: int, *, role: Role | None = None, active: bool | None = None, password: str | None = None
    ) -> User:
        """A new role, a lock, or a new password; the last two end all of their tokens.

        Raises:
            NotFoundError: there is no such person.
            OptionError: an unknown role or a short password.
        """
        if role is not None:
            _check_role(role)
        hashed = None if password is None else self._hashed(password)
        with self._write() as s:
            row = get(s, UserRow, user, "person", lock=True)
            row.role = role or row.role
            row.password_hash = hashed or row.password_hash
            row.active = row.active if active is None else active
            if hashed or not row.active:
                s.execute(sa.update(TokenRow).where(TokenRow.person_id == user).values(revoked=True))
            return rows.user(row)

    def authenticate(self, name: str, password: str) -> User:
        """Who has this name and password. It takes as long for an unknown name as for a wrong password.

        Raises:
            AccessError: nobody, or somebody who is locked out; the message does not say which.
        """
        with self._read() as s:
            row = s.scalar(sa.select(UserRow).where(UserRow.name == name.strip()))
        known = row.password_hash if row is not None else self._nobody
        right = len(password) <= MOST_PASSWORD and self._hasher.verify(password, known)
        if row is None or not right or not row.active:
            raise AccessError("name and password must belong together; these do not. Check both.")
        return rows.user(row)

    def issue_token(self, user: int, *, seconds: float, label: str = "session") -> IssuedToken:
        """A token for a login session or a program; its secret is told this once.

        Args:
            user: whose.
            seconds: how long it is good for.
            label: what it is for.

        Raises:
            NotFoundError: there is no such person.
            AccessError: they are locked out.
        """
        secret = f"sgy_{secrets.token_urlsafe(32)}"
        with self._write() as s:
            person = get(s, UserRow, user, "person")
            if not person.active:
                raise AccessError("a token needs somebody who may log in; this person is locked out.")
            at = self._clock()
            row = TokenRow(
                person_id=user,
                sha256=_sha256(secret),
                label=label[:200],
                created=at,
                expires=at + timedelta(seconds=seconds),
                revoked=False,
            )
            s.add(row)
            s.flush()
            return IssuedToken(id=row.id, secret=secret, user=user, expires=row.expires)

    def check_token(self, secret: str) -> User:
        """Whose token it is.

        Raises:
            AccessError: nobody's, run out, revoked, or of somebody who is locked out.
        """
        query = (
            sa.select(UserRow)
            .join(TokenRow, TokenRow.person_id == UserRow.id)
            .where(TokenRow.sha256 == _sha256(secret), ~TokenRow.revoked, TokenRow.expires > self._clock())
        )
        with self._read() as s:
            row = s.scalar(query)
        if row is None or not row.active:
            raise AccessError("a token must be valid; this one is unknown, over or revoked. Log in again.")
        return rows.user(row)

    def tokens(self, user: int, *, secret: str | None = None) -> list[TokenInfo]:
        """A person's tokens, newest first, without their secrets; the one of `secret` is marked.

        Raises:
            NotFoundError: there is no such person.
        """
        mine = None if secret is None else _sha256(secret)
        with self._read() as s:
            get(s, UserRow, user, "person")
            query = sa.select(TokenRow).where(TokenRow.person_id == user).order_by(TokenRow.id.desc())
            return [
                TokenInfo(
                    id=row.id,
                    label=row.label,
                    created=row.created,
                    expires=row.expires,
                    revoked=row.revoked,
                    over=row.revoked or row.expires <= self._clock(),
                    shown=row.sha256 == mine,
                )
                for row in s.scalars(query)
            ]

    def revoke_token(self, secret: str) -> None:
        """Log out: the token is good for nothing from now on; an unknown one is left alone."""
        with self._write() as s:
            s.execute(sa.update(TokenRow).where(TokenRow.sha256 == _sha256(secret)).values(revoked=True))

    def end_token(self, user: int, token: int) -> None:
        """One of a person's tokens is good for nothing from now on.

        Raises:
            NotFoundError: they have no such token.
        """
        with self._write() as s:
            ended = sa.update(TokenRow).where(TokenRow.id == token, TokenRow.person_id == user).values(revoked=True)
            if s.execute(ended.returning(TokenRow.id)).first() is None:
                raise NotFoundError(f"there must be a token of this number; there is no token {token} of theirs.")

    def _hashed(self, password: str) -> str:
        if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
            raise OptionError(
                f"a password must have {LEAST_PASSWORD} to {MOST_PASSWORD} characters; got {len(password)}."
            )
        return self._hasher.hash(password)

    @cached_property
    def _nobody(self) -> str:
        """A hash that no password has."""
        return self._hasher.hash(secrets.token_urlsafe(32))


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise OptionError(f"a role must be one of {', '.join(ROLES)}; got {role!r}.")


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
