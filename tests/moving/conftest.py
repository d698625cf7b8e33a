"""Places that stores move between."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tensordeck.settings import Settings
from tests.postgres_server import PostgresServer, open_postgres

NewPlace = Callable[[str], Settings]
"""Makes the settings of an empty place: `sqlite` or `postgresql`."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server."""
    with open_postgres() as server:
        yield server


@pytest.fixture
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> NewPlace:
    """See `NewPlace`."""
    numbers = count()

    def make(kind: str) -> Settings:
        data_dir = tmp_path / f"place-{next(numbers)}"
        if kind == "sqlite":
            return Settings(data_dir=data_dir)
        server: PostgresServer = request.getfixturevalue("postgres")
        return Settings(data_dir=data_dir, database_url=server.make_database())

    return make
