"""Fewer points that draw the same picture.

A random sample, which stock TensorBoard takes, loses the first step, the peaks and the one NaN
that somebody looks for. Here the extremes of every pixel's worth of steps survive (min-max, then
largest triangles: https://arxiv.org/abs/2305.00332), with the first point, the last one, and the
borders of every stretch of NaN or infinities. The choice depends on the points alone.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tensordeck.store.contract import Floats, Ints

__all__ = ["SCALARS", "evenly_spaced", "shape_keeping"]

SCALARS: Final = 1000
"""Scalar points of a series on one chart, as in stock TensorBoard."""

Indices = npt.NDArray[np.intp]


def shape_keeping(steps: Ints, values: Floats, limit: int) -> Indices | None:
    """Chooses points of one series.

    Args:
        steps: Ascending, each once.
        values: One a step.
        limit: At most this many points; at least 2.

    Returns:
        Ascending indices; None when all points fit.
    """
    count = len(steps)
    if count <= limit:
        return None
    finite = np.isfinite(values)
    if finite.all():
        return _finite_shape(steps, values, limit)
    holes = _borders(~finite)
    ends = np.array([0, count - 1])
    forced = np.union1d(holes, ends)
    if len(forced) > limit // 2:
        # Half of the room still shows how the finite values run.
        forced = np.union1d(holes[evenly_spaced(len(holes), max(limit // 2 - 2, 0))], ends)
    inside = np.flatnonzero(finite)
    room = limit - len(forced)
    if len(inside) > room:
        inside = (
            inside[_finite_shape(steps[inside], values[inside], room)] if room > 1 else inside[:0]
        )
    return np.union1d(forced, inside).astype(np.intp)


def evenly_spaced(count: int, limit: int) -> Indices:
    """Chooses `limit` of `count` positions, evenly, both ends included."""
    if count <= limit:
        return np.arange(count)
    if limit < 2:
        return np.arange(count - limit, count)
    return np.unique(np.linspace(0, count - 1, limit).round().astype(np.intp))


def _finite_shape(steps: Ints, values: Floats, limit: int) -> Indices:
    if limit < 3:
        return np.array([0, len(steps) - 1])[:limit]
    # Compiled code, loaded with the first series that needs it.
    from tsdownsample import MinMaxLTTBDownsampler  # noqa: PLC0415

    downsampler: Any = MinMaxLTTBDownsampler  # without types
    chosen: Indices = (
        downsampler()
        .downsample(np.ascontiguousarray(steps), np.ascontiguousarray(values), n_out=limit)
        .astype(np.intp)
    )
    # Sorting costs as much as choosing, and the choice is ascending unless a bucket was empty.
    return chosen if (np.diff(chosen) > 0).all() else np.unique(chosen)


def _borders(inside: npt.NDArray[np.bool_]) -> Indices:
    """The first and last index of each stretch of True."""
    padded = np.concatenate(([False], inside, [False]))
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return np.union1d(edges[::2], edges[1::2] - 1).astype(np.intp)
