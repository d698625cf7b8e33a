"""The columns of journal rows, shortened and gathered with numpy.

`store.journal_columns` does the same in one pass each, where that could be compiled;
`store.journal` describes the rows.
"""

from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

import numpy as np

from tensordeck.store.contract import Floats, Ints

__all__ = [
    "MILLISECOND",
    "REPEATED",
    "SHORT",
    "WHOLE",
    "Gathered",
    "Row",
    "Shortened",
    "gather",
    "shorten",
]

WHOLE, SHORT, REPEATED = range(3)
"""A column's form is one of the first two, with `REPEATED` in addition where that is so."""
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
        forms: Of steps, of wall times, of values; only of the first two may be `REPEATED`, and if
            one is, the points are a multiple of the chunks.
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


def shorten(steps: Ints, wall_ns: Ints, values: Floats, chunk: int) -> Shortened:
    """Packs columns of at least one point, each in the shorter form if it loses nothing.

    Args:
        steps: A word a point.
        wall_ns: The same.
        values: The same.
        chunk: After how many points steps and wall times may begin again; at most all.

    Returns:
        The forms of steps, wall times and values; the smallest step and wall time, 0 for a whole
        column; and the columns' bytes.
    """
    step_form, first_step, packed_steps = _offsets(steps, 1, chunk)
    wall_form, first_wall, packed_walls = _offsets(wall_ns, MILLISECOND, chunk)
    with np.errstate(all="ignore"):
        singles = values.astype(np.float32)
        exact = (singles.astype(np.float64).view(np.int64) == values.view(np.int64)).all()
    return (
        (step_form, wall_form, SHORT if exact else WHOLE),
        (first_step, first_wall),
        b"".join((packed_steps, packed_walls, (singles if exact else values).tobytes())),
    )


def _offsets(words: Ints, unit: int, chunk: int) -> tuple[int, int, bytes]:
    """Returns a column's form, its smallest word, and its bytes."""
    repeated = WHOLE
    if chunk < len(words) and (words[chunk:] == words[:-chunk]).all():
        repeated, words = REPEATED, words[:chunk]
    smallest = int(words.min())
    if int(words.max()) - smallest < unit * 2**32:
        offsets = words - smallest
        if unit == 1 or not (offsets % unit).any():
            return repeated | SHORT, smallest, (offsets // unit).astype(np.uint32).tobytes()
    return repeated, 0, words.tobytes()


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
    if any(form & REPEATED for form in row.forms) and (counts != counts[0]).any():
        raise ValueError(row.seq)
    steps, at = _column(row, at, row.forms[0])
    wall_ns, at = _column(row, at, row.forms[1])
    if row.forms[0] & SHORT:
        steps = steps + row.first_step
    if row.forms[1] & SHORT:
        wall_ns = wall_ns * MILLISECOND + row.first_wall
    kind = np.float32 if row.forms[2] & SHORT else np.float64
    values = np.frombuffer(payload, kind, total, at)
    if chosen is not None and not chosen.all():
        points = np.repeat(chosen, counts)
        steps, wall_ns, values = steps[points], wall_ns[points], values[points]
        series, counts = series[chosen], counts[chosen]
    sequence = np.full(len(series), row.seq, np.int64)
    return series, counts, sequence, steps, wall_ns, values.astype(np.float64, copy=False)


def _column(row: Row, at: int, form: int) -> tuple[Ints, int]:
    """A column of whole numbers that begins at a place, a word a point, and where it ends."""
    each = row.points // row.chunks if form & REPEATED else row.points
    kind, width = (np.uint32, 4) if form & SHORT else (np.int64, 8)
    words: Ints = np.frombuffer(row.payload, kind, each, at).astype(np.int64, copy=False)
    return np.tile(words, row.chunks) if form & REPEATED else words, at + each * width
