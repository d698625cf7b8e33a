"""Rows of the points' tables into and out of PostgreSQL, many in one statement and as they are.

A statement a row costs more than the row, and text costs the bytes twice: `bytea` as text is hex,
which both sides turn around. So rows go in as one array a column, and everything is binary.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

__all__ = [
    "delete_segments",
    "insert_journal",
    "insert_segments",
    "is_postgresql",
    "rows_as_they_are",
    "upsert_summaries",
]

_INSERT_JOURNAL: Final = (
    "INSERT INTO journal (run_pk, payload) SELECT run_pk, payload "
    "FROM unnest(%b::bigint[], %b::bytea[]) WITH ORDINALITY AS r (run_pk, payload, n) ORDER BY n"
)
_INSERT_SEGMENTS: Final = (
    "INSERT INTO segments (series_pk, first_step, last_step, point_count, run_pk, data) "
    "SELECT * FROM unnest("
    "%b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bytea[])"
)
_DELETE_SEGMENTS: Final = (
    "DELETE FROM segments s USING unnest(%b::bigint[], %b::bigint[]) AS d (series_pk, first_step) "
    "WHERE s.run_pk = %b AND s.series_pk = d.series_pk AND s.first_step = d.first_step"
)


def is_postgresql(connection: Connection) -> bool:
    """Whether the statements of this module are understood."""
    return connection.dialect.name == "postgresql"


def rows_as_they_are(connection: Connection, statement: str) -> list[Any]:
    """Runs a query without parameters; its bytes come as bytes."""
    rows: list[Any] = _driver(connection).execute(statement, binary=True).fetchall()
    return rows


def insert_journal(connection: Connection, rows: Sequence[tuple[int, bytes]]) -> None:
    """Appends journal rows, numbered in this order: (run_pk, payload)."""
    _execute(connection, _INSERT_JOURNAL, _columns(rows))


def insert_segments(
    connection: Connection, rows: Sequence[tuple[int, int, int, int, int, bytes]]
) -> None:
    """Inserts segments: (series_pk, first_step, last_step, point_count, run_pk, data)."""
    _execute(connection, _INSERT_SEGMENTS, _columns(rows))


def delete_segments(connection: Connection, run_pk: int, keys: Sequence[tuple[int, int]]) -> None:
    """Deletes segments of a run by (series_pk, first_step)."""
    _execute(connection, _DELETE_SEGMENTS, [*_columns(keys), run_pk])


def upsert_summaries(
    connection: Connection, types: dict[str, str], rows: Sequence[Sequence[Any]]
) -> None:
    """Inserts or replaces summaries.

    Args:
        connection: In a write transaction.
        types: The columns of the rows, and PostgreSQL's types of them.
        rows: Each of another series.
    """
    names = ", ".join(types)
    changed = ", ".join(f"{c} = excluded.{c}" for c in types if c not in ("series_pk", "run_pk"))
    arrays = ", ".join(f"%b::{kind}[]" for kind in types.values())
    statement = (
        f"INSERT INTO summaries ({names}) SELECT * FROM unnest({arrays}) "  # noqa: S608 -- our own names
        f"ON CONFLICT (series_pk, run_pk) DO UPDATE SET {changed}"
    )
    _execute(connection, statement, _columns(rows))


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _execute(connection: Connection, statement: str, parameters: list[Any]) -> None:
    _driver(connection).execute(statement, parameters)


def _driver(connection: Connection) -> Any:
    """The driver's own connection: SQLAlchemy's part of such a statement is larger than its own."""
    return connection.connection.driver_connection
