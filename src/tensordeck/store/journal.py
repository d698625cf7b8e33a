"""The bytes of a journal row: the scalar points of one run in one request.

    magic "TDJ3", number of chunks (uint32), number of points (uint64)
    form of steps, of wall times, of values (a byte each), five zero bytes
    smallest step (int64), smallest wall time (int64)
    series_pk: int64 a chunk
    number of points, at least one: int64 a chunk
    steps, then wall times (ns), then values: a word a point, chunk after chunk; of a `REPEATED`
        column the words of the first chunk alone
    checksum of all before: CRC-32C (uint32); rows of older versions, magic "TDJ1", have none

All little-endian. A row lives for seconds, so it is only made shorter where that costs less than
writing it whole: in form `SHORT` a word has 32 bits: of a step, what it exceeds the smallest by;
of a wall time, the same in milliseconds; of a value, a float32 that is exact. In form `WHOLE` a
word has 64 bits. Steps and wall times are mostly those of the whole request: where all chunks have
the same, their form is also `REPEATED`. A row without points records that payloads of the run were
written. Rows with the magic "TDJ2" have no `REPEATED` columns.
"""

import struct
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from tensordeck.store.checksum import Damaged, checked, sealed
from tensordeck.store.contract import ScalarColumns
from tensordeck.store.journal_numpy import REPEATED, SHORT, WHOLE, Row

try:
    from tensordeck.store.journal_columns import gather, shorten
except ImportError:  # there was no compiler when Tensordeck was installed
    from tensordeck.store.journal_numpy import gather, shorten

__all__ = ["Batch", "decode_rows", "encode_columns", "encode_row", "in_step_order"]

_HEADER: Final = struct.Struct("<4sIQBBB5xqq")
_UNSEALED: Final = b"TDJ1"
_UNREPEATED: Final = b"TDJ2"
_SEALED: Final = b"TDJ3"
_SHORTEN_FROM: Final = 64
"""From so many points on it pays to look for a shorter form."""


class Batch(Struct, frozen=True):
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
    joined = (
        columns[0]
        if len(columns) == 1
        else ScalarColumns(
            np.concatenate([points.steps for points in columns] or [_NOTHING]),
            np.concatenate([points.wall_ns for points in columns] or [_NOTHING]),
            np.concatenate([points.values for points in columns] or [_NOTHING.view(np.float64)]),
        )
    )
    return encode_columns(
        [pk for pk, _ in chunks], [points.steps.size for points in columns], joined
    )


_NOTHING: Final = np.empty(0, np.int64)


def encode_columns(
    series_pks: Sequence[int], counts: Sequence[int], points: ScalarColumns
) -> bytes:
    """As `encode_row`, of points that stand behind one another already.

    Args:
        series_pks: The series.
        counts: The number of points of each, at least one.
        points: int64, int64 and float64, series after series.

    Raises:
        TypeError: If the columns are not of one length.
    """
    steps, wall_ns, values = points.steps, points.wall_ns, points.values
    total = sum(counts)
    if not steps.nbytes == wall_ns.nbytes == values.nbytes == 8 * total:
        raise TypeError("Columns must have 64-bit words and one length.")
    if total < _SHORTEN_FROM:
        forms, bases = (WHOLE, WHOLE, WHOLE), (0, 0)
        content = b"".join((steps.tobytes(), wall_ns.tobytes(), values.tobytes()))
    else:
        alike = counts.count(counts[0]) == len(counts)
        forms, bases, content = shorten(steps, wall_ns, values, counts[0] if alike else total)
    return sealed(
        b"".join(
            (
                _HEADER.pack(_SEALED, len(counts), total, *forms, *bases),
                struct.pack(f"<{2 * len(counts)}q", *series_pks, *counts),
                content,
            )
        )
    )


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
    opened = [_opened(seq, payload) for seq, payload in rows]
    try:
        series, steps, wall_ns, values = gather(opened, None if only is None else set(only))
    except ValueError as error:
        seq = error.args[0]
        raise Damaged(f"journal row {seq} is damaged: its counts do not fit", seq) from error
    result: dict[int, Batch] = {}
    for pk, a, b, minimum, maximum, max_wall_ns, version, growing in series:
        points = ScalarColumns(steps[a:b], wall_ns[a:b], values[a:b])
        if not growing:
            points = in_step_order(points)
        result[pk] = Batch(points, minimum, maximum, max_wall_ns, version)
    return result


def _opened(seq: int, payload: bytes) -> Row:
    """Looks at a row's checksum, head and length."""
    payload = _content(seq, payload)
    _, chunks, points, steps, walls, values, first_step, first_wall = _HEADER.unpack_from(payload)
    at = _HEADER.size + 16 * chunks
    each, rest = divmod(points, chunks or 1)
    forms = (steps, walls, values)
    size = sum((4 if form & SHORT else 8) * (each if form & REPEATED else points) for form in forms)
    unequal = (rest or not chunks) and (steps | walls) & REPEATED
    if len(payload) != at + size or unequal or values & REPEATED:
        raise Damaged(f"journal row {seq} is damaged: its length does not fit", seq)
    return Row(seq, payload, chunks, points, forms, first_step, first_wall, at)


def _content(seq: int, payload: bytes) -> bytes:
    """A row without its checksum, which is looked at."""
    if payload[:4] in (_SEALED, _UNREPEATED):
        try:
            payload = checked(payload)
        except Damaged as error:
            raise Damaged(f"journal row {seq} is damaged: {error}", seq) from error
    elif payload[:4] != _UNSEALED:
        raise Damaged(f"journal row {seq} is damaged or of an unknown format", seq)
    if len(payload) < _HEADER.size:
        raise Damaged(f"journal row {seq} is cut short", seq)
    return payload


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
