"""How new points of a series join its segments: pure planning, no database.

New points that lie behind the last segment are appended; the small segments at the tail are
rewritten together with them once they are no larger than twice what joins them, so that each point
is rewritten a logarithmic number of times. Points that lie before are merged into the segment
whose range they fall in. Segments never overlap in steps.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise, takewhile
from typing import Final, NamedTuple

import numpy as np
from msgspec import Struct

from tensordeck.store.contract import ScalarColumns
from tensordeck.store.journal import in_step_order
from tensordeck.store.segments import SEGMENT_POINTS

__all__ = ["Merge", "Segment", "join_points", "joined_segments", "merge_points", "tail_step"]

_GROWTH: Final = 2


class Segment(NamedTuple):
    """A stored segment, without its data.

    Attributes:
        first_step: Smallest step; identifies the segment in its series.
        last_step: Largest step.
        point_count: Number of points.
        size: Bytes.
    """

    first_step: int
    last_step: int
    point_count: int
    size: int


class Merge(Struct, frozen=True):
    """What to write.

    Attributes:
        removed: Segments that the new ones replace.
        added: The contents of new segments, each with at most `limit` points.
    """

    removed: list[Segment]
    added: list[ScalarColumns]

    @property
    def grown(self) -> int:
        """By how much the number of the series' points grows."""
        return sum(len(p.steps) for p in self.added) - sum(s.point_count for s in self.removed)


def merge_points(
    segments: Sequence[Segment],
    new: ScalarColumns,
    load: Callable[[Segment], ScalarColumns],
    limit: int = SEGMENT_POINTS,
) -> Merge:
    """Plans how points join segments.

    Args:
        segments: In step order: every one that the new points may fall into, and the tail.
        new: In step order, each step once; not empty.
        load: Reads a segment's points.
        limit: The most points that a segment may hold.
    """
    plan = Merge([], [])
    tail = list(segments)
    behind = 0
    if segments:
        behind = int(np.searchsorted(new.steps, segments[-1].last_step, "right"))
    appended = _slice(new, behind, len(new.steps))
    if behind:
        # A point belongs to the last segment that starts at or before it, or to the first of all.
        starts = np.array([segment.first_step for segment in segments[1:]], np.int64)
        owners, bounds = np.unique(
            np.searchsorted(starts, new.steps[:behind], "right"), return_index=True
        )
        ends = [*bounds[1:].tolist(), behind]
        for owner, a, b in zip(owners.tolist(), bounds.tolist(), ends, strict=True):
            plan.removed.append(segments[owner])
            merged = in_step_order(join_points([load(segments[owner]), _slice(new, a, b)]))
            if owner == len(segments) - 1:
                appended = join_points([merged, appended])
                tail.pop()
            else:
                plan.added.extend(_halves(merged, limit))
    if len(appended.steps):
        taken = set(plan.removed)
        left = list(takewhile(lambda segment: segment not in taken, reversed(tail)))
        absorbed = joined_segments(left[::-1], len(appended.steps), limit)
        size = len(appended.steps) + sum(segment.point_count for segment in absorbed)
        plan.removed.extend(absorbed)
        whole = join_points([*map(load, absorbed), appended])
        plan.added.extend(_slice(whole, at, at + limit) for at in range(0, size, limit))
    return plan


def joined_segments(
    tail: Sequence[Segment], size: int, limit: int = SEGMENT_POINTS
) -> list[Segment]:
    """The small segments at the end that are rewritten together with what is appended.

    Args:
        tail: In step order.
        size: How many points are appended.
        limit: The most points that a segment may hold.
    """
    found: list[Segment] = []
    for segment in reversed(tail):
        if segment.point_count >= limit or segment.point_count > _GROWTH * size:
            break
        found.append(segment)
        size += segment.point_count
    return found[::-1]


def tail_step(segments: Sequence[Segment], limit: int = SEGMENT_POINTS) -> int:
    """Where appending goes on: the first step of the small segments at the end.

    Args:
        segments: In step order, at least one.
        limit: The most points that a segment may hold.
    """
    result = segments[-1].first_step
    for segment in reversed(segments):
        if segment.point_count >= limit:
            break
        result = segment.first_step
    return result


def join_points(parts: Sequence[ScalarColumns]) -> ScalarColumns:
    """Puts columns behind one another."""
    if len(parts) == 1:
        return parts[0]
    return ScalarColumns(
        np.concatenate([part.steps for part in parts]),
        np.concatenate([part.wall_ns for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def _slice(points: ScalarColumns, start: int, end: int) -> ScalarColumns:
    return ScalarColumns(
        points.steps[start:end], points.wall_ns[start:end], points.values[start:end]
    )


def _halves(points: ScalarColumns, limit: int) -> list[ScalarColumns]:
    """Cuts what outgrew its segment into equal parts, which have room for more."""
    count = len(points.steps)
    parts = -(-count // limit)
    bounds = [count * i // parts for i in range(parts + 1)]
    return [_slice(points, a, b) for a, b in pairwise(bounds)]
