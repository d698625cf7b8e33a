"""Write requests of the TensorBoard service: wire bytes in, columns out.

`decode_experiment_write` and `decode_run_write` read WriteTensorboardExperimentDataRequest and
WriteTensorboardRunDataRequest. Requests that hold only scalars in the usual form take the numpy
path of `wire_scalars`; everything else, and every error, goes through the protobuf library, which
decides what a request means. A compiled reader would replace `_fast_runs` alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from tensordeck import protos
from tensordeck.errors import InvalidArgument
from tensordeck.ingest.wire_scalars import Region, read_scalars
from tensordeck.names import shown
from tensordeck.store.contract import NO_WALL_TIME, PayloadColumns, ScalarColumns
from tensordeck.store.resources import ValueType

__all__ = [
    "FAST_FROM_BYTES",
    "OtherForm",
    "RunWrite",
    "SeriesWrite",
    "decode_experiment_write",
    "decode_run_write",
    "fields",
    "read_plain_scalars",
]

FAST_FROM_BYTES: Final = 4_000
"""Below this, about 120 points, reading attributes costs less than numpy's calls."""
_FIELDS: Final = {
    "scalar": ValueType.SCALAR,
    "tensor": ValueType.TENSOR,
    "blobs": ValueType.BLOB_SEQUENCE,
}
_LAST_KIND: Final = max(ValueType)
_SCALAR: Final = int(ValueType.SCALAR)
_NANOS: Final = 10**9
_LAST_SECOND: Final = 9_223_372_036
"""The last whole second that 64 bits of nanoseconds hold."""


@dataclass(slots=True)  # not frozen: a request makes hundreds, and freezing costs six times as much
class SeriesWrite:
    """Points for one series; never changed once made.

    Attributes:
        time_series_id: The series' id in the run.
        value_type: What its points are.
        columns: The points in the order they came.
    """

    time_series_id: str
    value_type: ValueType
    columns: ScalarColumns | PayloadColumns


@dataclass(frozen=True, slots=True)
class RunWrite:
    """Points for one run.

    Attributes:
        run_name: `tensorboard_run`, as it came.
        series: A series may come more than once.
    """

    run_name: str
    series: list[SeriesWrite]


def decode_experiment_write(data: bytes) -> tuple[str, list[RunWrite]]:
    """Reads a WriteTensorboardExperimentDataRequest.

    Returns:
        `tensorboard_experiment` and the runs' points in the order they came.

    Raises:
        InvalidArgument: If the bytes are truncated or malformed, a series mixes kinds of points,
            a point has no value, or a wall time does not fit 64 bits of nanoseconds.
    """
    if len(data) >= FAST_FROM_BYTES and (fast := _fast_experiment(data)):
        return fast
    request = protos.parse("WriteTensorboardExperimentDataRequest", data)
    return request.tensorboard_experiment, [
        _read_run(run) for run in request.write_run_data_requests
    ]


def decode_run_write(data: bytes) -> RunWrite:
    """Reads a WriteTensorboardRunDataRequest; raises as `decode_experiment_write`."""
    if len(data) >= FAST_FROM_BYTES and (fast := _fast_runs(data, [(0, len(data))])):
        return fast[0]
    return _read_run(protos.parse("WriteTensorboardRunDataRequest", data))


class OtherForm(Exception):  # noqa: N818 -- no error: the protobuf library takes over
    """The bytes are not laid out in the usual form."""


def _fast_experiment(data: bytes) -> tuple[str, list[RunWrite]] | None:
    experiment = ""
    runs: list[tuple[int, int]] = []
    try:
        for field, start, end in fields(data, 0, len(data)):
            if field == 0x0A:
                experiment = data[start:end].decode()
            elif field == 0x12:
                runs.append((start, end))
            else:
                return None
    except (OtherForm, IndexError, UnicodeDecodeError):
        return None
    result = _fast_runs(data, runs)
    return None if result is None else (experiment, result)


def _fast_runs(data: bytes, runs: list[tuple[int, int]]) -> list[RunWrite] | None:
    """Reads the runs that lie at (start, end), or returns None if any has another form."""
    regions: list[Region] = []
    headers: list[tuple[str, list[str]]] = []
    try:
        for run_start, run_end in runs:
            name, ids = "", list[str]()
            for field, start, end in fields(data, run_start, run_end):
                if field == 0x0A:
                    name = data[start:end].decode()
                elif field == 0x12:
                    series_id, points = _series_header(data, start, end)
                    ids.append(series_id)
                    regions.append(Region(points, end))
                else:
                    return None
            headers.append((name, ids))
    except (OtherForm, IndexError, UnicodeDecodeError):
        return None
    if not regions or (columns := read_scalars(data, regions)) is None:
        return None
    found = iter(columns)
    return [
        RunWrite(name, [SeriesWrite(i, ValueType.SCALAR, next(found)) for i in ids])
        for name, ids in headers
    ]


def fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields (tag, start, end) of length-delimited fields with tags of one byte.

    Raises:
        OtherForm: If another kind of field is met.
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
            raise OtherForm
        yield tag, at, stop
        at = stop


def _series_header(data: bytes, at: int, end: int) -> tuple[str, int]:
    """Reads `0a ID 10 01` and returns the id and where the points start.

    Raises:
        OtherForm: If a series of scalars with points does not start like that.
    """
    points = at + 4 + (length := data[at + 1])
    if data[at] != 0x0A or length > 0x7F or points >= end or data[points - 2 : points] != b"\x10\1":
        raise OtherForm
    return data[at + 2 : points - 2].decode(), points


def _read_run(run: Any) -> RunWrite:
    series = _read_scalar_series(run.time_series_data)
    if series is None:
        series = [_read_series(one) for one in run.time_series_data]
    return RunWrite(run.tensorboard_run, series)


def _read_scalar_series(data: Sequence[Any]) -> list[SeriesWrite] | None:
    """Reads series of plain scalars, or returns None if anything else is among them."""
    joined = read_plain_scalars(data)
    if joined is None:
        return None
    points, bounds = joined
    return [
        SeriesWrite(
            series.tensorboard_time_series_id,
            ValueType.SCALAR,
            ScalarColumns(points.steps[a:b], points.wall_ns[a:b], points.values[a:b]),
        )
        for series, (a, b) in zip(data, pairwise([0, *bounds]), strict=True)
    ]


def read_plain_scalars(data: Sequence[Any]) -> tuple[ScalarColumns, list[int]] | None:
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


def _read_series(series: Any) -> SeriesWrite:
    points = series.values
    name = series.tensorboard_time_series_id
    kinds = {point.WhichOneof("value") for point in points}
    if len(kinds) > 1 or None in kinds:
        raise InvalidArgument(
            f"`time_series_data` of {shown(name)} must hold one kind of value in every point; "
            f"found {', '.join(sorted(k or 'no value' for k in kinds))}."
        )
    declared = series.value_type
    if declared > _LAST_KIND or declared < 0:
        raise InvalidArgument(f"`value_type` of {shown(name)} can't be {declared}.")
    value_type = _FIELDS[kinds.pop()] if kinds else ValueType(declared or ValueType.SCALAR)
    if declared and declared != value_type:
        raise InvalidArgument(
            f"`value_type` of {shown(name)} is {ValueType(declared).name}, "
            f"but its points are {value_type.name}."
        )
    steps = np.array([point.step for point in points], np.int64)
    wall_ns = np.array(_wall_times(name, points), np.int64)
    if value_type is ValueType.SCALAR:
        values = np.array([point.scalar.value for point in points], np.float64)
        return SeriesWrite(name, value_type, ScalarColumns(steps, wall_ns, values))
    if value_type is ValueType.TENSOR:
        tensors = [point.tensor for point in points]
        columns = PayloadColumns(
            steps,
            wall_ns,
            [tensor.value for tensor in tensors],
            [tensor.version_number for tensor in tensors],
            [0] * len(tensors),
        )
    else:
        sequences = [point.blobs for point in points]
        columns = PayloadColumns(
            steps,
            wall_ns,
            [_references(sequence) for sequence in sequences],
            [0] * len(sequences),
            [len(sequence.values) for sequence in sequences],
        )
    return SeriesWrite(name, value_type, columns)


def _references(sequence: Any) -> bytes:
    """A blob sequence's bytes without the blobs' data, which rest in the blob store."""
    for blob in sequence.values:
        blob.ClearField("data")
    result: bytes = sequence.SerializeToString(deterministic=True)
    return result


def _wall_times(series: str, points: Sequence[Any]) -> list[int]:
    result = []
    for point in points:
        if not point.HasField("wall_time"):
            result.append(NO_WALL_TIME)
            continue
        wall = point.wall_time
        nanoseconds = wall.seconds * _NANOS + wall.nanos
        if not 0 <= wall.nanos < _NANOS or not NO_WALL_TIME < nanoseconds < 2**63:
            raise InvalidArgument(
                f"`wall_time` of a point of {shown(series)} is out of range: "
                f"{wall.seconds} s and {wall.nanos} ns; it must lie between 1677 and 2262."
            )
        result.append(nanoseconds)
    return result
