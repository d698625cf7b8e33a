from collections.abc import Iterator
from pathlib import Path

import pytest

from tensordeck.access import LocalAccess
from tests.access.installation import Clock, Installation, new_installation


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def installation(tmp_path: Path, clock: Clock) -> Iterator[Installation]:
    with new_installation(tmp_path / "data", clock) as opened:
        yield opened


@pytest.fixture
def access(installation: Installation) -> LocalAccess:
    return installation.open()
