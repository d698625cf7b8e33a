"""The SQL of the points' tables, as functions over a connection.

The hot statements go to the driver as text: their only variable parts are 64-bit keys, which are
written into the text, or are bound by position where there are bytes. The rest is SQLAlchemy.

Lists of keys are bound as one JSON text where the database is SQLite: Python keeps the statements
that a connection has prepared, by their text, and one with 5,000 keys in it is 700 KB that nobody
asks for again.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, text

from tensordeck.store import postgres_rows
from tensordeck.store.batches import batches
from tensordeck.store.contract import NO_WALL_TIME, SeriesSummary
from tensordeck.store.locked_runs import locked_runs
from tensordeck.store.merging import Segment
from tensordeck.store.postgres_rows import is_postgresql, rows_as_they_are

T = TypeVar("T")

_KEYS: Final = 5_000
"""At most this many keys in one statement."""


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A row of `summaries`; the fields are the columns."""

    series_pk: int
    run_pk: int
    point_count: int = 0
    max_step: int = 0
    max_wall_ns: int = NO_WALL_TIME
    max_blob_length: int = 0
    last_value: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    version: int = 0
    tail_step: int = 0
    byte_count: int = 0

    def summary(self) -> SeriesSummary:
        """What callers see of it."""
        return SeriesSummary(
            count=self.point_count,
            max_step=self.max_step,
            max_wall_ns=self.max_wall_ns,
            max_blob_length=self.max_blob_length,
            last=_nan(self.last_value),
            minimum=_nan(self.minimum),
            maximum=_nan(self.maximum),
            version=self.version,
        )


_COLUMNS: Final = tuple(field.name for field in fields(SummaryRow))
_IN_ORDER: Final = attrgetter(*_COLUMNS)
_FLOATS: Final = ("last_value", "minimum", "maximum")
_TYPES: Final = {c: "float8" if c in _FLOATS else "bigint" for c in _COLUMNS}
_UPSERT_SUMMARY: Final = text(
    f"INSERT INTO summaries ({', '.join(_COLUMNS)}) "  # noqa: S608 -- names of our own columns
    f"VALUES ({', '.join(f':{c}' for c in _COLUMNS)}) ON CONFLICT (series_pk) DO UPDATE SET "
    + ", ".join(f"{c} = excluded.{c}" for c in _COLUMNS[2:])
)
_UPSERT_RUN: Final = text(
    "INSERT INTO run_points (run_pk, version) VALUES (:run_pk, :version) "
    "ON CONFLICT (run_pk) DO UPDATE SET version = excluded.version"
)


_DELETE_SEGMENT: Final = text(
    "DELETE FROM segments WHERE series_pk = :series_pk AND first_step = :first_step"
)
_INSERT_SEGMENT: Final = text(
    "INSERT INTO segments (series_pk, first_step, last_step, point_count, run_pk, data) "
    "VALUES (:series_pk, :first_step, :last_step, :point_count, :run_pk, :data)"
)
_INSERT_JOURNAL_ROW: Final = "INSERT INTO journal (run_pk, payload) VALUES (?, ?)"
_INSERT_JOURNAL: Final = text(
    "INSERT INTO journal (run_pk, payload) VALUES (:run_pk, :payload) RETURNING seq"
)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def null(value: float) -> float | None:
    """The column's value: null stands for NaN."""
    return None if math.isnan(value) else value


def _driver(connection: Connection) -> Any:
    """The driver's own connection, for the two statements of an append.

    SQLAlchemy's part of their cost is larger than the database's.
    """
    return connection.connection.driver_connection


def key_lists(keys: Iterable[int]) -> Iterator[str]:
    """Yields comma-separated keys, for `IN (...)`, a bounded number at a time."""
    texts = [str(int(key)) for key in keys]
    for at in range(0, len(texts), _KEYS):
        yield ",".join(texts[at : at + _KEYS])


def _with_keys(
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
    for query, parameters in _with_keys(connection, statement, keys):
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


def journal_rows(
    connection: Connection, run_pks: Iterable[int], through: int | None = None
) -> list[tuple[int, bytes]]:
    """Returns (seq, payload) of the runs' journal rows, in order."""
    limit = "" if through is None else f" AND seq <= {through:d}"
    statement = f"SELECT seq, payload FROM journal WHERE run_pk IN (%s){limit}"  # noqa: S608
    rows = select_bytes(connection, statement, run_pks)
    return sorted((seq, bytes(payload)) for seq, payload in rows)


def journal_sizes(connection: Connection, run_pk: int) -> list[tuple[int, int]]:
    """Returns (seq, bytes) of a run's journal rows, in order."""
    rows = connection.exec_driver_sql(
        f"SELECT seq, length(payload) FROM journal WHERE run_pk = {run_pk:d} ORDER BY seq"  # noqa: S608
    )
    return [(seq, size) for seq, size in rows]


@dataclass(frozen=True, slots=True)
class Pending:
    """What of a run is not folded yet.

    Attributes:
        run_pk: The run.
        oldest: The smallest `seq`.
        rows: The number of journal rows.
        size: Their bytes.
    """

    run_pk: int
    oldest: int
    rows: int
    size: int


def pending_runs(connection: Connection) -> list[Pending]:
    """Returns the runs that have journal rows."""
    rows = connection.exec_driver_sql(
        "SELECT run_pk, min(seq), count(*), sum(length(payload)) FROM journal GROUP BY run_pk"
    )
    return [Pending(run_pk, oldest, count, int(size)) for run_pk, oldest, count, size in rows]


def insert_journal(connection: Connection, run_pk: int, payload: bytes) -> int:
    """Appends a journal row; returns its `seq`."""
    values = {"run_pk": run_pk, "payload": payload}
    return int(connection.execute(_INSERT_JOURNAL, values).scalar_one())


def insert_journal_rows(connection: Connection, rows: Sequence[tuple[int, bytes]]) -> None:
    """Appends several journal rows: (run_pk, payload)."""
    if not is_postgresql(connection):
        _driver(connection).executemany(_INSERT_JOURNAL_ROW, rows)
    elif rows:
        postgres_rows.insert_journal(connection, rows)


def delete_journal(connection: Connection, run_pk: int, through: int) -> int:
    """Deletes a run's journal rows up to a `seq`; returns how many there were."""
    return connection.exec_driver_sql(
        f"DELETE FROM journal WHERE run_pk = {run_pk:d} AND seq <= {through:d}"  # noqa: S608
    ).rowcount


def existing_runs(connection: Connection, run_pks: Iterable[int]) -> dict[int, int]:
    """Returns the revisions of those runs that exist, and will until the transaction's end.

    In PostgreSQL the transaction must have been begun for these runs (`Database.write`).
    """
    if (locked := locked_runs(connection)) is not None:
        return {run_pk: locked[run_pk] for run_pk in run_pks if run_pk in locked}
    execute = _driver(connection).execute
    statement = "SELECT pk, revision FROM runs WHERE pk IN (%s)"
    if is_postgresql(connection):
        statement += " ORDER BY pk FOR KEY SHARE"
    found: dict[int, int] = {}
    for query, parameters in _with_keys(connection, statement, run_pks):
        found.update(execute(query, *([parameters] if parameters else [])).fetchall())
    return found


def existing_series(connection: Connection, run_pk: int) -> set[int]:
    """Returns the series of a run."""
    return {
        pk
        for (pk,) in select(
            connection, "SELECT pk FROM time_series WHERE parent_pk IN (%s)", [run_pk]
        )
    }


def summary_rows(connection: Connection, series_pks: Iterable[int]) -> dict[int, SummaryRow]:
    """Returns the summaries that exist, by series."""
    rows = select(
        connection,
        f"SELECT {', '.join(_COLUMNS)} FROM summaries WHERE series_pk IN (%s)",  # noqa: S608
        series_pks,
    )
    return {row[0]: SummaryRow(*row) for row in rows}


def summaries(
    connection: Connection, series_pks: Iterable[int], run_pks: Collection[int]
) -> dict[int, SeriesSummary]:
    """Returns what callers see of the summaries that exist, by series.

    A table of runs asks for tens of thousands: they are made without a row in between.
    """
    rows = select(
        connection,
        "SELECT series_pk, point_count, max_step, max_wall_ns, max_blob_length, last_value, "  # noqa: S608
        "minimum, maximum, version FROM summaries WHERE series_pk IN (%s) "
        + only_of(connection, run_pks),
        series_pks,
    )
    nan = math.nan
    return {
        pk: SeriesSummary(
            count,
            step,
            wall_ns,
            length,
            nan if last is None else last,
            nan if minimum is None else minimum,
            nan if maximum is None else maximum,
            version,
        )
        for pk, count, step, wall_ns, length, last, minimum, maximum, version in rows
    }


def put_summaries(connection: Connection, rows: Sequence[SummaryRow]) -> None:
    """Inserts or replaces summaries."""
    if is_postgresql(connection):
        if rows:
            postgres_rows.upsert_summaries(connection, _TYPES, [_IN_ORDER(row) for row in rows])
    elif rows:
        connection.execute(
            _UPSERT_SUMMARY, [dict(zip(_COLUMNS, _IN_ORDER(row), strict=True)) for row in rows]
        )


def put_run_version(connection: Connection, run_pk: int, version: int) -> None:
    """Records the last folded `seq` of a run."""
    connection.execute(_UPSERT_RUN, {"run_pk": run_pk, "version": version})


def tail_segments(connection: Connection, series_pks: Iterable[int]) -> dict[int, list[Segment]]:
    """Returns each series' segments from where appending goes on, in step order."""
    rows = select(
        connection,
        "SELECT s.series_pk, s.first_step, s.last_step, s.point_count, length(s.data) "
        "FROM summaries m JOIN segments s "
        "ON s.series_pk = m.series_pk AND s.first_step >= m.tail_step "
        "WHERE m.series_pk IN (%s) ORDER BY s.series_pk, s.first_step",
        series_pks,
    )
    result: dict[int, list[Segment]] = defaultdict(list)
    for series_pk, *segment in rows:
        result[series_pk].append(Segment(*segment))
    return result


def segments_from(connection: Connection, series_pk: int, step: int, tail: int) -> list[Segment]:
    """Returns a series' segments that a point at `step` or later may fall into, and the tail."""
    owner = connection.exec_driver_sql(
        f"SELECT max(first_step) FROM segments WHERE series_pk = {series_pk:d} "  # noqa: S608
        f"AND first_step <= {_literal(step)}"
    ).scalar()
    start = "" if owner is None else f"AND first_step >= {_literal(min(owner, tail))} "
    rows = connection.exec_driver_sql(
        "SELECT first_step, last_step, point_count, length(data) FROM segments "  # noqa: S608
        f"WHERE series_pk = {series_pk:d} {start}ORDER BY first_step"
    ).fetchall()
    return [Segment(*row) for row in rows]


def segments_of(connection: Connection, series_pk: int, start: int | None) -> list[Segment]:
    """Returns a series' segments that begin at `start` or later; all if that is None."""
    condition = "" if start is None else f"AND first_step >= {_literal(start)} "
    rows = connection.exec_driver_sql(
        "SELECT first_step, last_step, point_count, length(data) FROM segments "  # noqa: S608
        f"WHERE series_pk = {series_pk:d} {condition}ORDER BY first_step"
    )
    return [Segment(*row) for row in rows.fetchall()]


def read_segments_from(
    connection: Connection, series_pk: int, run_pk: int, start: int
) -> list[tuple[int, bytes]]:
    """Returns (number of points, data) of a series' segments from a step on, in step order."""
    rows = connection.exec_driver_sql(
        f"SELECT point_count, data FROM segments WHERE series_pk = {series_pk:d} "  # noqa: S608
        f"AND run_pk = {run_pk:d} AND first_step >= {_literal(start)} ORDER BY first_step"
    )
    return [(count, bytes(data)) for count, data in rows.fetchall()]


def delete_segments(connection: Connection, run_pk: int, keys: Sequence[tuple[int, int]]) -> None:
    """Deletes segments of a run by (series_pk, first_step)."""
    if keys and is_postgresql(connection):
        postgres_rows.delete_segments(connection, run_pk, keys)
    elif keys:
        connection.execute(
            _DELETE_SEGMENT, [{"series_pk": pk, "first_step": step} for pk, step in keys]
        )


def insert_segments(
    connection: Connection, rows: Sequence[tuple[int, int, int, int, int, bytes]]
) -> None:
    """Inserts segments: (series_pk, first_step, last_step, point_count, run_pk, data)."""
    names = ("series_pk", "first_step", "last_step", "point_count", "run_pk", "data")
    if rows and is_postgresql(connection):
        postgres_rows.insert_segments(connection, rows)
    elif rows:
        connection.execute(_INSERT_SEGMENT, [dict(zip(names, row, strict=True)) for row in rows])


def read_segments(
    connection: Connection, series_pks: Iterable[int], run_pks: Collection[int]
) -> dict[int, list[tuple[int, bytes]]]:
    """Returns (number of points, data) of each series' segments, in step order."""
    rows = select_bytes(
        connection,
        "SELECT series_pk, point_count, data FROM segments WHERE series_pk IN (%s) "  # noqa: S608
        + only_of(connection, run_pks)
        + "ORDER BY series_pk, first_step",
        series_pks,
    )
    result: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
    for series_pk, count, data in rows:
        result[series_pk].append((count, bytes(data)))
    return result


def folded_counts(connection: Connection, series_pks: Iterable[int]) -> dict[int, int]:
    """Returns how many points of each series are folded, where any are."""
    statement = "SELECT series_pk, point_count FROM summaries WHERE series_pk IN (%s)"
    return dict(select(connection, statement, series_pks))


def segment_data(connection: Connection, series_pk: int, first_step: int) -> bytes:
    """Returns one segment's bytes."""
    return bytes(
        connection.exec_driver_sql(
            f"SELECT data FROM segments WHERE series_pk = {series_pk:d} "  # noqa: S608
            f"AND first_step = {_literal(first_step)}"
        ).scalar_one()
    )


def segments_data(
    connection: Connection, run_pk: int, keys: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """Returns the bytes of a run's segments by (series_pk, first_step)."""
    found: dict[tuple[int, int], bytes] = {}
    for some in batches(keys):
        wanted = ",".join(f"({pk:d},{_literal(step)})" for pk, step in some)
        statement = (
            f"SELECT s.series_pk, s.first_step, s.data FROM (VALUES {wanted}) AS k "  # noqa: S608
            "JOIN segments s ON s.series_pk = k.column1 AND s.first_step = k.column2 "
            f"AND s.run_pk = {run_pk:d}"
        )
        rows = (
            rows_as_they_are(connection, statement)
            if is_postgresql(connection)
            else connection.exec_driver_sql(statement)
        )
        found.update(((pk, step), bytes(data)) for pk, step, data in rows)
    return found


def claim_run(connection: Connection, run_pk: int) -> bool:
    """Keeps other servers from preparing a run's folding until the transaction's end.

    Returns:
        False if another one is at it. In SQLite there are no others worth the asking.
    """
    if not is_postgresql(connection):
        return True
    return bool(
        connection.exec_driver_sql(
            # "TDFO": ours alone. Two runs with one number only wait for each other's next turn.
            f"SELECT pg_try_advisory_xact_lock(1413760591, {run_pk % 2**31:d})"
        ).scalar_one()
    )


def run_versions(connection: Connection, run_pks: Sequence[int]) -> dict[int, int]:
    """Returns the last `seq` that wrote each run."""
    result = dict.fromkeys(run_pks, 0)
    for statement in (
        "SELECT run_pk, version FROM run_points WHERE run_pk IN (%s)",
        "SELECT run_pk, max(seq) FROM journal WHERE run_pk IN (%s) GROUP BY run_pk",
    ):
        for run_pk, version in select(connection, statement, result):
            result[run_pk] = max(result[run_pk], version)
    return result


def _literal(number: int) -> str:
    """An integer in SQL text; the smallest int64 can't be written as the negative of another."""
    return f"({number + 1:d} - 1)" if number == NO_WALL_TIME else f"({number:d})"
