"""Columns of points as wire bytes of TimeSeriesData: the reverse of `wire`.

Scalars are laid out with numpy, in the form that `wire_scalars` draws: every field of every point
is put at its computed offset as one or two 64-bit words; what a word holds too much is overwritten
by the field that follows it. Points that need a longer form (negative steps, times before 1978 or
none) and other kinds go through the protobuf library.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tensordeck import protos
from tensordeck.store.contract import NO_WALL_TIME, Ints, PayloadColumns, ScalarColumns
from tensordeck.store.resources import ValueType

__all__ = ["columns_to_time_series_data", "points_to_bytes"]

Words = npt.NDArray[np.uint64]

_NANOS: Final = 10**9
_EARLIEST: Final = 2**28 * _NANOS
"""From here on, in 1978, a time's seconds take five bytes."""
_STEP_LIMIT: Final = 2**56
"""Below this, a step's varint fits one word."""
_CHUNK: Final = 65_536
"""So many points are laid out at once, which bounds the memory."""


def columns_to_time_series_data(
    series_id: str, value_type: ValueType, columns: ScalarColumns | PayloadColumns
) -> bytes:
    """Writes a TimeSeriesData message.

    Args:
        series_id: `tensorboard_time_series_id`.
        value_type: What the points are.
        columns: The points, in the order that they are to have.
    """
    head = protos.message("TimeSeriesData")(
        tensorboard_time_series_id=series_id, value_type=int(value_type)
    )
    result: bytes = head.SerializeToString() + points_to_bytes(value_type, columns)
    return result


def points_to_bytes(value_type: ValueType, columns: ScalarColumns | PayloadColumns) -> bytes:
    """Writes points as the `values` of a TimeSeriesData message."""
    if isinstance(columns, ScalarColumns):
        chunks = range(0, len(columns.steps), _CHUNK)
        return b"".join(_scalars(_cut(columns, at, at + _CHUNK)) for at in chunks)
    message: Any = protos.message("TimeSeriesData")()
    points = zip(
        columns.steps.tolist(),
        columns.wall_ns.tolist(),
        columns.payloads,
        columns.versions,
        strict=True,
    )
    for step, wall_ns, payload, version in points:
        point = _add_point(message, step, wall_ns)
        if value_type is ValueType.TENSOR:
            point.tensor.value = payload
            point.tensor.version_number = version
        else:
            point.blobs.SetInParent()
            point.blobs.MergeFromString(payload)
    result: bytes = message.SerializeToString()
    return result


def _cut(columns: ScalarColumns, start: int, end: int) -> ScalarColumns:
    return ScalarColumns(
        columns.steps[start:end], columns.wall_ns[start:end], columns.values[start:end]
    )


def _scalars(columns: ScalarColumns) -> bytes:
    steps, wall_ns = columns.steps, columns.wall_ns
    if int(steps.min()) < 0 or int(steps.max()) >= _STEP_LIMIT or int(wall_ns.min()) < _EARLIEST:
        return _slow_scalars(columns)
    seconds, nanos = np.divmod(wall_ns.view(np.uint64), np.uint64(_NANOS))
    nano_bytes = np.where(nanos > 0, _varint_length(nanos, 5) + 1, 0)  # with the tag
    step_bytes = _varint_length(steps.view(np.uint64), 8)

    # Offsets in the point: head and seconds 0..9, nanos from 10, step, then eleven of the scalar.
    step_at = 10 + nano_bytes
    scalar_at = step_at + 1 + step_bytes
    size = scalar_at + 11
    end = np.cumsum(size)
    start = end - size
    buffer = bytearray(int(end[-1]) + 8)
    words: Words = np.ndarray((len(buffer) - 7,), np.dtype("<u8"), buffer, strides=(1,))

    times = _spread(seconds) | np.uint64(0x80808080)  # five bytes: the last ends the varint
    words[start] = (
        np.uint64(0x08_00_0A_00_1A)
        | (size - 2).astype(np.uint64) << np.uint64(8)
        | (6 + nano_bytes).astype(np.uint64) << np.uint64(24)
        | times << np.uint64(40)
    )
    words[start + 8] = times >> np.uint64(24) | _tagged(nanos, nano_bytes - 1) << np.uint64(16)
    words[start + step_at] = np.uint64(0x10)
    words[start + step_at + 1] = _varint(steps.view(np.uint64), step_bytes)
    words[start + scalar_at] = np.uint64(0x09091A)
    words[start + scalar_at + 3] = columns.values.view(np.uint64)
    return bytes(memoryview(buffer)[:-8])


def _tagged(nanos: Words, length: Ints) -> Words:
    """The nanos field, at most six bytes; zero, which the step overwrites, where it is absent."""
    return np.uint64(0x10) | _varint(nanos, np.maximum(length, 1)) << np.uint64(8)


def _varint(numbers: Words, length: Ints) -> Words:
    """The varint of each number, which takes `length` bytes, as a word."""
    continued = np.uint64(0x80808080808080) & _KEPT[length - 1]
    return _spread(numbers) | continued


_KEPT: Final = np.array([(1 << 8 * n) - 1 for n in range(8)], np.uint64)


def _varint_length(numbers: Words, most: int) -> Ints:
    length = np.ones(len(numbers), np.int64)
    for bits in range(7, 7 * most, 7):
        length += numbers >= np.uint64(1 << bits)
    return length


def _spread(numbers: Words) -> Words:
    """Moves each group of seven bits to a byte of its own: up to 56 bits, in three rounds."""
    x = numbers
    x = x & np.uint64(0x000000000FFFFFFF) | (x & np.uint64(0x00FFFFFFF0000000)) << np.uint64(4)
    x = x & np.uint64(0x00003FFF00003FFF) | (x & np.uint64(0x0FFFC0000FFFC000)) << np.uint64(2)
    return x & np.uint64(0x007F007F007F007F) | (x & np.uint64(0x3F803F803F803F80)) << np.uint64(1)


def _slow_scalars(columns: ScalarColumns) -> bytes:
    message: Any = protos.message("TimeSeriesData")()
    points = zip(
        columns.steps.tolist(), columns.wall_ns.tolist(), columns.values.tolist(), strict=True
    )
    for step, wall_ns, value in points:
        _add_point(message, step, wall_ns).scalar.value = value
    result: bytes = message.SerializeToString()
    return result


def _add_point(message: Any, step: int, wall_ns: int) -> Any:
    point = message.values.add(step=step)
    if wall_ns != NO_WALL_TIME:
        point.wall_time.seconds, point.wall_time.nanos = divmod(wall_ns, _NANOS)
    return point
