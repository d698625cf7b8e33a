"""What differs between a table and its copy, found by walking both in the order of their keys."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, Connection, Row, Table

from tensordeck.moving.moment import key_columns, rows_in_order
from tensordeck.store import points_schema

__all__ = ["Pair", "differences", "paired", "stamp_columns"]

_REVISED: Final = ("revision", "update_time")


class Pair(NamedTuple):
    """A row of the source and the row of the target with the same key; None where there is none."""

    key: tuple[Any, ...]
    source: Row[Any] | None
    target: Row[Any] | None


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


def differences(
    source: Connection, target: Connection, table: Table, columns: Sequence[Column[Any]]
) -> Iterator[Pair]:
    """Yields the pairs of rows that are not alike; `columns` begin with the key."""
    for pair in paired(source, target, table, columns):
        if pair.source != pair.target:
            yield pair


def paired(
    source: Connection, target: Connection, table: Table, columns: Sequence[Column[Any]]
) -> Iterator[Pair]:
    """Yields all rows of both sides, paired by key; `columns` begin with the key."""
    width = len(key_columns(table))
    ours, theirs = (rows_in_order(side, table, columns) for side in (source, target))
    left, right = next(ours, None), next(theirs, None)
    while left is not None or right is not None:
        left_key = None if left is None else tuple(left[:width])
        right_key = None if right is None else tuple(right[:width])
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
