"""The stores that every test of the contract runs against."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tensordeck.settings import Settings
from tensordeck.store.catalog import SqlCatalog
from tensordeck.store.contract import Catalog
from tensordeck.store.database import Database, open_database
from tensordeck.store.resources import Experiment, MetadataStore, Run, Tensorboard
from tests.postgres_server import PostgresServer, open_postgres
from tests.store.samples import PLACE

BACKENDS = ["sqlite", "postgresql", "partitioned"]
"""What a store may rest in; the tests of the contract run against each."""

QUICK_ON_POSTGRESQL = {
    "test_blobs.py": "",
    "test_catalog.py": "",
    "test_catalog_links.py": "",
    "test_point_totals.py": "",
    "test_points.py": "folding all the time",
}
"""What `make test` runs on PostgreSQL too, and which of the variants; `make test-all` runs all."""


ABOUT_POINTS = ("test_point", "test_overviews", "test_damage", "test_catalog.py")
"""The tests that run on split tables too: the others touch none of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves most of the suite on PostgreSQL, where each test needs a database, to the long run."""
    kept = []
    for item in items:
        callspec = getattr(item, "callspec", None)
        backend = callspec.params.get("backend", "sqlite") if callspec else "sqlite"
        name = item.path.name
        if backend == "partitioned" and not name.startswith(ABOUT_POINTS):
            continue
        kept.append(item)
        if backend == "sqlite" or callspec is None:
            continue
        variant = QUICK_ON_POSTGRESQL.get(name)
        quick = variant is not None and (not variant or variant in callspec.params.values())
        if backend == "partitioned" or not quick:
            item.add_marker(pytest.mark.heavy)
    items[:] = kept


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server."""
    with open_postgres() as server:
        yield server


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """What the store rests in."""
    return str(request.param)


@pytest.fixture
def settings(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of an empty store."""
    if backend == "sqlite":
        return Settings(data_dir=tmp_path / "data")
    server: PostgresServer = request.getfixturevalue("postgres")
    return Settings(
        data_dir=tmp_path / "data",
        database_url=server.make_database(partitioned=backend == "partitioned"),
    )


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """An open, empty database."""
    database = open_database(settings)
    yield database
    database.close()


@pytest.fixture
def catalog(database: Database) -> Catalog:
    """An empty catalog."""
    return SqlCatalog(database)


@pytest.fixture
def tensorboard(catalog: Catalog) -> Tensorboard:
    """An instance."""
    return catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/1", display_name="first"))


@pytest.fixture
def experiment(catalog: Catalog, tensorboard: Tensorboard) -> Experiment:
    """An experiment of the instance."""
    return catalog.create(Experiment(name=f"{tensorboard.name}/experiments/e"))


@pytest.fixture
def run(catalog: Catalog, experiment: Experiment) -> Run:
    """A run of the experiment."""
    return catalog.create(Run(name=f"{experiment.name}/runs/r", display_name="r"))


@pytest.fixture
def metadata_store(catalog: Catalog) -> MetadataStore:
    """A metadata store."""
    return catalog.create(MetadataStore(name=f"{PLACE}/metadataStores/default"))
