"""Scalar columns as JSON text, without a Python object a point.

A chart of 100 runs holds 100,000 points. Turned into dictionaries first they cost 100 bytes and
half a microsecond each; here orjson writes a whole column at once and the texts are interleaved.
"""

from typing import Final

import numpy as np
import orjson

from tensordeck.board.downsampling import shape_keeping
from tensordeck.store.contract import NO_WALL_TIME, Floats, Ints, ScalarColumns

__all__ = ["displayed", "event_objects", "event_rows", "wall_seconds"]

_NON_FINITE: Final = (
    (np.isnan, b'"NaN"'),
    (np.isposinf, b'"Infinity"'),
    (np.isneginf, b'"-Infinity"'),
)


def displayed(columns: ScalarColumns, limit: int) -> ScalarColumns:
    """Cuts a series down to the points that are shown."""
    chosen = shape_keeping(columns.steps, columns.values, limit)
    if chosen is None:
        return columns
    return ScalarColumns(columns.steps[chosen], columns.wall_ns[chosen], columns.values[chosen])


def event_objects(columns: ScalarColumns) -> bytes:
    """`[{"wallTime":…,"step":…,"value":…}, …]`, as the Time Series tab reads it."""
    return _interleaved(columns, (b'{"wallTime":', b',"step":', b',"value":', b"}"))


def event_rows(columns: ScalarColumns) -> bytes:
    """`[[wall time, step, value], …]`, as the Scalars tab reads it."""
    return _interleaved(columns, (b"[", b",", b",", b"]"))


def wall_seconds(wall_ns: Ints) -> Floats:
    """Nanoseconds to seconds since the epoch; 0 for a point without a wall time."""
    seconds: Floats = np.where(wall_ns == NO_WALL_TIME, 0, wall_ns) / 1e9
    return seconds


def _interleaved(columns: ScalarColumns, frame: tuple[bytes, bytes, bytes, bytes]) -> bytes:
    count = len(columns.steps)
    if not count:
        return b"[]"
    before, first, second, after = frame
    texts = [b""] * (6 * count + 1)
    texts[0::6] = [after + b"," + before] * (count + 1)
    texts[1::6] = _numbers(wall_seconds(columns.wall_ns))
    texts[2::6] = [first] * count
    texts[3::6] = _numbers(columns.steps)
    texts[4::6] = [second] * count
    texts[5::6] = _numbers(columns.values)
    texts[0] = b"[" + before
    texts[-1] = after + b"]"
    return b"".join(texts)


def _numbers(column: Ints | Floats) -> list[bytes]:
    """Each number's JSON text; non-finite ones as the strings that the web app expects."""
    contiguous = np.ascontiguousarray(column)
    texts = orjson.dumps(contiguous, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        for which, text in _NON_FINITE:
            for index in np.flatnonzero(which(column)).tolist():
                texts[index] = text
    return texts
