"""Logins, cookies, what a write must show, tokens, and how often one may guess."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from segany.core.errors import OptionError
from segany.service import Settings
from segany.service.engine.tries import LoginTries
from segany.service.errors import ApiError

from .conftest import API, PASSWORD, Place

SESSION = f"{API}/session"


def log_in(client: TestClient, name: str = "ann", password: str = PASSWORD, **more: Any) -> Any:
    return client.post(SESSION, json={"name": name, "password": password}, **more)


def test_the_cookie_is_kept_from_scripts_and_other_pages(place: Place) -> None:
    place.fill(images=1).serve()
    answer = log_in(place.client, " ann ")
    assert answer.json()["person"] == {"id": place.users["ann"], "name": "ann", "role": "annotator", "simulated": False}
    said = answer.headers["set-cookie"].lower()
    assert said.startswith("segany_session=sgy_") and "httponly" in said and "samesite=strict" in said
    assert "secure" not in said
    encrypted = log_in(place.client, headers={"origin": "https://127.0.0.1:8000"})
    assert "secure" in encrypted.headers["set-cookie"].lower()
    assert place.client.cookies["segany_session"] not in answer.text


def test_a_write_with_the_cookie_shows_what_its_page_knows(place: Place) -> None:
    place.fill(images=1).serve()
    csrf, claim = log_in(place.client).json()["csrf"], f"{API}/projects/{place.project}/claim"
    assert place.client.get(SESSION).json()["csrf"] == csrf, "a reloaded page can ask for it"
    other = log_in(TestClient(place.client.app, base_url="http://127.0.0.1:8000")).json()["csrf"]
    for headers in ({}, {"x-segany-csrf": ""}, {"x-segany-csrf": other}, {"x-segany-csrf": csrf[:-1]}):
        answer = place.client.post(claim, json={}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "csrf")
        assert place.client.delete(SESSION, headers=headers).status_code == 403
        assert place.client.post(f"{API}/jobs", json={}, headers=headers).status_code == 403, "older routes as well"
    assert place.client.post(claim, json={}, headers={"x-segany-csrf": csrf}).status_code == 200
    foreign = {"x-segany-csrf": csrf, "origin": "http://evil.example"}
    assert place.client.post(claim, json={}, headers=foreign).json()["error"]["code"] == "origin"


def test_after_logging_out_the_cookie_is_worth_nothing(place: Place) -> None:
    place.fill(images=1).serve()
    csrf = log_in(place.client).json()["csrf"]
    secret = place.client.cookies["segany_session"]
    assert place.client.delete(SESSION, headers={"x-segany-csrf": csrf}).status_code == 204
    assert "segany_session" not in place.client.cookies
    for headers in ({"cookie": f"segany_session={secret}"}, {"authorization": f"Bearer {secret}"}):
        assert place.client.get(SESSION, headers=headers).status_code == 401


def test_tokens_of_ones_own(place: Place) -> None:
    place.fill(images=1).serve()
    made = place.as_("rev")("POST", "/session/token", json={"label": "nightly", "days": 2}).json()
    headers = {"authorization": f"Bearer {made['token']}"}
    told = place.client.get(SESSION, headers=headers).json()
    assert told["person"]["role"] == "reviewer" and told["csrf"] is None
    assert place.client.post(f"{API}/projects/{place.project}/claim", json={}, headers=headers).status_code == 200
    assert place.store.tokens(place.users["rev"])[0].label == "nightly"
    place.store.change_user(place.users["rev"], role="annotator")
    assert place.client.get(f"{API}/projects/{place.project}/stats", headers=headers).status_code == 403, "at once"
    place.store.change_user(place.users["rev"], active=False)
    assert place.client.get(SESSION, headers=headers).status_code == 401


def test_tokens_are_listed_without_their_secrets_and_ended_one_by_one(place: Place) -> None:
    place.fill(images=1).serve()
    ann, bob, root = place.as_("ann"), place.as_("bob"), place.as_("root")
    made = ann("POST", "/session/token", json={"label": "nightly", "days": 2}).json()
    over = place.store.issue_token(place.users["ann"], seconds=-1, label="over").id
    answer = ann("GET", "/session/tokens")
    listed = answer.json()
    assert [(one["label"], one["current"]) for one in listed] == [("nightly", False), ("session", True)]
    assert set(listed[0]) == {"id", "label", "created", "expires", "current"}
    assert listed[0]["expires"] == made["expires"] and listed[0]["id"] != over
    assert made["token"] not in answer.text and ann.token is not None and ann.token not in answer.text
    theirs = root("GET", f"/people/{place.users['ann']}/tokens").json()
    assert theirs == [{**one, "current": False} for one in listed], "an admin sees the same"

    nightly, session = (one["id"] for one in listed)
    his = bob("GET", "/session/tokens").json()[0]["id"]
    assert bob("DELETE", f"/session/tokens/{nightly}").status_code == 404, "another's"
    assert root("DELETE", f"/people/{place.users['bob']}/tokens/{nightly}").status_code == 404, "not of this person"
    headers = {"authorization": f"Bearer {made['token']}"}
    assert place.client.get(SESSION, headers=headers).status_code == 200
    assert ann("DELETE", f"/session/tokens/{nightly}").status_code == 204
    assert place.client.get(SESSION, headers=headers).status_code == 401
    assert root("DELETE", f"/people/{place.users['ann']}/tokens/{session}").status_code == 204
    assert ann("GET", "/session").status_code == 401
    assert bob("GET", "/session/tokens").json()[0]["id"] == his, "the others' stay"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sgy_wrong"},
        {"authorization": "Bearer " + "a" * 5000},
        {"authorization": "Basic YW5uOmNvcnJlY3QgaG9yc2U="},
        {"authorization": "Bearer"},
        {"authorization": "sgy_wrong"},
        {"cookie": "segany_session="},
        {"cookie": "segany_token=sgy_wrong; segany_session=sgy_wrong"},
        {"authorization": b"Bearer \xff\xfe"},
    ],
)
def test_who_shows_nothing_right_is_nobody(here: Place, headers: dict[str, Any]) -> None:
    here.fill(images=1).serve()
    for path in ("/session", "/models", "/openapi.json", "/nothing"):
        answer = here.client.get(API + path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "login")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_wrong_token_is_not_saved_by_a_right_cookie(here: Place) -> None:
    here.fill(images=1).serve()
    log_in(here.client)
    assert here.client.get(SESSION, headers={"authorization": "Bearer sgy_wrong"}).status_code == 401


def test_wrong_names_and_wrong_passwords_look_alike(here: Place) -> None:
    here.fill(images=1).serve()
    here.store.change_user(here.users["bob"], active=False)
    answers = [log_in(here.client, *who) for who in (("ann", "wrong"), ("nobody", PASSWORD), ("bob", PASSWORD))]
    assert {(one.status_code, one.text) for one in answers} == {(401, answers[0].text)}
    assert not any("set-cookie" in one.headers for one in answers)


def test_guessing_is_slowed_down(here: Place) -> None:
    here.fill(images=1).serve(login_tries=3, login_pause_s=1000)
    assert [log_in(here.client, "ann", f"wrong {i}").status_code for i in range(4)] == [401, 401, 401, 429]
    refused = log_in(here.client, "ann")
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 100, "not even with the right one"
    assert all(log_in(here.client, "bob").status_code == 200 for _ in range(8)), "right ones are not counted"
    names = [log_in(here.client, f"name {i}", "wrong").status_code for i in range(40)]
    assert names.count(401) == 27 and names[-1] == 429, "nor can one password be tried on all names"


def test_the_buckets_of_tries_fill_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("segany.service.engine.tries.time.monotonic", lambda: now[0])
    tries = LoginTries(2, pause_s=10.0)

    def refused(name: str = "ann", address: str = "here") -> bool:
        try:
            tries.count(name, address)
        except ApiError:
            return True
        return False

    assert [refused() for _ in range(3)] == [False, False, True]
    now[0] += 10.0
    assert [refused() for _ in range(2)] == [False, True]
    assert [refused(address=f"there {i}") for i in range(9)].count(False) == 9, "a name from elsewhere, up to a point"
    assert refused(address="there 9") and not refused("bob", "there 10")
    tries.forgive("ann", "here")
    assert not refused()


def test_numbers_of_the_service_are_for_admins_where_others_can_reach_it(here: Place) -> None:
    here.fill(images=1).serve(allowed_hosts=("masks.example",))
    asked: list[Callable[..., Any]] = [
        lambda name=name: here.client.get("/metrics", headers={"authorization": f"Bearer {here.tokens[name]}"})
        for name in ("ann", "rev", "root")
    ]
    assert [ask().status_code for ask in asked] == [403, 403, 200]
    assert here.client.get("/metrics").status_code == 401


def test_accounts_and_a_token_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="token"):
        Settings(accounts=True, token="a" * 20)
    assert Settings(accounts=True, host="0.0.0.0").token is None, "accounts take the token's place"
