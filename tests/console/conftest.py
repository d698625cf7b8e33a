"""Pages over a real store, with a browser that is signed in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tensordeck.access import open_access
from tensordeck.console.pages import console_routes
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tests.console.console_house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    settings = Settings(data_dir=tmp_path / "data")
    settings.data_dir.mkdir()
    store = open_store(settings)
    access = open_access(store.catalog, settings)
    app = Starlette(routes=console_routes(store, access))
    stranger = TestClient(app, "http://localhost:6060", follow_redirects=False)
    owner = TestClient(app, "http://localhost:6060", follow_redirects=False)
    owner.get(access.sign_in_link("http://localhost:6060"))
    yield House(store, access, stranger, owner)
    store.close()
