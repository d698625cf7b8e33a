"""The runs that a write transaction of PostgreSQL found and locked as it began.

Whoever writes points asks which of their runs exist, and the answer must hold until the commit. In
SQLite one writer sees to that; in PostgreSQL the rows are locked together with all else, in the
transaction's first message, and the answer is kept beside the connection.
"""

from typing import Final

from sqlalchemy import Connection

__all__ = ["forget_locked_runs", "locked_runs", "remember_locked_runs"]

_NAME: Final = "locked_runs"


def remember_locked_runs(connection: Connection, revisions: dict[int, int]) -> None:
    """Notes the revisions of the runs that the connection's present transaction has locked."""
    connection.info[_NAME] = revisions


def forget_locked_runs(connection: Connection) -> None:
    """Notes that the connection's present transaction has locked none."""
    connection.info.pop(_NAME, None)


def locked_runs(connection: Connection) -> dict[int, int] | None:
    """Revisions by run; None if the transaction locks no runs of its own accord."""
    found: dict[int, int] | None = connection.info.get(_NAME)
    return found
