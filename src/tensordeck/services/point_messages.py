"""Points from the store's columns to the API's messages."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tensordeck import protos
from tensordeck.services.times import set_nanos
from tensordeck.store.contract import NO_WALL_TIME, Ints, PayloadColumns, ScalarColumns
from tensordeck.store.resources import ValueType

Columns = ScalarColumns | PayloadColumns
_NANOS: Final = 10**9


def evenly_spaced(count: int, limit: int) -> Ints:
    """Chooses at most `limit` of `count` points, evenly, the first and the last among them."""
    if count <= limit:
        return np.arange(count, dtype=np.int64)
    if limit == 1:
        return np.array([count - 1], np.int64)  # the last is what a caller takes as latest
    return np.linspace(0, count - 1, limit).round().astype(np.int64)


def take(columns: Columns, indices: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Columns:
    """Returns some of the points: those at the indices, or where the mask is set."""
    steps, wall_ns = columns.steps[indices], columns.wall_ns[indices]
    if isinstance(columns, ScalarColumns):
        return ScalarColumns(steps, wall_ns, columns.values[indices])
    chosen = np.arange(len(columns.steps))[indices].tolist()
    return PayloadColumns(
        steps,
        wall_ns,
        [columns.payloads[i] for i in chosen],
        [columns.versions[i] for i in chosen],
        [columns.lengths[i] for i in chosen],
    )


def add_points(target: Any, columns: Columns, value_type: ValueType) -> None:
    """Appends points to a repeated TimeSeriesDataPoint field, in order."""
    steps, walls = columns.steps.tolist(), columns.wall_ns.tolist()
    if isinstance(columns, ScalarColumns):
        for step, wall, value in zip(steps, walls, columns.values.tolist(), strict=True):
            point = target.add(step=step)
            point.scalar.value = value
            _set_wall(point, wall)
        return
    sequence = protos.message("TensorboardBlobSequence")
    for step, wall, payload, version in zip(
        steps, walls, columns.payloads, columns.versions, strict=True
    ):
        point = target.add(step=step)
        if value_type is ValueType.TENSOR:
            point.tensor.value = payload
            point.tensor.version_number = version
        else:
            point.blobs.CopyFrom(sequence.FromString(payload))
        _set_wall(point, wall)


def _set_wall(point: Any, wall_ns: int) -> None:
    if wall_ns != NO_WALL_TIME:
        set_nanos(point.wall_time, wall_ns)
