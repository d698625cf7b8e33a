"""Who writes at once is committed at once: the store sees few groups, whoever's turn it is."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tensordeck.settings import Settings
from tensordeck.store import Store, open_store
from tests.postgres_server import open_postgres
from tests.services.conftest import make_api

WRITERS = 8
TURNS = 10
BEGINNING = 3
"""Groups until it is known how many write: the first one's, all others', and the one behind."""


@pytest.fixture(params=["sqlite", "postgres"])
def unhurried(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store that waits long for further writers, so that a slow machine's come in time, too."""
    if request.param == "sqlite":
        store = open_store(Settings(data_dir=tmp_path))
    else:
        server = request.getfixturevalue("postgres_server")
        url = server.make_database()
        store = open_store(Settings(data_dir=tmp_path, database_url=url))
    store.points.gather_seconds = 0.1
    yield store
    store.close()


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[Any]:
    with open_postgres() as server:
        yield server


def test_those_who_write_in_turns_are_committed_together(unhurried: Store) -> None:
    api = make_api(unhurried, "projects/p/locations/us-central1")
    experiment = api.experiment()
    series = [api.series(api.run(experiment, f"r{number}")) for number in range(WRITERS)]

    def write(name: str) -> None:
        for step in range(TURNS):
            api.write_scalars(name, {step: step / 2})

    groups = unhurried.measures.points.group_calls
    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(write, series))

    assert groups.total == WRITERS * TURNS
    assert TURNS <= groups.count <= TURNS + BEGINNING
    for name in series:
        assert api.scalars(name) == {step: step / 2 for step in range(TURNS)}
