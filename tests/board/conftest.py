"""Fixtures of the board's tests."""

import sys
from types import ModuleType

import pytest

from tests.board.board_house import open_house

# TensorBoard's and PyTorch's writers would import TensorFlow here for a file name (see
# tensordeck.board.tensorboard_app): a minute that no test needs.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))


@pytest.fixture(scope="session")
def house(tmp_path_factory):
    """A store with boards over it; each test uses experiments of its own."""
    with open_house(tmp_path_factory.mktemp("board") / "data") as opened:
        yield opened
