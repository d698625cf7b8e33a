"""The bytes of a journal row: the scalar points of one run in one request.

    magic "TDJ2", number of chunks (uint32), number of points (uint64)
    form of steps, of wall times, of values (a byte each), five zero bytes
    smallest step (int64), smallest wall time (int64)
    series_pk: int64 a chunk
    number of points, at least one: int64 a chunk
    steps, then wall times (ns), then values: a word a point, chunk after chunk
    checksum of all before: CRC-32C (uint32); rows of older versions, magic "TDJ1", have none

All little-endian. A row lives for seconds, so it is only made shorter where that costs less than
writing it whole: in form `SHORT` a word has 32 bits: of a step, what it exceeds the smallest by;
of a wall time, the same in milliseconds; of a value, a float32 that is exact. In form `WHOLE` a
word has 64 bits. A row without points records that payloads of the run were written.
"""

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tensordeck.store.checksum import Damaged, checked, sealed
from tensordeck.store.contract import Floats, Ints, ScalarColumns

__all__ = ["Batch", "decode_rows", "encode_columns", "encode_row", "in_step_order"]

_HEADER: Final = struct.Struct("<4sIQBBB5xqq")
_UNSEALED: Final = b"TDJ1"
_SEALED: Final = b"TDJ2"
WHOLE, SHORT = range(2)
_SHORTEN_FROM: Final = 64
"""From so many points on it pays to look for a shorter form."""
_MILLISECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """What some journal rows say about one series.

    Attributes:
        points: In step order; of a repeated step the last written.
        minimum: The smallest finite value, overwritten ones included; NaN when there is none.
        maximum: The largest finite value.
        max_wall_ns: The latest wall time.
        version: The last `seq` that wrote the series.
    """

    points: ScalarColumns
    minimum: float
    maximum: float
    max_wall_ns: int
    version: int


def encode_row(chunks: Sequence[tuple[int, ScalarColumns]]) -> bytes:
    """Packs the points of one run.

    Args:
        chunks: (series_pk, points) in the order they came, none empty; a series may come twice.
    """
    columns = [points for _, points in chunks]
    return encode_columns(
        [pk for pk, _ in chunks],
        [points.steps.size for points in columns],
        b"".join([points.steps.data for points in columns]),
        b"".join([points.wall_ns.data for points in columns]),
        b"".join([points.values.data for points in columns]),
    )


def encode_columns(
    series_pks: Sequence[int], counts: Sequence[int], steps: bytes, wall_ns: bytes, values: bytes
) -> bytes:
    """As `encode_row`, of points that stand behind one another already.

    Args:
        series_pks: The series.
        counts: The number of points of each, at least one.
        steps: int64, series after series.
        wall_ns: int64, the same.
        values: float64, the same.

    Raises:
        TypeError: If the columns are not of one length.
    """
    total = sum(counts)
    if not len(steps) == len(wall_ns) == len(values) == 8 * total:
        raise TypeError("Columns must have 64-bit words and one length.")
    forms, bases, content = _shorten(steps, wall_ns, values, total)
    return sealed(
        b"".join(
            (
                _HEADER.pack(_SEALED, len(counts), total, *forms, *bases),
                struct.pack(f"<{2 * len(counts)}q", *series_pks, *counts),
                *content,
            )
        )
    )


_Forms = tuple[int, int, int]


def _shorten(
    steps: bytes, wall_ns: bytes, values: bytes, total: int
) -> tuple[_Forms, tuple[int, int], tuple[bytes, bytes, bytes]]:
    """Returns the columns' forms, the smallest step and wall time, and the columns' bytes."""
    if total < _SHORTEN_FROM:
        return (WHOLE, WHOLE, WHOLE), (0, 0), (steps, wall_ns, values)
    step_form, first_step, steps = _offsets(np.frombuffer(steps, np.int64), 1)
    wall_form, first_wall, wall_ns = _offsets(np.frombuffer(wall_ns, np.int64), _MILLISECOND)
    doubles = np.frombuffer(values, np.float64)
    with np.errstate(all="ignore"):
        singles = doubles.astype(np.float32)
        exact = (singles.astype(np.float64).view(np.int64) == doubles.view(np.int64)).all()
    value_form, values = (SHORT, singles.tobytes()) if exact else (WHOLE, values)
    return (step_form, wall_form, value_form), (first_step, first_wall), (steps, wall_ns, values)


def _offsets(words: Ints, unit: int) -> tuple[int, int, bytes]:
    """Returns a column's form, its smallest word, and its bytes."""
    smallest = int(words.min())
    if int(words.max()) - smallest < unit * 2**32:
        offsets = words - smallest
        if unit == 1 or not (offsets % unit).any():
            return SHORT, smallest, (offsets // unit).astype(np.uint32).tobytes()
    return WHOLE, smallest, words.tobytes()


def decode_rows(
    rows: Sequence[tuple[int, bytes]], only: Collection[int] | None = None
) -> dict[int, Batch]:
    """Unpacks journal rows.

    Args:
        rows: (seq, payload) in the order of `seq`.
        only: The series_pk to look for; all when None.

    Returns:
        A batch for each series that has points in the rows.

    Raises:
        Damaged: If a payload is no journal row.
    """
    wanted = None if only is None else np.fromiter(only, np.int64, len(only))
    parts = [part for seq, payload in rows if (part := _unpack(seq, payload, wanted))]
    if not parts:
        return {}
    series, counts, sequence, steps, wall_ns, values = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    keys, chunk_keys = np.unique(series, return_inverse=True)
    if len(keys) < 2**16:
        chunk_keys = chunk_keys.astype(np.uint16)  # numpy sorts these by radix, in O(n)
    if len(keys) > 1:
        order = np.argsort(np.repeat(chunk_keys, counts), kind="stable")
        steps, wall_ns, values = steps[order], wall_ns[order], values[order]
    sizes = np.bincount(chunk_keys, weights=counts, minlength=len(keys)).astype(np.intp)
    starts = np.concatenate(([0], np.cumsum(sizes)))
    finite = np.where(np.isfinite(values), values, np.nan)
    versions = np.zeros(len(keys), np.int64)
    versions[chunk_keys] = sequence  # rows come in order: the last one stays
    found = zip(
        keys.tolist(),
        starts[:-1].tolist(),
        starts[1:].tolist(),
        np.fmin.reduceat(finite, starts[:-1]).tolist(),
        np.fmax.reduceat(finite, starts[:-1]).tolist(),
        np.maximum.reduceat(wall_ns, starts[:-1]).tolist(),
        versions.tolist(),
        strict=True,
    )
    return {
        pk: Batch(
            in_step_order(ScalarColumns(steps[a:b], wall_ns[a:b], values[a:b])),
            minimum,
            maximum,
            max_wall_ns,
            version,
        )
        for pk, a, b, minimum, maximum, max_wall_ns, version in found
    }


def in_step_order(points: ScalarColumns) -> ScalarColumns:
    """Sorts points by step; of a repeated step the last one stays."""
    steps = points.steps
    if (steps[1:] > steps[:-1]).all():
        return points
    order = np.argsort(steps, kind="stable")
    steps = steps[order]
    last = np.append(steps[1:] != steps[:-1], True)
    order = order[last]
    return ScalarColumns(steps[last], points.wall_ns[order], points.values[order])


_Part = tuple[Ints, Ints, Ints, Ints, Ints, Floats]


def _unpack(seq: int, payload: bytes, wanted: Ints | None) -> _Part | None:
    """Returns a row's columns: series, count and seq a chunk; step, time and value a point."""
    payload = _content(seq, payload)
    _, n_chunks, total, *forms, first_step, first_wall = _HEADER.unpack_from(payload)
    at = _HEADER.size + 16 * n_chunks
    widths = [4 if form == SHORT else 8 for form in forms]
    if len(payload) != at + total * sum(widths):
        raise Damaged(f"journal row {seq} is damaged: its length does not fit", seq)
    head: Ints = np.frombuffer(payload, np.int64, 2 * n_chunks, _HEADER.size)
    series, counts = head[:n_chunks], head[n_chunks:]
    chosen = None if wanted is None else np.isin(series, wanted)
    if not n_chunks or (chosen is not None and not chosen.any()):
        return None
    steps = _column(payload, at, total, forms[0])
    wall_ns = _column(payload, at + total * widths[0], total, forms[1])
    if forms[0] == SHORT:
        steps = steps + first_step
    if forms[1] == SHORT:
        wall_ns = wall_ns * _MILLISECOND + first_wall
    kind = np.float32 if forms[2] == SHORT else np.float64
    values = np.frombuffer(payload, kind, total, len(payload) - total * widths[2])
    if chosen is not None and not chosen.all():
        points = np.repeat(chosen, counts)
        steps, wall_ns, values = steps[points], wall_ns[points], values[points]
        series, counts = series[chosen], counts[chosen]
    sequence = np.full(len(series), seq, np.int64)
    return series, counts, sequence, steps, wall_ns, values.astype(np.float64, copy=False)


def _content(seq: int, payload: bytes) -> bytes:
    """A row without its checksum, which is looked at."""
    if payload[:4] == _SEALED:
        try:
            payload = checked(payload)
        except Damaged as error:
            raise Damaged(f"journal row {seq} is damaged: {error}", seq) from error
    elif payload[:4] != _UNSEALED:
        raise Damaged(f"journal row {seq} is damaged or of an unknown format", seq)
    if len(payload) < _HEADER.size:
        raise Damaged(f"journal row {seq} is cut short", seq)
    return payload


def _column(payload: bytes, at: int, total: int, form: int) -> Ints:
    if form == SHORT:
        return np.frombuffer(payload, np.uint32, total, at).astype(np.int64)
    return np.frombuffer(payload, np.int64, total, at)
