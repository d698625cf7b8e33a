"""The stores that every test of the contract runs against."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tensordeck.settings import Settings
from tensordeck.store.catalog import SqlCatalog
from tensordeck.store.contract import Catalog
from tensordeck.store.database import Database, open_database
from tensordeck.store.resources import Experiment, MetadataStore, Run, Tensorboard
from tests.store.samples import PLACE

BACKENDS: dict[str, Callable[[Path], Settings]] = {
    "sqlite": lambda folder: Settings(data_dir=folder),
}
"""The settings of an empty store of each backend."""


@pytest.fixture(params=BACKENDS)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of an empty store."""
    return BACKENDS[request.param](tmp_path / "data")


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
