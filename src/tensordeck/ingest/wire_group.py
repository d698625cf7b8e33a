"""Plain scalar writes of several callers, decoded together.

`ingest.scalar_reader` reads them where it could be compiled, else numpy does in ten times the time:
what a numpy call costs hardly depends on how much it is given, so that sixteen requests cost little
more than one. Requests of any other content are left to `ingest.wire`.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from msgspec import Struct

from tensordeck import protos
from tensordeck.ingest.wire_scalars import read_joined_scalars
from tensordeck.store.contract import ScalarColumns
from tensordeck.store.resources import ValueType

try:
    from tensordeck.ingest.scalar_reader import read_scalars
except ImportError:  # there was no compiler when Tensordeck was installed
    read_scalars = None  # type: ignore[assignment]  # the stub says that it is always there

__all__ = ["Request", "RunPoints", "ScalarWrite", "decode_together"]


FAST_FROM_BYTES: Final = 4_000
"""Below this, about 120 points, reading attributes costs less than numpy's calls."""
TOGETHER_BYTES: Final = 192 * 1024
"""About as much is decoded at a time: with more, numpy's temporary arrays outgrow the cache."""

_SCALAR: Final = int(ValueType.SCALAR)
_NANOS: Final = 10**9
_LAST_SECOND: Final = 9_223_372_036
"""The last whole second that 64 bits of nanoseconds hold."""


class Request(NamedTuple):
    """A write request's bytes.

    Attributes:
        data: The message.
        whole_experiment: Whether it is a WriteTensorboardExperimentDataRequest, else a
            WriteTensorboardRunDataRequest.
    """

    data: bytes
    whole_experiment: bool


class RunPoints(Struct):
    """Scalar points for one run; never changed once made.

    Attributes:
        run_name: `tensorboard_run`, as it came.
        ids: Time series ids; one may come more than once.
        counts: How many points each has, at least one.
        columns: The points, series after series.
    """

    run_name: str
    ids: list[str]
    counts: list[int]
    columns: ScalarColumns


class ScalarWrite(Struct):
    """A request that holds scalars only.

    Attributes:
        experiment: `tensorboard_experiment`, as it came; empty in a write to one run.
        runs: The points in the order they came.
    """

    experiment: str
    runs: list[RunPoints]


class _OtherForm(Exception):  # noqa: N818 -- no error: the protobuf library takes over
    """The bytes are not laid out in the usual form."""


class _RunLayout:
    """Where the series of one run lie in a request's bytes."""

    __slots__ = ("ends", "ids", "name", "starts")

    def __init__(self) -> None:
        self.name = ""
        self.ids: list[str] = []
        self.starts: list[int] = []
        self.ends: list[int] = []


_Layout = tuple[str, list[_RunLayout]]
"""The experiment, and its runs."""


def decode_together(requests: Sequence[Request]) -> list[ScalarWrite | None]:
    """Decodes requests.

    Returns:
        For each request its points, or None if it holds anything else than plain scalars, or is
        malformed: `ingest.wire` says what it is.
    """
    if read_scalars is not None:
        return [_read_compiled(request) for request in requests]
    result: list[ScalarWrite | None] = []
    at = 0
    while at < len(requests):
        end, size = at + 1, len(requests[at].data)
        while end < len(requests) and size < TOGETHER_BYTES:
            size += len(requests[end].data)
            end += 1
        result += _decode_some(requests[at:end], size)
        at = end
    return result


def _read_compiled(request: Request) -> ScalarWrite | None:
    """Decodes one request with the compiled reader."""
    found = read_scalars(request.data, request.whole_experiment)
    if found is None:
        return None
    experiment, runs, steps, wall_ns, values = found
    return ScalarWrite(
        experiment,
        [
            RunPoints(
                name,
                ids,
                counts,
                ScalarColumns(steps[start:end], wall_ns[start:end], values[start:end]),
            )
            for name, ids, counts, start, end in runs
        ],
    )


def _decode_some(requests: Sequence[Request], size: int) -> list[ScalarWrite | None]:
    if size >= FAST_FROM_BYTES:
        result = _decode_joined(requests)
        if result is not None:
            return result
        if len(requests) > 1:
            # One of them has another form; the others need not pay for it.
            return [one for r in requests for one in _decode_some([r], len(r.data))]
    return [_decode_message(request) for request in requests]


def _decode_joined(requests: Sequence[Request]) -> list[ScalarWrite | None] | None:
    layouts: list[_Layout] = []
    starts: list[int] = []
    ends: list[int] = []
    base = 0
    for request in requests:
        layout = _layout(request, base)
        if layout is None:
            return None
        layouts.append(layout)
        for run in layout[1]:
            starts += run.starts
            ends += run.ends
        base += len(request.data)
    if not starts:
        return None
    joined = read_joined_scalars(b"".join([request.data for request in requests]), starts, ends)
    if joined is None:
        return None
    points, bounds = joined
    result: list[ScalarWrite | None] = []
    series = point = 0
    for experiment, found in layouts:
        runs = []
        for run in found:
            last = series + len(run.ids)
            runs.append(_run_points(run.name, run.ids, points, point, bounds[series:last]))
            if last > series:
                series, point = last, bounds[last - 1]
        result.append(ScalarWrite(experiment, runs))
    return result


def _run_points(
    name: str, ids: list[str], points: ScalarColumns, start: int, ends: list[int]
) -> RunPoints:
    starts = [start, *ends]
    counts = [b - a for a, b in pairwise(starts)]
    end = starts[-1]
    return RunPoints(
        name,
        ids,
        counts,
        ScalarColumns(points.steps[start:end], points.wall_ns[start:end], points.values[start:end]),
    )


def _layout(request: Request, base: int) -> _Layout | None:
    """Finds a request's series; places count from `base`."""
    data = request.data
    experiment = ""
    runs: list[_RunLayout] = []
    try:
        if request.whole_experiment:
            for tag, start, end in _fields(data, 0, len(data)):
                if tag == 0x0A:
                    experiment = data[start:end].decode()
                elif tag == 0x12:
                    runs.append(_run_layout(data, start, end, base))
                else:
                    return None
        else:
            runs.append(_run_layout(data, 0, len(data), base))
    except (_OtherForm, IndexError, UnicodeDecodeError):
        return None
    return experiment, runs


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields (tag, start, end) of length-delimited fields with tags of one byte.

    Raises:
        _OtherForm: If another kind of field is met.
        IndexError: If the data end inside a field's head.
    """
    while at < end:
        tag, length, at = data[at], data[at + 1], at + 2
        if length > 0x7F:
            length &= 0x7F
            shift = 7
            while True:
                byte = data[at]
                at += 1
                length |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
                shift += 7
        stop = at + length
        if tag & 7 != 2 or stop > end:
            raise _OtherForm
        yield tag, at, stop
        at = stop


def _run_layout(data: bytes, at: int, end: int, base: int) -> _RunLayout:
    """Finds the series of one run.

    It is the one loop of Python that a write runs through once a series: no calls, no objects.
    """
    run = _RunLayout()
    add_id, add_start, add_end = run.ids.append, run.starts.append, run.ends.append
    while at < end:
        tag, length, at = data[at], data[at + 1], at + 2
        if length > 0x7F:
            length = length & 0x7F | data[at] << 7
            at += 1
            if length > 0x3FFF:
                # A third byte: `data[at - 1]` had its high bit set, which counts for nothing.
                length = length & 0x3FFF | data[at] << 14
                at += 1
                if length > 0x1FFFFF:
                    raise _OtherForm
        stop = at + length
        if stop > end:
            raise _OtherForm
        if tag == 0x12:
            # `0a ID 10 01` and then the points: a series of scalars.
            first = at + 4 + (size := data[at + 1])
            if (
                data[at] != 0x0A
                or size > 0x7F
                or first >= stop
                or data[first - 1] != 1
                or data[first - 2] != 0x10
            ):
                raise _OtherForm
            add_id(data[at + 2 : first - 2].decode())
            add_start(base + first)
            add_end(base + stop)
        elif tag == 0x0A:
            run.name = data[at:stop].decode()
        else:
            raise _OtherForm
        at = stop
    return run


def _decode_message(request: Request) -> ScalarWrite | None:
    """Decodes one request with the protobuf library."""
    kind = "Experiment" if request.whole_experiment else "Run"
    message = protos.message(f"WriteTensorboard{kind}DataRequest")
    try:
        decoded = message.FromString(request.data)
    except protos.DecodeError:
        return None
    parts = decoded.write_run_data_requests if request.whole_experiment else [decoded]
    runs = []
    for run in parts:
        series = [one for one in run.time_series_data if one.values]
        found = _read_plain_scalars(series)
        if found is None:
            return None
        points, bounds = found
        ids = [one.tensorboard_time_series_id for one in series]
        runs.append(_run_points(run.tensorboard_run, ids, points, 0, bounds))
    return ScalarWrite(decoded.tensorboard_experiment if request.whole_experiment else "", runs)


def _read_plain_scalars(data: Sequence[Any]) -> tuple[ScalarColumns, list[int]] | None:
    """Reads TimeSeriesData messages of plain scalars into one set of columns.

    A call that logs one step holds a point for each of many series. Arrays are made for the call,
    not for each series: making one costs as much as reading a point.

    Returns:
        The columns, and where each series' points end in them; None if anything else is there.
    """
    steps: list[int] = []
    wall_ns: list[int] = []
    values: list[float] = []
    bounds: list[int] = []
    for series in data:
        if series.value_type != _SCALAR:
            return None
        for point in series.values:
            wall = point.wall_time
            seconds, nanos = wall.seconds, wall.nanos
            if not 0 < seconds < _LAST_SECOND or not 0 <= nanos < _NANOS:
                return None
            if not point.HasField("scalar"):
                return None
            steps.append(point.step)
            wall_ns.append(seconds * _NANOS + nanos)
            values.append(point.scalar.value)
        bounds.append(len(steps))
    columns = ScalarColumns(
        np.array(steps, np.int64), np.array(wall_ns, np.int64), np.array(values, np.float64)
    )
    return columns, bounds
