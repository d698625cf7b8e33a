"""An instance on the shared server, and what it holds."""

from pathlib import Path

import pytest

from tensordeck.ingest.connection import Target
from tests.ingest.reading_back import Reader, create_instance, target_of


@pytest.fixture
def target(server) -> Target:
    """A new instance on the shared server."""
    return create_instance(target_of(server))


@pytest.fixture
def reader(target) -> Reader:
    """Reads the instance."""
    return Reader(target)


@pytest.fixture
def logdir(tmp_path) -> Path:
    """A log directory that does not exist yet."""
    return tmp_path / "logs"


@pytest.fixture
def positions(tmp_path) -> Path:
    """Where this test's uploads remember how far they went."""
    return tmp_path / "positions"
