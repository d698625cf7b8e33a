"""What differs between a table and its copy, found by walking both in the order of their keys."""

from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Table, and_, true, tuple_

from tensordeck.moving.moment import key_columns, rows_in_order
from tensordeck.store import points_schema
from tensordeck.store.database import Database

__all__ = ["Pair", "Values", "paired", "stamp_columns", "windows"]

Values = tuple[Any, ...]
"""A row's columns. Plain tuples, which compare several times as fast as SQLAlchemy's rows."""

_REVISED: Final = ("revision", "update_time")


class Pair(NamedTuple):
    """A row of the source and the row of the target with the same key; None where there is none."""

    key: tuple[Any, ...]
    source: Values | None
    target: Values | None


def stamp_columns(table: Table) -> list[Column[Any]]:
    """The columns by which one tells whether a row is as its copy: the key first.

    A resource's row is known by its revision, a journal row by its number, for it never changes.
    Of any other table all columns are compared.
    """
    key = key_columns(table)
    if table is points_schema.journal:
        return key
    if all(name in table.c for name in _REVISED):
        return [*key, *(table.c[name] for name in _REVISED)]
    return [*key, *(column for column in table.c if not column.primary_key)]


def windows(
    source: Connection, target: Database, table: Table, columns: Sequence[Column[Any]], size: int
) -> Generator[list[Pair]]:
    """Yields all rows of both sides, paired by key, a stretch of keys at a time.

    The target may be written in between: no transaction on it is open then, so that SQLite's log
    does not grow with what is written.

    Args:
        source: At one moment.
        target: The other side.
        table: The table.
        columns: What to read of it; the key first.
        size: How many rows of the source make a stretch.
    """
    key = key_columns(table)
    width = len(key)
    after: tuple[Any, ...] | None = None
    with closing(rows_in_order(source, table, columns)) as rows:
        while True:
            ours = [tuple(row) for row in islice(rows, size)]
            last = ours[-1][:width] if len(ours) == size else None
            with target.read() as connection:
                found = rows_in_order(connection, table, columns, _between(key, after, last))
                theirs = {row[:width]: row for row in map(tuple, found)}
            pairs = [Pair(row[:width], row, theirs.pop(row[:width], None)) for row in ours]
            yield pairs + [Pair(found, None, row) for found, row in theirs.items()]
            if last is None:
                return
            after = last


def _between(
    key: Sequence[Column[Any]], after: tuple[Any, ...] | None, last: tuple[Any, ...] | None
) -> ColumnElement[bool]:
    """Keys beyond one and up to another."""
    place: Any = tuple_(*key) if len(key) > 1 else key[0]

    def value(bound: tuple[Any, ...]) -> Any:
        return tuple_(*bound) if len(key) > 1 else bound[0]

    conditions = [] if after is None else [place > value(after)]
    return and_(true(), *conditions, *([] if last is None else [place <= value(last)]))


def paired(
    source: Connection, target: Connection, table: Table, columns: Sequence[Column[Any]]
) -> Generator[Pair]:
    """Yields all rows of both sides, paired by key; `columns` begin with the key.

    Close it where it is not run to its end: the rows come from cursors of both connections.
    """
    width = len(key_columns(table))
    with (
        closing(rows_in_order(source, table, columns)) as our_rows,
        closing(rows_in_order(target, table, columns)) as their_rows,
    ):
        ours, theirs = map(tuple, our_rows), map(tuple, their_rows)
        left, right = next(ours, None), next(theirs, None)
        while left is not None or right is not None:
            left_key = None if left is None else left[:width]
            right_key = None if right is None else right[:width]
            if right_key is None or (left_key is not None and left_key < right_key):
                assert left_key is not None  # noqa: S101 -- one of the two is there, for mypy
                yield Pair(left_key, left, None)
                left = next(ours, None)
            elif left_key is None or right_key < left_key:
                yield Pair(right_key, None, right)
                right = next(theirs, None)
            else:
                yield Pair(left_key, left, right)
                left, right = next(ours, None), next(theirs, None)
