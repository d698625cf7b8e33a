"""Folding: a run's journal rows become segments, and its summaries are brought up to date.

Reading, merging and packing happen in a read snapshot, so that writers never wait for them. One
short write transaction then replaces the segments, updates the summaries and deletes the rows. It
applies only if all those rows are still there: every folding of a run starts with its oldest row,
so whoever comes second (another process, a crash in between, a deletion) finds rows missing and
has changed nothing. That makes it right; that servers seldom come second is what makes it cheap:
in PostgreSQL a run is prepared by one of them at a time, and only while its oldest row is the one
that was seen.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection

from tensordeck import errors
from tensordeck.store import journal_queries, overviews
from tensordeck.store import points_queries as queries
from tensordeck.store.contract import ScalarColumns
from tensordeck.store.damage import damage_named, of_series
from tensordeck.store.database import Database
from tensordeck.store.journal import Batch, decode_rows
from tensordeck.store.merging import Segment, joined_segments, merge_points, tail_step
from tensordeck.store.points_queries import SummaryRow
from tensordeck.store.segments import SEGMENT_POINTS, decode_segment, encode_segment

__all__ = ["Folding"]

_BATCH_BYTES: Final = 16 * 2**20
"""At most about this much of a run's journal is folded at once."""
_OVERHEAD: Final = 64
"""What a segment's row costs besides its data: keys, and its place in the index."""
_Added = tuple[int, int, int, int, int, bytes]


class _Outcome(Struct, frozen=True):
    """What one folding writes."""

    run_pk: int
    rows: int
    through: int
    removed: list[tuple[int, int]]
    added: list[_Added]
    summaries: list[SummaryRow]
    overviews: list[overviews.Change]


class Folding:
    """Folds one run at a time.

    Args:
        database: Where the tables are.
        segment_points: The most points that a segment may hold.
        batch_bytes: About how much of a journal is folded at once.
    """

    def __init__(
        self,
        database: Database,
        *,
        segment_points: int = SEGMENT_POINTS,
        batch_bytes: int = _BATCH_BYTES,
    ) -> None:
        self._database = database
        self._limit = segment_points
        self._batch_bytes = batch_bytes

    def fold_run(self, run_pk: int, oldest: int | None = None) -> int:
        """Folds the oldest rows of a run's journal.

        Args:
            run_pk: The run.
            oldest: The `seq` of the row that must still be the oldest, if it matters: without it
                somebody else has been here since, and what came after is not due yet.

        Returns:
            How many rows; 0 when there was nothing to do or somebody else did it meanwhile.

        Raises:
            errors.ResourceExhausted: If the disk is full; nothing has changed.
            errors.DataLoss: If the rows, or a segment that they join, are damaged.
        """
        with damage_named(self._database), self._database.read() as connection:
            outcome = self._prepare(connection, run_pk, oldest)
        if outcome is None:
            return 0
        try:
            return self._database.write(lambda connection: _apply(connection, outcome), [run_pk])
        except (_Overtaken, errors.NotFound):  # or a series was deleted meanwhile
            return 0

    def _prepare(self, connection: Connection, run_pk: int, oldest: int | None) -> _Outcome | None:
        if not journal_queries.claim_run(connection, run_pk):
            return None
        sizes = journal_queries.journal_sizes(connection, run_pk)
        if not sizes or oldest not in (None, sizes[0][0]):
            return None
        through, size = 0, 0
        for seq, length in sizes:
            if size and size + length > self._batch_bytes:
                break
            through, size = seq, size + length
        rows = journal_queries.journal_rows(connection, [run_pk], through)
        batches = decode_rows(rows)
        outcome = _Outcome(run_pk, len(rows), through, [], [], [], [])
        stored = queries.summary_rows(connection, batches)
        tails = queries.tail_segments(connection, batches)
        data = self._data_of_joined(connection, run_pk, batches, tails)
        for series_pk, batch in batches.items():
            summary = stored.get(series_pk, SummaryRow(series_pk, run_pk))
            segments = tails.get(series_pk, [])
            first = int(batch.points.steps[0])
            if segments and first <= segments[-1].last_step:
                segments = queries.segments_from(connection, series_pk, first, summary.tail_step)
            outcome.summaries.append(
                self._merge_series(connection, outcome, summary, segments, batch, data)
            )
        return outcome

    def _data_of_joined(
        self,
        connection: Connection,
        run_pk: int,
        batches: Mapping[int, Batch],
        tails: Mapping[int, list[Segment]],
    ) -> dict[tuple[int, int], bytes]:
        """Reads the segments that points behind the last one join: all series' in one query."""
        keys = [
            (series_pk, segment.first_step)
            for series_pk, segments in tails.items()
            if int(batches[series_pk].points.steps[0]) > segments[-1].last_step
            for segment in joined_segments(
                segments, len(batches[series_pk].points.steps), self._limit
            )
        ]
        return queries.segments_data(connection, run_pk, keys)

    def _merge_series(
        self,
        connection: Connection,
        outcome: _Outcome,
        summary: SummaryRow,
        segments: list[Segment],
        batch: Batch,
        data: dict[tuple[int, int], bytes],
    ) -> SummaryRow:
        """Adds one series to the outcome; returns its new summary.

        Args:
            connection: In the read snapshot.
            outcome: What is added to.
            summary: The series' as it is.
            segments: Those that the points may fall into, and the tail.
            batch: The points.
            data: The bytes of segments that were read already; taken out as they are used.
        """
        series_pk = summary.series_pk

        def load(segment: Segment) -> ScalarColumns:
            read = data.pop((series_pk, segment.first_step), None)
            if read is None:
                read = queries.segment_data(connection, series_pk, segment.first_step)
            with of_series(series_pk):
                return decode_segment(read, segment.point_count)

        merge = merge_points(segments, batch.points, load, self._limit)
        size = summary.byte_count
        kept = set(segments).difference(merge.removed)
        for segment in merge.removed:
            outcome.removed.append((series_pk, segment.first_step))
            size -= segment.size + _OVERHEAD
        for points in merge.added:
            packed = encode_segment(points)
            first, last = int(points.steps[0]), int(points.steps[-1])
            outcome.added.append(
                (series_pk, first, last, len(points.steps), outcome.run_pk, packed)
            )
            kept.add(Segment(first, last, len(points.steps), len(packed)))
            size += len(packed) + _OVERHEAD
        tail = tail_step(sorted(kept), self._limit)
        grown = fold_summary(summary, batch, grown=merge.grown, tail=tail, byte_count=size)
        before = summary.point_count - _count_from(segments, summary.tail_step)
        now = grown.point_count - _count_from(kept, tail)
        if max(before, now) >= overviews.FIRST * self._limit:
            change = overviews.change(
                overviews.overviews(connection, [series_pk], [outcome.run_pk]).get(series_pk),
                (outcome.run_pk, series_pk),
                merge,
                (before, now),
                tail,
                lambda start: queries.segments_of(connection, series_pk, start),
                load,
                self._limit,
            )
            if change is not None:
                outcome.overviews.append(change)
        return grown


def fold_summary(
    summary: SummaryRow, batch: Batch, *, grown: int, tail: int, byte_count: int
) -> SummaryRow:
    """A series' summary once a batch is folded.

    Args:
        summary: As far as it was folded before.
        batch: What comes in addition.
        grown: The number of steps that were not there before.
        tail: The new `tail_step`.
        byte_count: The new size.
    """
    points = batch.points
    last_step = int(points.steps[-1])
    newest = summary.point_count == 0 or last_step >= summary.max_step
    return SummaryRow(
        series_pk=summary.series_pk,
        run_pk=summary.run_pk,
        point_count=summary.point_count + grown,
        max_step=last_step if newest else summary.max_step,
        max_wall_ns=max(summary.max_wall_ns, batch.max_wall_ns),
        max_blob_length=summary.max_blob_length,
        last_value=queries.null(float(points.values[-1])) if newest else summary.last_value,
        minimum=_extreme(min, summary.minimum, batch.minimum),
        maximum=_extreme(max, summary.maximum, batch.maximum),
        version=max(summary.version, batch.version),
        tail_step=tail,
        byte_count=byte_count,
    )


def _count_from(segments: Iterable[Segment], step: int) -> int:
    return sum(segment.point_count for segment in segments if segment.first_step >= step)


def _extreme(
    choose: Callable[[float, float], float], stored: float | None, new: float
) -> float | None:
    if math.isnan(new):
        return stored
    return new if stored is None else choose(stored, new)


def _apply(connection: Connection, outcome: _Outcome) -> int:
    """Writes what was prepared, or nothing if some of its rows are gone."""
    if journal_queries.delete_journal(connection, outcome.run_pk, outcome.through) != outcome.rows:
        raise _Overtaken
    alive = queries.existing_series(connection, outcome.run_pk)
    queries.delete_segments(connection, outcome.run_pk, outcome.removed)
    queries.insert_segments(connection, [row for row in outcome.added if row[0] in alive])
    queries.put_summaries(
        connection, [summary for summary in outcome.summaries if summary.series_pk in alive]
    )
    overviews.put_overviews(
        connection, [change for change in outcome.overviews if change.series_pk in alive]
    )
    journal_queries.put_run_version(connection, outcome.run_pk, outcome.through)
    return outcome.rows


class _Overtaken(Exception):  # noqa: N818 -- no error: somebody else did the work
    """Rows that were to be folded are gone."""
