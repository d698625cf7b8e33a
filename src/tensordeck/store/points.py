"""Time series' points in the relational database.

An append is one journal row a run, in one transaction that other appends share. A background
thread folds rows into packed segments (`store.folder`, `store.folding`). Readers, in any process,
lay what is not folded yet over the segments, in one read snapshot.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection

from tensordeck import errors
from tensordeck.store import journal_queries, payload_rows
from tensordeck.store import points_queries as queries
from tensordeck.store.checksum import Damaged
from tensordeck.store.contract import (
    Join,
    PayloadColumns,
    Points,
    PointTotals,
    RunScalars,
    ScalarColumns,
    SeriesPoints,
    SeriesSummary,
)
from tensordeck.store.damage import damage_named, of_series
from tensordeck.store.database import Database
from tensordeck.store.folder import Folder, Schedule
from tensordeck.store.folding import Folding, fold_summary
from tensordeck.store.journal import Batch, decode_rows, encode_columns, encode_row, in_step_order
from tensordeck.store.merging import join_points
from tensordeck.store.overviews import Overview, overviews, thinned
from tensordeck.store.payload_rows import PackedPayloads
from tensordeck.store.point_totals import totals
from tensordeck.store.points_queries import SummaryRow
from tensordeck.store.resources import Experiment, Run, Tensorboard
from tensordeck.store.segments import SEGMENT_POINTS, check_segments, decode_segment

__all__ = ["Schedule", "SqlPoints"]

log: Final = logging.getLogger(__name__)

_Seen = tuple[int, int]
"""A run's key, and its revision when its series were looked up; 0 where that does not matter."""
_NO_POINTS: Final = ScalarColumns(
    np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)
)


class SqlPoints(Points):
    """The points' tables.

    Args:
        database: Brought up to date; stays the caller's to close, after `close`.
        schedule: When the journal is folded.
        segment_points: The most points that a segment may hold.
    """

    def __init__(
        self,
        database: Database,
        *,
        schedule: Schedule | None = None,
        segment_points: int = SEGMENT_POINTS,
    ) -> None:
        self._database = database
        self.gather_seconds = database.gather_seconds
        self._measures = database.measures.points
        self._folder = Folder(
            database,
            Folding(database, segment_points=segment_points),
            schedule or Schedule(),
        )

    def append(self, batch: Sequence[SeriesPoints], join: Join | None = None) -> None:
        """See `Points.append`."""
        scalars: dict[int, list[tuple[int, ScalarColumns]]] = defaultdict(list)
        payloads: dict[int, list[PackedPayloads]] = defaultdict(list)
        joining: dict[int, list[tuple[int, PayloadColumns]]] = defaultdict(list)
        for series in batch:
            columns = series.columns
            if not len(columns.steps):
                continue
            if isinstance(columns, ScalarColumns):
                scalars[series.run_pk].append((series.series_pk, columns))
            elif join:
                joining[series.run_pk].append((series.series_pk, columns))
            else:
                payloads[series.run_pk].append(
                    payload_rows.pack(series.run_pk, series.series_pk, columns)
                )
        runs = {**scalars, **payloads, **joining}
        if not runs:
            return
        rows = [(run_pk, encode_row(scalars.get(run_pk, []))) for run_pk in runs]
        self._folder.wait_for_room()
        seen = {(series.run_pk, series.run_revision) for series in batch if series.run_pk in runs}

        def write(connection: Connection) -> None:
            joined = _joined(connection, joining, join) if join else payloads
            _append(connection, rows, joined, seen)

        with damage_named(self._database):
            self._database.write(write, runs.keys())
        size = sum(len(payload) for _, payload in rows)
        self._folder.written(size)
        self._measures.acknowledged(1, sum(len(series.columns.steps) for series in batch), size)

    def submit_scalars(
        self, requests: Sequence[Sequence[RunScalars]]
    ) -> "Future[list[errors.TensordeckError | None]]":
        """See `Points.submit_scalars`."""
        rows = [
            [(run.run_pk, encode_columns(run.series_pks, run.counts, run.columns)) for run in one]
            for one in requests
        ]
        size = sum(len(payload) for request in rows for _, payload in request)
        self._folder.wait_for_room()
        self._folder.written(size)
        seen = [[(run.run_pk, run.run_revision) for run in request] for request in requests]
        runs = {run_pk for request in rows for run_pk, _ in request}
        written = self._database.submit(
            lambda connection: _append_all(connection, rows, seen), runs
        )
        points = sum(len(run.columns.steps) for request in requests for run in request)
        written.add_done_callback(lambda done: self._count(done, points, size))
        return written

    def _count(
        self, done: "Future[list[errors.TensordeckError | None]]", points: int, size: int
    ) -> None:
        """Counts a group of calls; the few of a deleted run among them count as written."""
        if done.exception() is None:
            self._measures.acknowledged(done.result().count(None), points, size)

    def read_scalars(self, series: Sequence[tuple[int, int]]) -> dict[int, ScalarColumns]:
        """See `Points.read_scalars`."""
        with damage_named(self._database):
            return self._read_scalars(series)

    def _read_scalars(self, series: Sequence[tuple[int, int]]) -> dict[int, ScalarColumns]:
        wanted = {series_pk for _, series_pk in series}
        runs = {run_pk for run_pk, _ in series}
        with self._database.read() as connection:
            fresh = decode_rows(_journal(connection, series), wanted)
            stored = queries.read_segments(connection, wanted, runs)
            counts = queries.folded_counts(connection, wanted)
        result: dict[int, ScalarColumns] = {}
        for series_pk in wanted:
            with of_series(series_pk):
                parts = [decode_segment(data, count) for count, data in stored.get(series_pk, ())]
                check_segments(parts, counts.get(series_pk, 0))
            if series_pk in fresh:
                parts.append(fresh[series_pk].points)
                result[series_pk] = in_step_order(join_points(parts))
            else:
                result[series_pk] = join_points(parts) if parts else _NO_POINTS
        return result

    def sample_scalars(
        self, series: Sequence[tuple[int, int]], least: int
    ) -> dict[int, ScalarColumns]:
        """See `Points.sample_scalars`."""
        runs = {series_pk: run_pk for run_pk, series_pk in series}
        result: dict[int, ScalarColumns] = {}
        with damage_named(self._database):
            with self._database.read() as connection:
                found = overviews(connection, runs, set(runs.values()))
                usable = {pk: one for pk, one in found.items() if one.point_count >= least}
                keys = [(one.run_pk, pk) for pk, one in usable.items()]
                fresh = decode_rows(_journal(connection, keys), usable) if usable else {}
                for series_pk, overview in usable.items():
                    batch = fresh.get(series_pk)
                    if batch is None or int(batch.points.steps[0]) >= overview.next_step:
                        with of_series(series_pk):
                            result[series_pk] = _thinned(connection, overview, batch)
            whole = [key for key in series if key[1] not in result]
            return result | (self._read_scalars(whole) if whole else {})

    def read_payloads(
        self, series: Sequence[tuple[int, int]], *, limit: int | None = None
    ) -> dict[int, PayloadColumns]:
        """See `Points.read_payloads`."""
        with damage_named(self._database), self._database.read() as connection:
            return payload_rows.read(connection, {pk for _, pk in series}, limit)

    def summaries(self, series: Sequence[tuple[int, int]]) -> dict[int, SeriesSummary]:
        """See `Points.summaries`."""
        runs = {series_pk: run_pk for run_pk, series_pk in series}
        with damage_named(self._database), self._database.read() as connection:
            fresh = _intact(_journal(connection, series), runs)
            stored_now = queries.summaries(connection, runs, set(runs.values()))
            found = dict.fromkeys(runs, SeriesSummary()) | stored_now
            stored = queries.summary_rows(connection, fresh)
            for series_pk, batch in fresh.items():
                row = stored.get(series_pk) or SummaryRow(series_pk, runs[series_pk])
                found[series_pk] = fold_summary(
                    row,
                    batch,
                    grown=_count_new(connection, row, batch),
                    tail=row.tail_step,
                    byte_count=row.byte_count,
                ).summary()
        return found

    def run_versions(self, run_pks: Sequence[int]) -> dict[int, int]:
        """See `Points.run_versions`."""
        with self._database.read() as connection:
            return journal_queries.run_versions(connection, run_pks)

    def totals(
        self, kind: type[Run] | type[Experiment] | type[Tensorboard], pks: Sequence[int]
    ) -> dict[int, PointTotals]:
        """See `Points.totals`."""
        with self._database.read() as connection:
            return totals(connection, kind, pks)

    def fold(self) -> int:
        """See `Points.fold`."""
        return self._folder.fold_all()

    def close(self) -> None:
        """Stops folding in the background; what is left is folded by the next process."""
        self._folder.close()


def _joined(
    connection: Connection, joining: dict[int, list[tuple[int, PayloadColumns]]], join: Join
) -> dict[int, list[PackedPayloads]]:
    """What is to be written of series by what is stored of them."""

    def stored(series_pk: int) -> PayloadColumns:
        return payload_rows.read(connection, [series_pk], None)[series_pk]

    return {
        run_pk: [
            payload_rows.pack(run_pk, pk, join(partial(stored, pk), columns))
            for pk, columns in series
        ]
        for run_pk, series in joining.items()
    }


def _append(
    connection: Connection,
    rows: Sequence[tuple[int, bytes]],
    payloads: dict[int, list[PackedPayloads]],
    seen: Collection[_Seen],
) -> None:
    """Writes one request."""
    if _outdated(seen, journal_queries.existing_runs(connection, (run_pk for run_pk, _ in rows))):
        raise _deleted()
    for run_pk, payload in rows:
        version = journal_queries.insert_journal(connection, run_pk, payload)
        if run_pk in payloads:
            payload_rows.write(connection, payloads[run_pk], version)


def _append_all(
    connection: Connection,
    requests: Sequence[Sequence[tuple[int, bytes]]],
    seen: Sequence[Sequence[_Seen]],
) -> list[errors.TensordeckError | None]:
    """Writes several requests, but for those with a run that is gone, or not what was looked up."""
    pairs = {pair for request in seen for pair in request}
    gone = _outdated(
        pairs, journal_queries.existing_runs(connection, {run_pk for run_pk, _ in pairs})
    )
    rows: list[tuple[int, bytes]] = []
    outcomes: list[errors.TensordeckError | None] = []
    for request, looked_up in zip(requests, seen, strict=True):
        lost = bool(gone) and not gone.isdisjoint(looked_up)
        outcomes.append(_deleted() if lost else None)
        if not lost:
            rows += request
    journal_queries.insert_journal_rows(connection, rows)
    return outcomes


def _outdated(seen: Collection[_Seen], present: dict[int, int]) -> set[_Seen]:
    """Those whose run is gone, or has another revision than when it was looked up."""
    return {
        (run_pk, revision)
        for run_pk, revision in seen
        if present.get(run_pk) != revision and (revision or run_pk not in present)
    }


def _deleted() -> errors.NotFound:
    return errors.NotFound(
        "A run that this request writes to was deleted or changed meanwhile; nothing was written."
    )


def _journal(connection: Connection, series: Sequence[tuple[int, int]]) -> list[tuple[int, Any]]:
    return journal_queries.journal_rows(connection, {run_pk for run_pk, _ in series})


def _intact(rows: Sequence[tuple[int, bytes]], wanted: Collection[int]) -> dict[int, Batch]:
    """What intact journal rows say.

    A table of many runs is made of summaries: a damaged row of one run, which whoever reads its
    points is told of, must not take the table away.
    """
    try:
        return decode_rows(rows, wanted)
    except Damaged as error:
        log.error("Left out of a summary: %s", error)  # noqa: TRY400 -- the line says it all
        return _intact([row for row in rows if row[0] != error.seq], wanted)


def _thinned(connection: Connection, overview: Overview, fresh: Batch | None) -> ScalarColumns:
    """A long series' points by its overview."""
    key = (overview.series_pk, overview.run_pk)
    stored = queries.read_segments_from(connection, *key, overview.next_step)
    parts = [decode_segment(data, count) for count, data in stored]
    check_segments(
        parts, queries.folded_counts(connection, [key[0]]).get(key[0], 0) - overview.covered
    )
    if fresh is not None:
        parts.append(fresh.points)
    return thinned(overview, in_step_order(join_points(parts)) if parts else _NO_POINTS)


def _count_new(connection: Connection, row: SummaryRow, batch: Batch) -> int:
    """How many steps of a batch are not stored yet."""
    steps = batch.points.steps
    first = int(steps[0])
    if not row.point_count or first > row.max_step:
        return len(steps)
    known = 0
    for segment in queries.segments_from(connection, row.series_pk, first, row.tail_step):
        a = int(np.searchsorted(steps, segment.first_step, "left"))
        b = int(np.searchsorted(steps, segment.last_step, "right"))
        if a < b:
            data = queries.segment_data(connection, row.series_pk, segment.first_step)
            with of_series(row.series_pk):
                stored = decode_segment(data, segment.point_count)
            known += int(np.isin(steps[a:b], stored.steps).sum())
    return len(steps) - known
