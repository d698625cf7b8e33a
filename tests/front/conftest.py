"""The HTTP and gRPC faces over a real embedded store, in this process."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tensordeck.access import open_access
from tensordeck.front.dispatch import Dispatcher
from tensordeck.front.rest import RestApi
from tensordeck.server import make_dispatcher
from tensordeck.settings import Settings
from tensordeck.store import open_store


@dataclass
class Api:
    """The REST API with a credential."""

    client: TestClient
    token: str
    dispatcher: Dispatcher

    def call(self, verb: str, path: str, body: Any = None, **params: Any) -> tuple[int, Any]:
        """Calls and returns status and decoded JSON."""
        reply = self.client.request(
            verb,
            path,
            params=params,
            content=None if body is None else json.dumps(body),
            headers={"Authorization": f"Bearer {self.token}"},
        )
        return reply.status_code, reply.json()


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("api"))
    store = open_store(settings)
    access = open_access(store.catalog, settings)
    dispatcher = make_dispatcher(store, access)
    owner = json.loads(Path(settings.data_dir, "credentials", "owner.json").read_text())
    token = access.exchange({"grant_type": "refresh_token", **owner})["access_token"]
    # A bug must come out as a 500 that the tests see, not as an exception in the client.
    yield Api(TestClient(RestApi(dispatcher), raise_server_exceptions=False), token, dispatcher)
    store.close()
