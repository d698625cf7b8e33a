"""The columns of journal rows, shortened and gathered with numpy.

`store.journal_columns` does the same in one pass each, where that could be compiled;
`store.journal` describes the rows.
"""

from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

import numpy as np

from tensordeck.store.contract import Floats, Ints

__all__ = ["MILLISECOND", "SHORT", "WHOLE", "Gathered", "Row", "Shortened", "gather", "shorten"]

WHOLE, SHORT = range(2)
MILLISECOND: Final = 1_000_000

Shortened = tuple[tuple[int, int, int], tuple[int, int], bytes]
"""The forms of steps, wall times and values; the smallest step and wall time; the columns."""

Series = tuple[int, int, int, float, float, int, int, bool]
"""A series' key, where its points begin and end, the smallest and the largest finite value (NaN
when there is none), the latest wall time, the last `seq`, and whether its steps only grow."""

Gathered = tuple[list[Series], Ints, Ints, Floats]
"""Series by key, and the points of all: steps, wall times (ns), values."""


class Row(NamedTuple):
    """A journal row whose payload is as long as its head says.

    Attributes:
        seq: Its number.
        payload: Its bytes, without the checksum.
        chunks: How many chunks it has.
        points: How many points all of them have.
        forms: Of steps, of wall times, of values: `WHOLE` or `SHORT`.
        first_step: What is added to each step of a `SHORT` column.
        first_wall: The same of wall times.
        columns_at: Where the columns begin.
    """

    seq: int
    payload: bytes
    chunks: int
    points: int
    forms: tuple[int, int, int]
    first_step: int
    first_wall: int
    columns_at: int


def shorten(steps: Ints, wall_ns: Ints, values: Floats) -> Shortened:
    """Packs columns of at least one point, each in the shorter form if it loses nothing.

    Returns:
        The forms of steps, wall times and values; the smallest step and wall time, 0 for a whole
        column; and the columns' bytes.
    """
    step_form, first_step, packed_steps = _offsets(steps, 1)
    wall_form, first_wall, packed_walls = _offsets(wall_ns, MILLISECOND)
    with np.errstate(all="ignore"):
        singles = values.astype(np.float32)
        exact = (singles.astype(np.float64).view(np.int64) == values.view(np.int64)).all()
    return (
        (step_form, wall_form, SHORT if exact else WHOLE),
        (first_step, first_wall),
        b"".join((packed_steps, packed_walls, (singles if exact else values).tobytes())),
    )


def _offsets(words: Ints, unit: int) -> tuple[int, int, bytes]:
    """Returns a column's form, its smallest word, and its bytes."""
    smallest = int(words.min())
    if int(words.max()) - smallest < unit * 2**32:
        offsets = words - smallest
        if unit == 1 or not (offsets % unit).any():
            return SHORT, smallest, (offsets // unit).astype(np.uint32).tobytes()
    return WHOLE, 0, words.tobytes()


def gather(rows: list[Row], wanted: AbstractSet[int] | None) -> Gathered:
    """Sorts the points of journal rows by series; within one they stay in the order they came.

    Args:
        rows: In the order of `seq`.
        wanted: The series_pk to look for; all when None.

    Raises:
        ValueError: If a row's counts do not add up; its `seq` is the argument.
    """
    keys = None if wanted is None else np.fromiter(wanted, np.int64, len(wanted))
    parts = [part for row in rows if (part := _columns(row, keys))]
    if not parts:
        return [], np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)
    series, counts, sequence, steps, wall_ns, values = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    found, chunk_keys = np.unique(series, return_inverse=True)
    if len(found) < 2**16:
        chunk_keys = chunk_keys.astype(np.uint16)  # numpy sorts these by radix, in O(n)
    if len(found) > 1:
        order = np.argsort(np.repeat(chunk_keys, counts), kind="stable")
        steps, wall_ns, values = steps[order], wall_ns[order], values[order]
    sizes = np.bincount(chunk_keys, weights=counts, minlength=len(found)).astype(np.intp)
    bounds = np.concatenate(([0], np.cumsum(sizes)))
    starts = bounds[:-1]
    finite = np.where(np.isfinite(values), values, np.nan)
    versions = np.zeros(len(found), np.int64)
    versions[chunk_keys] = sequence  # rows come in order: the last one stays
    growing = np.append(True, steps[1:] > steps[:-1])
    growing[starts] = True  # whatever the series before ended with
    summaries = zip(
        found.tolist(),
        starts.tolist(),
        bounds[1:].tolist(),
        np.fmin.reduceat(finite, starts).tolist(),
        np.fmax.reduceat(finite, starts).tolist(),
        np.maximum.reduceat(wall_ns, starts).tolist(),
        versions.tolist(),
        np.logical_and.reduceat(growing, starts).tolist(),
        strict=True,
    )
    return list(summaries), steps, wall_ns, values


_Part = tuple[Ints, Ints, Ints, Ints, Ints, Floats]


def _columns(row: Row, wanted: Ints | None) -> _Part | None:
    """Returns a row's columns: series, count and seq a chunk; step, time and value a point."""
    at, total, payload = row.columns_at, row.points, row.payload
    head: Ints = np.frombuffer(payload, np.int64, 2 * row.chunks, at - 16 * row.chunks)
    series, counts = head[: row.chunks], head[row.chunks :]
    if (counts < 1).any() or (counts > total).any() or int(counts.sum()) != total:
        raise ValueError(row.seq)
    chosen = None if wanted is None else np.isin(series, wanted)
    if not row.chunks or (chosen is not None and not chosen.any()):
        return None
    widths = [4 if form == SHORT else 8 for form in row.forms]
    steps = _column(payload, at, total, row.forms[0])
    wall_ns = _column(payload, at + total * widths[0], total, row.forms[1])
    if row.forms[0] == SHORT:
        steps = steps + row.first_step
    if row.forms[1] == SHORT:
        wall_ns = wall_ns * MILLISECOND + row.first_wall
    kind = np.float32 if row.forms[2] == SHORT else np.float64
    values = np.frombuffer(payload, kind, total, len(payload) - total * widths[2])
    if chosen is not None and not chosen.all():
        points = np.repeat(chosen, counts)
        steps, wall_ns, values = steps[points], wall_ns[points], values[points]
        series, counts = series[chosen], counts[chosen]
    sequence = np.full(len(series), row.seq, np.int64)
    return series, counts, sequence, steps, wall_ns, values.astype(np.float64, copy=False)


def _column(payload: bytes, at: int, total: int, form: int) -> Ints:
    if form == SHORT:
        return np.frombuffer(payload, np.uint32, total, at).astype(np.int64)
    return np.frombuffer(payload, np.int64, total, at)
