"""Queries of the points' tables for lists of keys, as text to the driver.

Their only variable parts are 64-bit keys. In PostgreSQL these are written into the text. In SQLite
they are bound as one JSON text: Python keeps the statements that a connection has prepared, by
their text, and one with 5,000 keys in it is 700 KB that nobody asks for again.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from sqlalchemy import Connection

from tensordeck.store.contract import NO_WALL_TIME
from tensordeck.store.postgres_rows import is_postgresql, rows_as_they_are

__all__ = ["key_lists", "literal", "only_of", "select", "select_bytes", "with_keys"]

_KEYS: Final = 5_000
"""At most this many keys in one statement."""


def key_lists(keys: Iterable[int]) -> Iterator[str]:
    """Yields comma-separated keys, for `IN (...)`, a bounded number at a time."""
    texts = [str(int(key)) for key in keys]
    for at in range(0, len(texts), _KEYS):
        yield ",".join(texts[at : at + _KEYS])


def with_keys(
    connection: Connection, statement: str, keys: Iterable[int]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields a query's text and parameters for each list of keys, which stands for `%s` in it."""
    for keys_text in key_lists(keys):
        if is_postgresql(connection):
            yield statement.replace("%s", keys_text), ()
        else:
            yield statement.replace("%s", "SELECT value FROM json_each(?)"), (f"[{keys_text}]",)


def select(connection: Connection, statement: str, keys: Iterable[int]) -> list[Any]:
    """Runs a query once for each list of keys, which takes the place of `%s` in it."""
    rows: list[Any] = []
    for query, parameters in with_keys(connection, statement, keys):
        rows += connection.exec_driver_sql(query, parameters or None).fetchall()
    return rows


def select_bytes(connection: Connection, statement: str, keys: Iterable[int]) -> list[Any]:
    """As `select`, for queries of which bytes come."""
    if not is_postgresql(connection):
        return select(connection, statement, keys)
    rows: list[Any] = []
    for keys_text in key_lists(keys):
        rows += rows_as_they_are(connection, statement.replace("%s", keys_text))
    return rows


def only_of(connection: Connection, run_pks: Collection[int]) -> str:
    """A condition for PostgreSQL, whose tables may be split by run: where to look at all.

    It says nothing that the keys of the series do not.
    """
    if not is_postgresql(connection) or not 0 < len(run_pks) <= _KEYS:
        return ""
    return f"AND run_pk IN ({','.join(str(int(key)) for key in run_pks)}) "


def literal(number: int) -> str:
    """An integer in SQL text; the smallest int64 can't be written as the negative of another."""
    return f"({number + 1:d} - 1)" if number == NO_WALL_TIME else f"({number:d})"
