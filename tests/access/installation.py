"""An installation whose clock a test moves: what the tests of access use."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tensordeck.access import LocalAccess, open_access
from tensordeck.settings import Settings
from tensordeck.store import Store, open_store

START = 1_800_000_000.0


@dataclass
class Clock:
    """Time that a test moves on."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Installation:
    """A store, and access on it as often as a test opens it."""

    store: Store
    settings: Settings
    clock: Clock

    def open(self) -> LocalAccess:
        return open_access(self.store.catalog, self.settings, self.clock)

    @property
    def owner_file(self) -> Path:
        return self.settings.data_dir / "credentials" / "owner.json"


@contextlib.contextmanager
def new_installation(data_dir: Path, clock: Clock) -> Iterator[Installation]:
    """An installation that is closed afterwards."""
    settings = Settings(data_dir=data_dir)
    data_dir.mkdir()
    store = open_store(settings)
    try:
        yield Installation(store, settings, clock)
    finally:
        store.close()
