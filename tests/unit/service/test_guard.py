"""Who may ask: names, pages, tokens, rates; and what every answer carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from segany.core.errors import OptionError
from segany.service import Settings
from segany.service.auth import Asker
from segany.service.errors import ApiError

from .conftest import MakeClient

TOKEN = "correct horse battery staple"
MODELS = "/api/v1/models"


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "localhost:1", "LOCALHOST:8000", "[::1]:8000"])
def test_own_names_are_served(client: TestClient, host: str) -> None:
    assert client.get(MODELS, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:8000", "127.0.0.1.evil.example", "[", "", "0.0.0.0"]
)
@pytest.mark.parametrize("path", [MODELS, "/", "/metrics"])
def test_a_rebound_name_is_refused(client: TestClient, host: str, path: str) -> None:
    answer = client.get(path, headers={"host": host})
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "host"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9000"},
        {"origin": "http://127.0.0.1:8000.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_origins_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    for answer in (client.get(MODELS, headers=headers), client.post("/api/v1/jobs", headers=headers, json={})):
        assert answer.status_code == 403 and answer.json()["error"]["code"] == "origin"
        assert "access-control-allow-origin" not in answer.headers


def test_the_own_page_and_allowed_ones_are_served(make_client: MakeClient) -> None:
    client = make_client(allowed_origins=("http://localhost:5173",))
    for headers in (
        {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"},
        {"origin": "http://localhost:5173", "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ):
        assert client.get(MODELS, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong horse battery staple"}, {"authorization": f"Basic {TOKEN}"},
     {"authorization": "Bearer"}, {"cookie": "segany_token=no"}, {"cookie": "other=1"}],
)  # fmt: skip
def test_without_the_token_nothing_of_the_api_is_told(make_client: MakeClient, headers: dict[str, str]) -> None:
    client = make_client(token=TOKEN)
    for path in (MODELS, "/api/v1/openapi.json", "/api/v1/jobs", "/metrics", "/api/v1/nothing"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.text
    assert client.get("/api/v1/health", headers=headers).status_code == 200


def test_the_token_opens_the_api_as_header_and_as_cookie(make_client: MakeClient) -> None:
    client = make_client(token=TOKEN)
    assert client.get(MODELS, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    welcome = client.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert welcome.status_code == 303 and welcome.headers["location"] == "/"
    cookie = welcome.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert client.get(MODELS).status_code == 200, "the client keeps the cookie"


def test_a_wrong_token_in_the_address_sets_no_cookie(make_client: MakeClient) -> None:
    welcome = make_client(token=TOKEN).get("/", params={"token": "x" * 20}, follow_redirects=False)
    assert welcome.status_code == 303 and "set-cookie" not in welcome.headers


def test_the_authenticator_can_be_replaced(make_client: MakeClient) -> None:
    def by_name(connection: Any) -> Asker:
        if "x-name" not in connection.headers:
            raise ApiError(401, "account", "expected a name; got none. Log in.")
        return Asker(connection.headers["x-name"])

    client = make_client(authenticate=by_name)
    assert client.get(MODELS).json()["error"]["code"] == "account"
    assert client.get(MODELS, headers={"x-name": "Ada"}).status_code == 200


def test_too_many_requests_are_told_when_to_come_again(make_client: MakeClient) -> None:
    client = make_client(rate_per_s=0.01, rate_burst=5)
    answers = [client.get("/api/v1/health") for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 100


def test_every_answer_isolates_the_page_and_forbids_sniffing(client: TestClient) -> None:
    for path, status in (("/", 200), ("/api/v1/health", 200), ("/api/v1/images/x", 422), ("/nothing", 404)):
        answer = client.get(path)
        assert answer.status_code == status
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-embedder-policy"] == "require-corp"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_unbuilt_page_says_how_to_build_it(tmp_path: Path) -> None:
    from fastapi import FastAPI

    from segany.service.page import add_page

    app = FastAPI()
    add_page(app, tmp_path)
    assert "npm run build" in TestClient(app).get("/").text


def test_a_built_page_is_served_with_its_policy_and_nothing_beside_it(tmp_path: Path) -> None:
    from fastapi import FastAPI

    from segany.service.page import add_page

    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>segany</title>")
    (folder / "assets" / "app.1a2b.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    app = FastAPI()
    add_page(app, folder)
    client = TestClient(app)
    assert client.get("/").text == "<title>segany</title>"
    assert "wasm-unsafe-eval" in client.get("/").headers["content-security-policy"]
    assert "immutable" in client.get("/assets/app.1a2b.js").headers["cache-control"]
    for path in ("/../secret.txt", "/..%2fsecret.txt", "/assets/%2e%2e/%2e%2e/secret.txt", "/%2fetc%2fpasswd"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "needs a token"),
        ({"host": "::"}, "needs a token"),
        ({"host": "example.org"}, "needs a token"),
        ({"allowed_hosts": ("segany.example",)}, "needs a token"),
        ({"token": "short"}, "at least 16"),
        ({"port": 70000}, "port must be"),
        ({"models": ()}, "at least one model"),
        ({"max_pixels": 0}, "max_pixels must be at least 1"),
        ({"body_idle_s": 0.0}, "body_idle_s must be"),
        ({"rate_per_s": float("nan")}, "rate_per_s must be"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Settings(**settings)


def test_settings_do_not_show_the_token() -> None:
    assert TOKEN not in repr(Settings(token=TOKEN))
