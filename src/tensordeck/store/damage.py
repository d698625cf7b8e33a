"""Says whose points are damaged: `store.checksum` finds that bytes are, and this what they were."""

import contextlib
from collections.abc import Iterator

from sqlalchemy import Connection, text

from tensordeck import errors
from tensordeck.store.checksum import Damaged
from tensordeck.store.database import Database

__all__ = ["damage_named", "of_series"]


@contextlib.contextmanager
def of_series(series_pk: int) -> Iterator[None]:
    """Notes on whatever damage the block finds that it is in a series."""
    try:
        yield
    except Damaged as error:
        error.series_pk = series_pk
        raise


@contextlib.contextmanager
def damage_named(database: Database) -> Iterator[None]:
    """Turns damage into the error that callers see.

    Raises:
        errors.DataLoss: It names the series, or the run where it is in the journal, and what to do.
    """
    try:
        yield
    except Damaged as error:
        with database.read() as connection:
            owner = _owner(connection, error)
        raise errors.DataLoss(
            f"Points of {owner} are damaged in the store and were not read: {error}. Other runs "
            "are not affected. `tensordeck verify` lists all damage; restore a backup to get these "
            "points back, or delete the run."
        ) from error


def _owner(connection: Connection, error: Damaged) -> str:
    if error.seq is not None:
        name = connection.execute(
            text("SELECT r.name FROM journal j JOIN runs r ON r.pk = j.run_pk WHERE j.seq = :seq"),
            {"seq": error.seq},
        ).scalar()
    else:
        name = connection.execute(
            text("SELECT name FROM time_series WHERE pk = :pk"), {"pk": error.series_pk}
        ).scalar()
    return str(name) if name else "a run that was deleted meanwhile"
