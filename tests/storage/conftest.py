"""A real uvicorn with the Cloud Storage app over a real store, and real clients of it."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from google.cloud import storage
from google.oauth2.credentials import Credentials

from tensordeck.access import Access, open_access
from tensordeck.front.storage_api import storage_app
from tensordeck.services.storage import StorageService
from tensordeck.settings import Settings
from tensordeck.store import Store, open_store

GOOGLE = "storage.googleapis.com"


@dataclass
class Reply:
    """An HTTP reply, read whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Cloud:
    """A running server.

    Attributes:
        port: Where it listens.
        token: An access token that it takes.
        store: What it keeps.
    """

    port: int
    token: str
    store: Store

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def service(self) -> StorageService:
        return StorageService(self.store)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        *,
        token: str | None = "",
    ) -> Reply:
        """One request, the path sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Host": f"127.0.0.1:{self.port}"} | (headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.token}"
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        with contextlib.closing(connection):
            connection.request(method, path, data, sent)
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())


@contextlib.contextmanager
def running(store: Store, access: Access, token: str) -> Iterator[Cloud]:
    """Serves a store until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(storage_app(store, access), log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield Cloud(listener.getsockname()[1], token, store)
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A server that a module's tests share; each makes buckets of its own."""
    with opened(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@contextlib.contextmanager
def opened(folder: Path, object_store: str = "") -> Iterator[Cloud]:
    """A server over the store in a folder, which is made when missing."""
    settings = Settings(data_dir=folder, object_store=object_store)
    store = open_store(settings)
    try:
        access = open_access(store.catalog, settings)
        token = access.access_token(access.list_credentials()[0].id)
        with running(store, access, token) as cloud:
            yield cloud
    finally:
        store.close()


@pytest.fixture
def bucket_name(cloud: Cloud, request: pytest.FixtureRequest) -> str:
    """A new bucket."""
    name = "b-" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:50] + "-x"
    cloud.service.create_bucket(name, "p")
    return name


@pytest.fixture
def client(cloud: Cloud) -> storage.Client:
    """The official client."""
    return storage.Client(
        project="p",
        credentials=Credentials(cloud.token),
        client_options={"api_endpoint": cloud.url},
    )
