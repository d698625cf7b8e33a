"""Opens the store beside a running server, for commands that administer it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tensordeck.errors import FailedPrecondition
from tensordeck.settings import Settings

if TYPE_CHECKING:
    from tensordeck.access.local import LocalAccess

__all__ = ["opened_access"]


@contextlib.contextmanager
def opened_access(
    data_dir: Path | None, database_url: str | None
) -> "Iterator[tuple[LocalAccess, Settings]]":
    """Yields the credentials of a server's store, and the settings that led there.

    The server may run meanwhile: what is changed here counts there at once.

    Raises:
        FailedPrecondition: If there is no such store.
    """
    settings = Settings.load({"data_dir": data_dir, "database_url": database_url})
    if not settings.database_url and not (settings.data_dir / "tensordeck.db").is_file():
        raise FailedPrecondition(
            f"There is no server's data in {settings.data_dir.absolute()}. Start one there with "
            "`tensordeck serve`, or name the right directory with --data-dir."
        )
    from tensordeck.access import open_access
    from tensordeck.store import open_store

    store = open_store(settings)
    try:
        yield open_access(store.catalog, settings), settings
    finally:
        store.close()
