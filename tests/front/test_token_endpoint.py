"""The token endpoint with the credentials classes that Google's clients use."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import google.auth.exceptions
import google.oauth2.credentials
import httpx
import pytest
import requests
import uvicorn
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from starlette.applications import Starlette

from tensordeck.access import LocalAccess, open_access
from tensordeck.front import token_endpoint
from tensordeck.front.token_endpoint import TOKEN_PATHS, token_routes
from tensordeck.settings import Settings
from tensordeck.store import open_store


class Endpoint:
    """A running endpoint."""

    def __init__(self, url: str, access: LocalAccess, owner_file: Path) -> None:
        self.url = url
        self.access = access
        self.owner_file = owner_file


@contextlib.contextmanager
def served(access: LocalAccess) -> Iterator[str]:
    """Serves the routes on a port of their own; yields the URL."""
    app = Starlette(routes=token_routes(access))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    server.capture_signals = contextlib.nullcontext
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.force_exit = server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    store = open_store(settings)
    access = open_access(store.catalog, settings)
    with served(access) as url:
        yield Endpoint(url, access, settings.data_dir / "credentials" / "owner.json")
    store.close()


@pytest.fixture(autouse=True)
def _no_outer_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_the_owner_s_credentials_refresh(endpoint):
    owner = json.loads(endpoint.owner_file.read_text())
    credentials = google.oauth2.credentials.Credentials.from_authorized_user_info(
        {**owner, "token_uri": f"{endpoint.url}/token"}
    )
    credentials._token_uri = f"{endpoint.url}/token"  # the class names Google's own

    credentials.refresh(Request())

    caller = endpoint.access.authenticate(f"Bearer {credentials.token}")
    assert caller.principal == "owner@tensordeck.local"
    assert credentials.valid


def test_a_service_account_trades_its_assertion(endpoint):
    key = endpoint.access.create_service_account_key("trainer")
    credentials = service_account.Credentials.from_service_account_info(
        {**key, "token_uri": f"{endpoint.url}/oauth2/v4/token"},
        scopes=["https://www.googleapis.com/auth/devstorage.full_control"],
    )

    credentials.refresh(Request())

    assert (
        endpoint.access.authenticate(f"Bearer {credentials.token}").principal
        == (key["client_email"])
    )


def test_a_revoked_key_is_refused_in_google_auth_s_own_words(endpoint):
    key = endpoint.access.create_service_account_key("gone")
    endpoint.access.revoke(key["private_key_id"])
    credentials = service_account.Credentials.from_service_account_info(
        {**key, "token_uri": f"{endpoint.url}/token"}, scopes=["x"]
    )

    with pytest.raises(google.auth.exceptions.RefreshError, match=r"invalid_grant.*revoked"):
        credentials.refresh(Request())


@pytest.mark.parametrize("path", TOKEN_PATHS)
def test_every_path_of_google_s_answers(endpoint, path):
    owner = json.loads(endpoint.owner_file.read_text())
    form = {"grant_type": "refresh_token", "refresh_token": owner["refresh_token"]}

    reply = requests.post(endpoint.url + path, data=form)

    assert reply.status_code == 200
    assert reply.headers["Cache-Control"] == "no-store"
    assert set(reply.json()) == {"access_token", "expires_in", "scope", "token_type"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "unsupported_grant_type"),
        (b"\xff\xfe%%%&&&===", "unsupported_grant_type"),
        (b'{"grant_type": "refresh_token"}', "unsupported_grant_type"),
        (b"grant_type=refresh_token&refresh_token=%00%ff", "invalid_grant"),
        (b"grant_type=refresh_token&refresh_token=" + b"x" * 70_000, "invalid_request"),
    ],
)
def test_bad_forms_get_oauth_s_error(endpoint, body, error):
    reply = requests.post(f"{endpoint.url}/token", data=body)

    assert reply.status_code == 400
    assert reply.json()["error"] == error
    assert reply.json()["error_description"]


def test_token_requests_must_be_posts(endpoint):
    assert requests.get(f"{endpoint.url}/token").status_code == 405


def test_tokeninfo_and_userinfo_know_the_caller(endpoint):
    credential = endpoint.access.list_credentials()[0].id
    token = endpoint.access.access_token(credential)

    info = requests.get(f"{endpoint.url}/oauth2/v3/tokeninfo", params={"access_token": token})
    posted = requests.post(f"{endpoint.url}/tokeninfo", data={"access_token": token})
    user = requests.get(
        f"{endpoint.url}/oauth2/v3/userinfo", headers={"Authorization": f"Bearer {token}"}
    )

    assert info.json()["email"] == posted.json()["email"] == user.json()["email"]
    assert 3500 < int(info.json()["expires_in"]) <= 3600


def test_tokeninfo_and_userinfo_tell_strangers_nothing(endpoint):
    assert requests.get(f"{endpoint.url}/tokeninfo?access_token=x").status_code == 400
    assert requests.get(f"{endpoint.url}/oauth2/v3/userinfo").status_code == 401


def test_allowed_locations_are_answered_cheaply(endpoint):
    url = f"{endpoint.url}/v1/projects/-/serviceAccounts/a@b.c/allowedLocations"
    assert requests.get(url).json()["encodedLocations"] == "0x0"


def test_many_refusals_are_slowed_down_and_grants_are_not(endpoint, monkeypatch):
    monkeypatch.setattr(token_endpoint, "_FAILURE_PAUSE", 3600)
    monkeypatch.setattr(token_endpoint, "FREE_FAILURES", 3)
    owner = json.loads(endpoint.owner_file.read_text())
    good = {"grant_type": "refresh_token", "refresh_token": owner["refresh_token"]}
    bad = {"grant_type": "refresh_token"}
    with served(endpoint.access) as url, httpx.Client(timeout=60) as client:
        for _ in range(3):
            assert client.post(f"{url}/token", data=bad).status_code == 400
        with pytest.raises(httpx.ReadTimeout):
            client.post(f"{url}/token", data=bad, timeout=1)
        assert client.post(f"{url}/token", data=good).status_code == 200
