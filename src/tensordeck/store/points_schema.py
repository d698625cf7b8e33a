"""The tables of the time series' points.

A write lands in `journal`; folding moves scalars from there to `segments` and brings `summaries`
and `run_points` up to date. Tensors and blob sequences go to `payloads` at once.

Every table carries `run_pk`, and every key of it in PostgreSQL, so that the tables can be split by
run: in partitions, or over servers. Rows die with their run or series.
"""

from typing import Any, Final

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    event,
)

from tensordeck.store.schema import PrimaryKey, metadata, runs, time_series


def _number(name: str, **options: Any) -> Column[Any]:
    return Column(name, BigInteger, nullable=False, **options)


def _run() -> Column[Any]:
    """For tables whose rows die with their series, which dies with the run."""
    return _number("run_pk")


def _series(*, primary_key: bool = True) -> Column[Any]:
    # Never numbered by the database: the key is the series' own.
    return Column(
        "series_pk",
        PrimaryKey,
        ForeignKey(time_series.c.pk, ondelete="CASCADE"),
        primary_key=primary_key,
        autoincrement=False,
    )


journal: Final = Table(
    "journal",
    metadata,
    Column("seq", PrimaryKey, primary_key=True, autoincrement=True),
    Column("run_pk", PrimaryKey, ForeignKey(runs.c.pk, ondelete="CASCADE"), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Index(None, "run_pk"),
    sqlite_autoincrement=True,  # `seq` is also the version of what was written
)
"""Acknowledged writes, one row a request and run, in order: `store.journal` has the format."""

segments: Final = Table(
    "segments",
    metadata,
    _series(),
    _number("first_step", primary_key=True),
    _number("last_step"),
    _number("point_count"),
    _run(),
    Column("data", LargeBinary, nullable=False),
)
"""Folded scalars: `store.segments` has the format. A series' segments do not overlap in steps."""

overviews: Final = Table(
    "overviews",
    metadata,
    _series(),
    _number("run_pk", primary_key=True),
    _number("covered"),
    _number("next_step"),
    _number("stride"),
    _number("point_count"),
    Column("data", LargeBinary, nullable=False),
)
"""Every so-manieth point of long series: derived, see `store.overviews`."""

summaries: Final = Table(
    "summaries",
    metadata,
    _series(),
    _run(),
    _number("point_count"),
    _number("max_step"),
    _number("max_wall_ns"),
    _number("max_blob_length"),
    # NaN can't be a key or a default everywhere: null stands for it.
    Column("last_value", Double),
    Column("minimum", Double),
    Column("maximum", Double),
    _number("version"),
    _number("tail_step"),
    _number("byte_count"),
    Index(None, "run_pk"),
)
"""What lists and tables show of a series, as far as it is folded.

`version` is the last `journal.seq` that wrote the series; `tail_step` the first step of the first
segment that is not full, where appending goes on.
"""

run_points: Final = Table(
    "run_points",
    metadata,
    Column(
        "run_pk",
        PrimaryKey,
        ForeignKey(runs.c.pk, ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    _number("version"),
)
"""The last `journal.seq` of a run that is folded already."""

payloads: Final = Table(
    "payloads",
    metadata,
    _series(),
    _number("step", primary_key=True),
    _number("wall_ns"),
    Column("version", Integer, nullable=False),
    _number("blob_count"),
    _run(),
    Column("data", LargeBinary, nullable=False),
)
"""Tensor and blob-sequence points: `store.payload_rows` has the format of `data`."""


for _table, _columns in (
    (journal, "run_pk, seq"),
    (segments, "series_pk, first_step, run_pk"),
    (summaries, "series_pk, run_pk"),
    (payloads, "series_pk, step, run_pk"),
):
    # What a table is split by must be a part of every key of it; the shorter keys are quicker in
    # SQLite, where nothing is split.
    event.listen(
        _table,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]  # SQLAlchemy left its constructor's types out
            f"ALTER TABLE {_table.name} DROP CONSTRAINT pk_{_table.name}, "
            f"ADD CONSTRAINT pk_{_table.name} PRIMARY KEY ({_columns})"
        ).execute_if(dialect="postgresql"),
    )

for _table, _column in (
    (journal, "payload"),
    (segments, "data"),
    (overviews, "data"),
    (payloads, "data"),
):
    # What is packed already, or read and deleted within seconds, is not worth PostgreSQL's packing.
    event.listen(
        _table,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]  # as above
            f"ALTER TABLE {_table.name} ALTER COLUMN {_column} SET STORAGE EXTERNAL"
        ).execute_if(dialect="postgresql"),
    )
