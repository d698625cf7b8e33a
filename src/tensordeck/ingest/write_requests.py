"""Points as the messages that write them: packed into as few as the limits allow."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from tensordeck import protos
from tensordeck.ingest.summaries import NamedBlob, ValueType

__all__ = ["Columns", "SeriesPoints", "halves", "size_of", "write_requests"]

Value: TypeAlias = float | bytes | tuple[bytes, ...]
Columns: TypeAlias = dict[int, tuple[float, Value]]
"""A series' points: wall time and value by step."""

POINTS_PER_REQUEST: Final = 5000
_BYTES_PER_REQUEST: Final = 4 << 20
_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31T23:59:59Z, the end of Timestamp's range


class SeriesPoints(NamedTuple):
    """Points of one series on the server.

    Attributes:
        run: The run's full name.
        series_id: The last part of the series' name.
        value_type: The kind of its values.
        columns: The points.
    """

    run: str
    series_id: str
    value_type: ValueType
    columns: Columns


def write_requests(experiment: str, points: Iterable[SeriesPoints]) -> Iterator[Any]:
    """Packs points into WriteTensorboardExperimentData requests.

    Args:
        experiment: The experiment's full name.
        points: What to write; series of one run one after the other.
    """
    write = protos.message("WriteTensorboardExperimentDataRequest")
    request, count, size = write(tensorboard_experiment=experiment), 0, 0
    for series in points:
        data = None
        for step, (wall_time, value) in series.columns.items():
            weight = size_of(value)
            if count == POINTS_PER_REQUEST or (count and size + weight > _BYTES_PER_REQUEST):
                yield request
                request, count, size = write(tensorboard_experiment=experiment), 0, 0
                data = None
            if data is None:
                data = _series_data(request, series)
            _set(data.values.add(step=step), wall_time, value)
            count, size = count + 1, size + weight
    if count:
        yield request


def halves(request: Any) -> list[Any]:
    """Two requests that write the same together; none if there is only one series in it."""
    written = [
        (run.tensorboard_run, data)
        for run in request.write_run_data_requests
        for data in run.time_series_data
    ]
    if len(written) < 2:
        return []
    found = []
    for part in (written[: len(written) // 2], written[len(written) // 2 :]):
        half = type(request)(tensorboard_experiment=request.tensorboard_experiment)
        for run, data in part:
            half.write_run_data_requests.add(tensorboard_run=run, time_series_data=[data])
        found.append(half)
    return found


def size_of(value: Value) -> int:
    """The bytes of a tensor or of blobs; 0 for a scalar."""
    if isinstance(value, tuple):
        return sum(map(len, value))
    return len(value) if isinstance(value, bytes) else 0


def _series_data(request: Any, series: SeriesPoints) -> Any:
    """The place for a series' points in a request: below its run, which may be there already."""
    runs = request.write_run_data_requests
    if not runs or runs[-1].tensorboard_run != series.run:
        runs.add(tensorboard_run=series.run)
    return runs[-1].time_series_data.add(
        tensorboard_time_series_id=series.series_id, value_type=int(series.value_type)
    )


def _set(point: Any, wall_time: float, value: Value) -> None:
    """Fills in a point. A wall time that no Timestamp can hold is left out."""
    if math.isfinite(wall_time) and 0 <= wall_time < _LAST_SECOND:
        seconds, nanos = divmod(round(wall_time * 1_000_000_000), 1_000_000_000)
        point.wall_time.seconds = seconds
        point.wall_time.nanos = nanos
    if isinstance(value, float):
        point.scalar.value = value
    elif isinstance(value, bytes):
        point.tensor.value = value
    else:
        for blob in value:
            point.blobs.values.add(id=_blob_id(blob), data=blob)
        point.blobs.SetInParent()


def _blob_id(blob: bytes) -> str:
    """A blob's id: a hash of its content, so that uploading it again stores nothing new."""
    if isinstance(blob, NamedBlob):
        return blob.name
    return hashlib.blake2b(blob, digest_size=16).hexdigest()
