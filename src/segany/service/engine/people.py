"""Accounts, for admins."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from segany.core.errors import TransitionError
from segany.service.engine.access import AdminOf, EngineOf
from segany.service.engine.bodies import account_value, token_values
from segany.service.engine.parts import Id
from segany.service.engine.schemas import AccountInfo, NewPerson, PersonChange, TokenListed

router = APIRouter(tags=["people"])


@router.get("/projects/{project}/people")
async def list_people(engine: EngineOf, person: AdminOf, project: Id) -> list[AccountInfo]:
    """Everybody; accounts are the store's and work in all of its projects."""
    store = engine.store

    def ask() -> list[dict[str, Any]]:
        store.project(project)
        return [account_value(user) for user in store.users()]

    return [AccountInfo.model_validate(value) for value in await engine.ask(ask)]


@router.post("/projects/{project}/people", status_code=201)
async def add_person(engine: EngineOf, person: AdminOf, project: Id, body: NewPerson) -> AccountInfo:
    """A new account."""
    store = engine.store

    def add() -> dict[str, Any]:
        store.project(project)
        return account_value(store.add_user(body.name, body.password, body.role, simulated=body.simulated))

    return AccountInfo.model_validate(await engine.logins.run(add))


@router.patch("/people/{user}")
async def change_person(engine: EngineOf, person: AdminOf, user: Id, body: PersonChange) -> AccountInfo:
    """A new role, a lock or its end, a new password. Nobody locks out or demotes themselves."""
    store = engine.store
    if user == person.user.id and (body.active is False or body.role not in (None, "admin")):
        raise TransitionError("an admin must stay one until another admin says otherwise; ask another admin.")

    def change() -> dict[str, Any]:
        return account_value(store.change_user(user, role=body.role, active=body.active, password=body.password))

    return AccountInfo.model_validate(await engine.logins.run(change))


@router.get("/people/{user}/tokens")
async def list_tokens_of(engine: EngineOf, person: AdminOf, user: Id) -> list[TokenListed]:
    """Somebody's logins and tokens that are still good, newest first; never their secrets."""
    tokens = await engine.ask(engine.store.tokens, user, secret=person.secret)
    return [TokenListed.model_validate(value) for value in token_values(tokens)]


@router.delete("/people/{user}/tokens/{token}", status_code=204)
async def end_token_of(engine: EngineOf, person: AdminOf, user: Id, token: Id) -> Response:
    """One of somebody's logins or tokens is good for nothing from now on."""
    await engine.ask(engine.store.end_token, user, token)
    return Response(status_code=204)
