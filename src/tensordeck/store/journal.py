"""The bytes of a journal row: the scalar points of one run in one request.

    magic (uint32), number of chunks (uint32), number of points (uint64)
    series_pk: int64 a chunk
    number of points, at least one: int64 a chunk
    steps: int64 a point, chunk after chunk
    wall times, ns: int64 a point
    values: float64 a point

All little-endian and uncompressed: a row lives for seconds. A row without points records that
payloads of the run were written.
"""

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tensordeck.store.contract import Floats, Ints, ScalarColumns

__all__ = ["Batch", "decode_rows", "encode_row", "in_step_order"]

_HEADER: Final = struct.Struct("<IIQ")
_MAGIC: Final = 0x314A4454  # "TDJ1"


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
    if not chunks:
        return _HEADER.pack(_MAGIC, 0, 0)
    columns = [points for _, points in chunks]
    counts = [len(points.steps) for points in columns]
    return b"".join(
        (
            _HEADER.pack(_MAGIC, len(chunks), sum(counts)),
            np.array([pk for pk, _ in chunks], np.int64).tobytes(),
            np.array(counts, np.int64).tobytes(),
            np.concatenate([points.steps for points in columns], dtype=np.int64).tobytes(),
            np.concatenate([points.wall_ns for points in columns], dtype=np.int64).tobytes(),
            np.concatenate([points.values for points in columns], dtype=np.float64).tobytes(),
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
        ValueError: If a payload is no journal row.
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
    magic, n_chunks, n_points = _HEADER.unpack_from(payload)
    if magic != _MAGIC or len(payload) != _HEADER.size + 16 * n_chunks + 24 * n_points:
        raise ValueError("A journal row is damaged or of an unknown format.")
    words: Ints = np.frombuffer(payload, np.int64, offset=_HEADER.size)
    series, counts = words[:n_chunks], words[n_chunks : 2 * n_chunks]
    points: npt.NDArray[np.int64] = words[2 * n_chunks :].reshape(3, n_points)
    if wanted is not None:
        chosen = np.isin(series, wanted)
        if not chosen.all():
            points = points[:, np.repeat(chosen, counts)]
            series, counts = series[chosen], counts[chosen]
    if not len(series):
        return None
    sequence = np.full(len(series), seq, np.int64)
    return series, counts, sequence, points[0], points[1], points[2].view(np.float64)
