"""Fixtures of the board's tests."""

import pytest
from board_house import open_house


@pytest.fixture(scope="session")
def house(tmp_path_factory):
    """A store with boards over it; each test uses experiments of its own."""
    with open_house(tmp_path_factory.mktemp("board") / "data") as opened:
        yield opened
