"""One moment of a database, held for as long as it takes to read it whole."""

import contextlib
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Column, Connection, LargeBinary, Row, Table, select, text

from tensordeck.store.database import Database

__all__ = ["held_moment", "key_columns", "rows_in_order"]

_WIDE_ROWS: Final = 16
"""Rows fetched at a time where each may hold megabytes."""
_NARROW_ROWS: Final = 500


@contextlib.contextmanager
def held_moment(database: Database) -> Iterator[Connection]:
    """A connection that sees the database as it is now, however long the block takes.

    Writers go on meanwhile. What they write lets SQLite's log grow until the block ends; in
    PostgreSQL it keeps vacuum from removing what was deleted.
    """
    with database.read() as connection:
        if connection.dialect.name == "postgresql":
            # The server's own limits are for requests, which take seconds.
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        # In both databases a transaction's moment is that of its first query.
        connection.execute(text("SELECT version_num FROM alembic_version")).all()
        yield connection


def key_columns(table: Table) -> list[Column[Any]]:
    """A table's primary key."""
    return list(table.primary_key.columns)


def rows_in_order(
    connection: Connection, table: Table, columns: Sequence[Column[Any]], where: Any = None
) -> Generator[Row[Any]]:
    """Streams rows in the order of their primary key, in bounded memory.

    Both databases sort texts by code point, as Python does.

    Args:
        connection: In a transaction.
        table: The table.
        columns: What to select.
        where: A condition; all rows when None.
    """
    wide = any(isinstance(column.type, LargeBinary) for column in columns)
    statement = select(*columns).order_by(*key_columns(table))
    if where is not None:
        statement = statement.where(where)
    with connection.execute(
        statement, execution_options={"yield_per": _WIDE_ROWS if wide else _NARROW_ROWS}
    ) as rows:
        for part in rows.partitions():
            yield from part
