"""Every so-manieth point of a long series, so that a sample costs what the sample has.

Evenly spaced points of a series lie in all of its segments, and reading a million points to return
a thousand takes longer than the rest of the call. So folding keeps an overview beside the segments
of a long series: the points whose index is a multiple of a stride. The stride doubles as the series
grows, so that an overview holds at most as many points as one segment, and at least half as many.
What is behind it is read from the segments.

An overview is derived: without it, or for a larger sample, the whole series is read. It covers
segments that are full, which appending leaves alone; a write among them drops it, and it is made
anew when the series has grown on.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, text

from tensordeck.store.contract import ScalarColumns
from tensordeck.store.keyed_queries import only_of, select
from tensordeck.store.merging import Merge, Segment, join_points
from tensordeck.store.segments import decode_segment, encode_segment

__all__ = ["Change", "Overview", "change", "overviews", "put_overviews", "thinned"]

FIRST: Final = 16
"""A series gets an overview when so many segments are full: 6 % on top of their bytes at most."""
_STEP: Final = 8
"""It is brought up to date when so many more are full."""

_DELETE: Final = text("DELETE FROM overviews WHERE series_pk = :series_pk AND run_pk = :run_pk")
_INSERT: Final = text(
    "INSERT INTO overviews (series_pk, run_pk, covered, next_step, stride, point_count, data) "
    "VALUES (:series_pk, :run_pk, :covered, :next_step, :stride, :point_count, :data)"
)


class Overview(Struct, frozen=True):
    """A row of `overviews`; the fields are the columns.

    Attributes:
        series_pk: The series.
        run_pk: Its run.
        covered: How many of the series' points it stands for: all before `next_step`.
        next_step: The first step of the first segment that it does not cover.
        stride: It holds the points whose index is a multiple of this.
        point_count: Their number.
        data: As a segment's (`store.segments`).
    """

    series_pk: int
    run_pk: int
    covered: int
    next_step: int
    stride: int
    point_count: int
    data: bytes

    def points(self) -> ScalarColumns:
        """The points that it holds.

        Raises:
            Damaged: If its bytes are not what was written.
        """
        return decode_segment(self.data, self.point_count)


class Change(Struct, frozen=True):
    """What folding does to a series' overview.

    Attributes:
        series_pk: The series.
        run_pk: Its run.
        overview: The new one; None if the old one is dropped for now.
    """

    series_pk: int
    run_pk: int
    overview: Overview | None


def overviews(
    connection: Connection, series_pks: Iterable[int], run_pks: Collection[int]
) -> dict[int, Overview]:
    """Returns the overviews that exist, by series."""
    rows = select(
        connection,
        "SELECT series_pk, run_pk, covered, next_step, stride, point_count, data FROM overviews "  # noqa: S608 -- keys of ours
        "WHERE series_pk IN (%s) " + only_of(connection, run_pks),
        series_pks,
    )
    return {
        pk: Overview(pk, run_pk, covered, next_step, stride, count, bytes(data))
        for pk, run_pk, covered, next_step, stride, count, data in rows
    }


def put_overviews(connection: Connection, changes: Sequence[Change]) -> None:
    """Replaces or drops overviews."""
    if not changes:
        return
    connection.execute(
        _DELETE, [{"series_pk": one.series_pk, "run_pk": one.run_pk} for one in changes]
    )
    names = Overview.__struct_fields__
    rows = [
        {name: getattr(one.overview, name) for name in names} for one in changes if one.overview
    ]
    if rows:
        connection.execute(_INSERT, rows)


def change(
    old: Overview | None,
    key: tuple[int, int],
    merge: Merge,
    settled: tuple[int, int],
    tail: int,
    segments: Callable[[int | None], Sequence[Segment]],
    load: Callable[[Segment], ScalarColumns],
    limit: int,
) -> Change | None:
    """What a series' overview becomes when new points join its segments.

    Args:
        old: As it is.
        key: (run_pk, series_pk).
        merge: How the new points join.
        settled: How many points lay before the tail, and how many will.
        tail: The first step of the tail, once they have joined.
        segments: Returns the stored segments from a step on, or all.
        load: Reads a stored segment.
        limit: The most points that a segment may hold.

    Returns:
        None if it stays as it is.
    """
    run_pk, series_pk = key
    before, now = settled
    touched = [segment.first_step for segment in merge.removed]
    touched += [int(points.steps[0]) for points in merge.added]
    if old is not None and min(touched) < old.next_step:
        old = None
        dropped = True
    else:
        dropped = False
    if old is not None:
        due = now - old.covered >= _STEP * limit
    else:
        due = now >= FIRST * limit and _has_grown(before, now, limit)
    if not due:
        return Change(series_pk, run_pk, None) if dropped else None
    start = old.next_step if old else None
    removed = set(merge.removed)
    parts: list[tuple[int, Callable[[], ScalarColumns]]] = [
        (segment.first_step, partial(load, segment))
        for segment in segments(start)
        if segment not in removed
    ]
    parts += [(int(points.steps[0]), partial(_every, points, 0, 1)) for points in merge.added]
    covered, stride = (old.covered, old.stride) if old else (0, 1)
    while -(-now // stride) > limit:
        stride *= 2
    kept: list[ScalarColumns] = []
    if old:
        kept.append(_every(old.points(), 0, stride // old.stride))
    for first_step, points_of in sorted(parts, key=lambda part: part[0]):
        if (start is not None and first_step < start) or first_step >= tail:
            continue
        points = points_of()
        kept.append(_every(points, -covered % stride, stride))
        covered += len(points.steps)
    points = join_points(kept)
    data = encode_segment(points)
    return Change(
        series_pk,
        run_pk,
        Overview(series_pk, run_pk, covered, tail, stride, len(points.steps), data),
    )


def thinned(overview: Overview, behind: ScalarColumns) -> ScalarColumns:
    """The overview's points, those behind it thinned alike, and the series' last point.

    Args:
        overview: Of the series.
        behind: Every point from `overview.next_step` on, in step order.
    """
    offset = -overview.covered % overview.stride
    parts = [overview.points(), _every(behind, offset, overview.stride)]
    last = len(behind.steps) - 1
    if last >= 0 and (last < offset or (last - offset) % overview.stride):
        parts.append(_every(behind, last, 1))
    return join_points(parts)


def _has_grown(before: int, now: int, limit: int) -> bool:
    """Whether it is time for a new overview, which takes reading the whole series."""
    step = _STEP * limit
    return before < FIRST * limit or before // step != now // step


def _every(points: ScalarColumns, start: int, stride: int) -> ScalarColumns:
    return ScalarColumns(
        points.steps[start::stride], points.wall_ns[start::stride], points.values[start::stride]
    )
