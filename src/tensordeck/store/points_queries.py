"""The SQL of segments and summaries, as functions over a connection.

The hot statements go to the driver as text (`store.keyed_queries`); the rest is SQLAlchemy.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import Final

from msgspec import Struct
from msgspec.structs import fields
from sqlalchemy import Connection, text

from tensordeck.store import postgres_rows
from tensordeck.store.batches import batches
from tensordeck.store.contract import NO_WALL_TIME, SeriesSummary
from tensordeck.store.keyed_queries import literal, only_of, select, select_bytes
from tensordeck.store.merging import Segment
from tensordeck.store.postgres_rows import is_postgresql, rows_as_they_are


class SummaryRow(Struct, frozen=True):
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


_DELETE_SEGMENT: Final = text(
    "DELETE FROM segments WHERE series_pk = :series_pk AND first_step = :first_step"
)
_INSERT_SEGMENT: Final = text(
    "INSERT INTO segments (series_pk, first_step, last_step, point_count, run_pk, data) "
    "VALUES (:series_pk, :first_step, :last_step, :point_count, :run_pk, :data)"
)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def null(value: float) -> float | None:
    """The column's value: null stands for NaN."""
    return None if math.isnan(value) else value


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
        f"AND first_step <= {literal(step)}"
    ).scalar()
    start = "" if owner is None else f"AND first_step >= {literal(min(owner, tail))} "
    rows = connection.exec_driver_sql(
        "SELECT first_step, last_step, point_count, length(data) FROM segments "  # noqa: S608
        f"WHERE series_pk = {series_pk:d} {start}ORDER BY first_step"
    ).fetchall()
    return [Segment(*row) for row in rows]


def segments_of(connection: Connection, series_pk: int, start: int | None) -> list[Segment]:
    """Returns a series' segments that begin at `start` or later; all if that is None."""
    condition = "" if start is None else f"AND first_step >= {literal(start)} "
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
        f"AND run_pk = {run_pk:d} AND first_step >= {literal(start)} ORDER BY first_step"
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
            f"AND first_step = {literal(first_step)}"
        ).scalar_one()
    )


def segments_data(
    connection: Connection, run_pk: int, keys: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """Returns the bytes of a run's segments by (series_pk, first_step)."""
    found: dict[tuple[int, int], bytes] = {}
    for some in batches(keys):
        wanted = ",".join(f"({pk:d},{literal(step)})" for pk, step in some)
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
