"""Write requests of the TensorBoard service: wire bytes in, columns out.

`decode_experiment_write` and `decode_run_write` read any WriteTensorboardExperimentDataRequest and
WriteTensorboardRunDataRequest with the protobuf library, which decides what a request means and
what is wrong with it. Plain scalars, nearly all that is ever written, are read by `wire_group`.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct

from tensordeck import protos
from tensordeck.errors import InvalidArgument
from tensordeck.names import shown
from tensordeck.store.contract import NO_WALL_TIME, PayloadColumns, ScalarColumns
from tensordeck.store.resources import ValueType

__all__ = ["RunWrite", "SeriesWrite", "decode_experiment_write", "decode_run_write"]

_FIELDS: Final = {
    "scalar": ValueType.SCALAR,
    "tensor": ValueType.TENSOR,
    "blobs": ValueType.BLOB_SEQUENCE,
}
_LAST_KIND: Final = max(ValueType)
_NANOS: Final = 10**9


class SeriesWrite(Struct, frozen=True):
    """Points for one series; never changed once made.

    Attributes:
        time_series_id: The series' id in the run.
        value_type: What its points are.
        columns: The points in the order they came.
    """

    time_series_id: str
    value_type: ValueType
    columns: ScalarColumns | PayloadColumns


class RunWrite(Struct, frozen=True):
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
    request = protos.parse("WriteTensorboardExperimentDataRequest", data)
    return request.tensorboard_experiment, [
        _read_run(run) for run in request.write_run_data_requests
    ]


def decode_run_write(data: bytes) -> RunWrite:
    """Reads a WriteTensorboardRunDataRequest; raises as `decode_experiment_write`."""
    return _read_run(protos.parse("WriteTensorboardRunDataRequest", data))


def _read_run(run: Any) -> RunWrite:
    return RunWrite(run.tensorboard_run, [_read_series(one) for one in run.time_series_data])


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
