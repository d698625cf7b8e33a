"""A target database is made equal to a moment of a source: what differs is written, nothing else.

Whatever the target holds is a starting point: nothing yet, an older moment, or a part of it that
an interrupted copy left. Tables go in the order of their foreign keys; rows that the source no
longer has go first, so that names are free again. A row that refers to blobs is written after its
blobs are safe, a series' summary after its points: what the target holds is whole, and is not
copied again.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, func, select, tuple_

from tensordeck.moving.blob_copies import BlobCopies, CopiedBlob, WantedBlob
from tensordeck.moving.differences import Pair, stamp_columns, windows
from tensordeck.moving.moment import held_moment, key_columns, rows_in_order
from tensordeck.moving.numbering import last_numbers, raise_numbers
from tensordeck.moving.progress import Progress, Step, silent
from tensordeck.moving.tables import POINTS, TABLES
from tensordeck.store import points_schema, schema
from tensordeck.store.database import Database

__all__ = ["BLOB_COLUMNS", "DatabaseCopy", "row_counts", "wanted_blobs"]

_BATCH_BYTES: Final = 8 * 2**20
"""About what one transaction of the target writes."""
_BATCH_ROWS: Final = 500
_FLAT_SIZE: Final = 512
"""What a value without a length is taken to need, and what a row needs besides its values."""

Columns = dict[str, Any]
"""A row by the names of its columns."""


def row_counts(connection: Connection) -> dict[str, int]:
    """Counts the rows of every table."""
    counts = [select(func.count()).select_from(table).scalar_subquery() for table in TABLES]
    found = connection.execute(select(*counts)).one()
    return {table.name: count for table, count in zip(TABLES, found, strict=True)}


class DatabaseCopy:
    """Copies from one moment of a source.

    Args:
        source: A connection at that moment.
        target: Where to.
        blobs: Copies the blobs that rows refer to; None where both sides share one object store.
        leave_out: Names of tables that are not copied.
        progress: Told how far it is.
        copied: Told what blobs were copied, before the rows that refer to them are written.
    """

    def __init__(
        self,
        source: Connection,
        target: Database,
        blobs: BlobCopies | None,
        *,
        leave_out: frozenset[str] = frozenset(),
        progress: Progress = silent,
        copied: Callable[[Sequence[CopiedBlob]], None] | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._blobs = blobs
        self._tables = [
            table for table in TABLES if table not in POINTS and table.name not in leave_out
        ]
        self._progress = progress
        self._copied = copied
        self._done = 0
        self._total = 0

    def run(self, doing: str = "Copying") -> int:
        """Makes the target equal to the moment.

        Returns:
            How many rows differed.

        Raises:
            errors.TensordeckError: As either side does; run it again to go on.
        """
        with held_moment(self._target) as connection:
            there = row_counts(connection)
        wanted = row_counts(self._source)
        self._total = sum(wanted[table.name] for table in self._tables)
        differed = 0
        for table in reversed(self._tables):
            if there[table.name]:
                differed += self._make_room(table, doing)
        self._done = 0
        for table in self._tables:
            if not wanted[table.name]:
                continue
            if table is points_schema.summaries:
                differed += self._fill_series(doing)
            else:
                differed += self._fill(table, doing)
        numbers = last_numbers(self._source)
        self._target.write(lambda connection: raise_numbers(connection, numbers))
        return differed

    def _make_room(self, table: Table, doing: str) -> int:
        """Removes rows that the source has no more; frees names that its rows have changed."""
        removed = 0
        for pairs in self._windows(table, doing):
            gone = [pair.key for pair in pairs if pair.source is None]
            changed = [pair.key for pair in pairs if pair.source is not None and pair.target]
            removed += len(gone)
            if gone or changed:
                self._target.write(partial(_make_room, table, gone, changed))
        return removed

    def _fill(self, table: Table, doing: str) -> int:
        """Writes the rows that are new or changed."""
        stamps = stamp_columns(table)
        differed = 0
        for pairs in self._windows(table, doing):
            new = [pair.source for pair in pairs if pair.source and not pair.target]
            changed = [pair.source for pair in pairs if pair.source and pair.target]
            differed += len(new) + len(changed)
            if len(stamps) == len(table.c):  # the stamp is the whole row
                names = [column.name for column in stamps]
                self._put(
                    table,
                    *(
                        [dict(zip(names, row, strict=True)) for row in rows]
                        for rows in (new, changed)
                    ),
                )
            else:
                self._put(table, self._fetched(table, new), self._fetched(table, changed))
        return differed

    def _windows(self, table: Table, doing: str) -> Generator[list[Pair]]:
        """The pairs of a table that are not alike, some at a time; all rows are counted."""
        self._tell(doing)
        with closing(
            windows(self._source, self._target, table, stamp_columns(table), _BATCH_ROWS)
        ) as stretches:
            for pairs in stretches:
                yield [pair for pair in pairs if pair.source != pair.target]
                self._done += len(pairs)
                self._tell(doing)

    def _fetched(self, table: Table, stamps: Sequence[tuple[Any, ...]]) -> Iterator[Columns]:
        """The whole rows of the source that some stamps are of."""
        if not stamps:
            return
        columns = key_columns(table)
        keys = [row[: len(columns)] for row in stamps]
        condition = (
            columns[0].in_([key[0] for key in keys])
            if len(columns) == 1
            else tuple_(*columns).in_(keys)
        )
        ordered = [*columns, *(column for column in table.c if not column.primary_key)]
        for row in rows_in_order(self._source, table, ordered, condition):
            yield row._asdict()

    def _put(self, table: Table, new: Iterable[Columns], changed: Iterable[Columns]) -> None:
        for rows in _sized(new):
            self._copy_blobs(table, rows, {})
            self._target.write(partial(_insert, table, rows))
        for rows in _sized(changed):
            self._copy_blobs(table, rows, self._present(table, rows))
            self._target.write(partial(_update, table, rows))

    def _present(self, table: Table, rows: Sequence[Columns]) -> dict[int, set[str]]:
        """The blobs that rows of the target refer to already, by the rows' keys."""
        column = BLOB_COLUMNS.get(table.name)
        if column is None:
            return {}
        statement = select(table.c.pk, table.c[column]).where(
            table.c.pk.in_([row["pk"] for row in rows])
        )
        with self._target.read() as connection:
            return {pk: _keys_in(found) for pk, found in connection.execute(statement)}

    def _copy_blobs(
        self, table: Table, rows: Sequence[Columns], present: dict[int, set[str]]
    ) -> None:
        if self._blobs is None or table.name not in BLOB_COLUMNS:
            return
        wanted = [
            blob
            for row in rows
            for blob in wanted_blobs(table, row)
            if blob.key not in present.get(row["pk"], ())
        ]
        copied = self._blobs.copy(wanted)
        if self._copied is not None:
            self._copied(copied)

    def _fill_series(self, doing: str) -> int:
        """Writes the points of each series whose summary differs, and then the summary."""
        differed = 0
        names = [column.name for column in stamp_columns(points_schema.summaries)]
        for pairs in self._windows(points_schema.summaries, doing):
            summaries = [
                dict(zip(names, pair.source, strict=True)) for pair in pairs if pair.source
            ]
            differed += len(summaries)
            if summaries:
                self._replace_series(summaries, doing)
        return differed

    def _replace_series(self, summaries: Sequence[Columns], doing: str) -> None:
        series = [row["series_pk"] for row in summaries]

        def clear(connection: Connection) -> None:
            for table in POINTS:
                connection.execute(table.delete().where(table.c.series_pk.in_(series)))

        # Of a copy that was cut off points may be there, and no summary yet.
        with self._target.read() as connection:
            begun = any(
                connection.execute(
                    select(table.c.series_pk).where(table.c.series_pk.in_(series)).limit(1)
                ).first()
                for table in POINTS
            )
        if begun:
            self._target.write(clear)
        for table in POINTS:
            columns = stamp_columns(table)
            rows = rows_in_order(self._source, table, columns, table.c.series_pk.in_(series))
            for group in _sized(row._asdict() for row in rows):
                self._target.write(partial(_insert, table, group))
                self._tell(doing)
        table = points_schema.summaries

        def work(connection: Connection) -> None:
            connection.execute(table.delete().where(table.c.series_pk.in_(series)))
            _insert(table, summaries, connection)

        self._target.write(work)

    def _tell(self, doing: str) -> None:
        size = self._blobs.size if self._blobs is not None else 0
        self._progress(Step(doing, self._done, self._total, size))


BLOB_COLUMNS: Final = {"objects": "blob_key", "uploads": "parts"}
"""The columns that hold keys of blobs."""


def wanted_blobs(table: Table, row: Columns) -> list[WantedBlob]:
    """The blobs that a row refers to."""
    if table.name == "objects":
        if not row["blob_key"]:
            return []
        owner = f"gs://{row['name']}"
        return [WantedBlob(row["blob_key"], owner, row["size"], row["crc32c"])]
    if table.name == "uploads":
        owner = f"an upload of gs://{row['object_name']}"
        return [WantedBlob(key, owner, None, None) for key in row["parts"]]
    return []


def _keys_in(found: Any) -> set[str]:
    return {found} if isinstance(found, str) else set(found)


def _sized(rows: Iterable[Columns]) -> Iterator[list[Columns]]:
    """Cuts rows into groups that fit into memory."""
    group: list[Columns] = []
    size = 0
    for row in rows:
        group.append(row)
        size += _FLAT_SIZE + sum(
            len(value) if isinstance(value, bytes | str) else _FLAT_SIZE * bool(value)
            for value in row.values()
            if isinstance(value, bytes | str | dict | list)
        )
        if size >= _BATCH_BYTES or len(group) == _BATCH_ROWS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _insert(table: Table, rows: Sequence[Columns], connection: Connection) -> None:
    if rows:
        connection.execute(table.insert(), list(rows))


def _update(table: Table, rows: Sequence[Columns], connection: Connection) -> None:
    keys = key_columns(table)
    others = [column for column in table.c if not column.primary_key]
    statement = (
        table.update()
        .where(*(column == bindparam(f"key_{column.name}") for column in keys))
        .values({column.name: bindparam(f"new_{column.name}") for column in others})
    )
    connection.execute(
        statement,
        [
            {f"key_{column.name}": row[column.name] for column in keys}
            | {f"new_{column.name}": row[column.name] for column in others}
            for row in rows
        ],
    )


def _make_room(
    table: Table,
    gone: Sequence[tuple[Any, ...]],
    changed: Sequence[tuple[Any, ...]],
    connection: Connection,
) -> None:
    _delete(connection, table, gone)
    _free_titles(connection, table, changed)


def _delete(connection: Connection, table: Table, keys: Sequence[tuple[Any, ...]]) -> None:
    if not keys:
        return
    columns = key_columns(table)
    connection.execute(
        table.delete().where(*(column == bindparam(f"key_{column.name}") for column in columns)),
        [
            {f"key_{column.name}": part for column, part in zip(columns, key, strict=True)}
            for key in keys
        ],
    )


def _free_titles(connection: Connection, table: Table, keys: Sequence[tuple[Any, ...]]) -> None:
    """Gives rows that will be written anew titles that nobody else has.

    Two runs may have swapped their names, which must be unique at any moment.
    """
    if table not in (schema.runs, schema.time_series) or not keys:
        return
    connection.execute(
        table.update()
        .where(table.c.pk == bindparam("key_pk"))
        .values(display_name=bindparam("title"), revision=0),
        [{"key_pk": key[0], "title": f"\x7fbeing copied: {key[0]}"} for key in keys],
    )
