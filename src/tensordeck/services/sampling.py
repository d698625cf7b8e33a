"""Which points a read returns where it may leave some out."""

import numpy as np
import numpy.typing as npt

from tensordeck.store.contract import Ints, PayloadColumns, ScalarColumns

Columns = ScalarColumns | PayloadColumns


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
