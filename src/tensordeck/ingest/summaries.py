"""Summaries: what an event says, as points of time series.

Every format that TensorBoard reads comes out the same: TensorBoard's own migrations turn old
values (`simple_value`, `histo`, `image`, `graph_def`, …) into tensors with a plugin and a data
class. Every plugin's series are kept, also those that nobody here knows.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple, Self

from google.protobuf.message import DecodeError
from tensorboard import data_compat, dataclass_compat
from tensorboard.compat.proto import event_pb2, summary_pb2, types_pb2
from tensorboard.util import tensor_util

from tensordeck.ingest.warn import Warn, warn_in_log

__all__ = ["NamedBlob", "Point", "Series", "SummaryDecoder", "ValueType"]

_FLOAT: Final = struct.Struct("<f")


class ValueType(IntEnum):
    """The kinds of time series, with the API's numbers."""

    SCALAR = 1
    TENSOR = 2
    BLOB_SEQUENCE = 3


_OF_DATA_CLASS: Final = {
    summary_pb2.DATA_CLASS_SCALAR: ValueType.SCALAR,
    summary_pb2.DATA_CLASS_TENSOR: ValueType.TENSOR,
    summary_pb2.DATA_CLASS_BLOB_SEQUENCE: ValueType.BLOB_SEQUENCE,
}
_DATA_CLASS_OF: Final = {kind: number for number, kind in _OF_DATA_CLASS.items()}


@dataclass(frozen=True, slots=True)
class Series:
    """A time series of a run.

    Attributes:
        tag: Its name, unique in the run.
        value_type: The kind of its values.
        plugin_name: The TensorBoard plugin that shows it, e.g. `histograms`.
        plugin_data: That plugin's own bytes.
        description: Markdown that the writer gave.
    """

    tag: str
    value_type: ValueType
    plugin_name: str = ""
    plugin_data: bytes = b""
    description: str = ""


class NamedBlob(bytes):
    """A blob that has an id of its own.

    Attributes:
        name: The id.
    """

    name: str

    def __new__(cls, content: bytes, name: str) -> Self:
        """Gives the bytes a name."""
        blob = super().__new__(cls, content)
        blob.name = name
        return blob


class Point(NamedTuple):
    """One point.

    Attributes:
        series: Its series.
        step: The training step.
        wall_time: Seconds since the epoch.
        value: A float for SCALAR, a serialized TensorProto for TENSOR, the blobs for
            BLOB_SEQUENCE.
    """

    series: Series
    step: int
    wall_time: float
    value: float | bytes | tuple[bytes, ...]


class SummaryDecoder:
    """Turns the events of one run into points.

    A tag's metadata need come with its first value only, and then holds for the whole run. One
    decoder therefore serves all event files of a run. Not thread-safe.
    """

    def __init__(
        self, run: str, known: Mapping[str, Series] | None = None, warn: Warn = warn_in_log
    ) -> None:
        """Starts a decoder.

        Args:
            run: The run's name, for warnings.
            known: Series that an earlier upload made, by tag: reading may start behind the values
                that carried their metadata.
            warn: Told what can't be read.
        """
        self._run = run
        self._tell = warn
        self._known = dict(known or {})
        self._series: dict[str, Series] = {}
        self._initial: dict[str, Any] = {}  # TensorBoard's record of each tag's first metadata
        self._warned: set[str] = set()

    def points(self, record: bytes) -> Iterator[Point]:
        """Decodes one record of an event file.

        A value that can't be read is skipped with a warning, once for each tag.
        """
        try:
            event = event_pb2.Event.FromString(record)
        except DecodeError:
            self._warn("", "an event is no valid message")
            return
        what = event.WhichOneof("what")
        if what == "summary":
            step, wall_time = event.step, event.wall_time
            for value in event.summary.value:
                series = self._series.get(value.tag)
                if series is not None and series.value_type is ValueType.SCALAR:
                    number = _fast_scalar(value)
                    if number is not None:
                        yield Point(series, step, wall_time, number)
                        continue
                yield from self._migrated(step, wall_time, value)
        elif what in ("graph_def", "tagged_run_metadata"):
            for new in dataclass_compat.migrate_event(event, self._initial):
                for value in new.summary.value:
                    yield from self._point(new.step, new.wall_time, value)

    def _migrated(self, step: int, wall_time: float, value: Any) -> Iterator[Point]:
        """Runs one value through TensorBoard's migrations."""
        known = self._known.get(value.tag)
        if known and value.tag not in self._initial and not value.HasField("metadata"):
            value.metadata.plugin_data.plugin_name = known.plugin_name
            value.metadata.data_class = _DATA_CLASS_OF[known.value_type]
        event = event_pb2.Event(wall_time=wall_time, step=step)
        event.summary.value.append(value)
        try:
            event = data_compat.migrate_event(event)
            for new in dataclass_compat.migrate_event(event, self._initial):
                for migrated in new.summary.value:
                    yield from self._point(step, wall_time, migrated)
        except (TypeError, ValueError, IndexError) as error:
            self._warn(value.tag, f"a value at step {step} can't be read ({error})")

    def _point(self, step: int, wall_time: float, value: Any) -> Iterator[Point]:
        """Turns a migrated value into a point of its series."""
        series = self._series.get(value.tag)
        if series is None:
            series = self._series[value.tag] = self._new_series(value)
        if series.value_type is ValueType.SCALAR:
            # Looked at first: a few bytes may stand for a tensor of any size.
            if (size := _size(value.tensor)) != 1:
                self._warn(value.tag, f"a scalar has {size} values at step {step}")
                return
            array = tensor_util.make_ndarray(value.tensor)
            yield Point(series, step, wall_time, float(array.item()))
        elif series.value_type is ValueType.BLOB_SEQUENCE:
            blobs = list(value.tensor.string_val)
            if value.tensor.dtype != types_pb2.DT_STRING or _size(value.tensor) != len(blobs):
                self._warn(value.tag, f"a blob sequence holds other things at step {step}")
                return
            yield Point(series, step, wall_time, tuple(blobs))
        else:
            yield Point(series, step, wall_time, value.tensor.SerializeToString())

    def _new_series(self, value: Any) -> Series:
        """The series of a tag's first value."""
        metadata = value.metadata
        # A plugin of someone's own may leave the data class out: its values are tensors.
        return Series(
            tag=value.tag,
            value_type=_OF_DATA_CLASS.get(metadata.data_class, ValueType.TENSOR),
            plugin_name=metadata.plugin_data.plugin_name,
            plugin_data=metadata.plugin_data.content,
            description=metadata.summary_description,
        )

    def _warn(self, tag: str, problem: str) -> None:
        if tag not in self._warned:
            self._warned.add(tag)
            self._tell(f"Run {self._run!r}, tag {tag!r}: {problem}; such values are skipped.")


def _size(tensor: Any) -> int:
    """How many values a tensor has."""
    return math.prod(dimension.size for dimension in tensor.tensor_shape.dim)


def _fast_scalar(value: Any) -> float | None:
    """Reads the usual forms of a scalar without numpy; None for any other."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind == "tensor":
        tensor = value.tensor
        if tensor.dtype == types_pb2.DT_FLOAT:
            if len(tensor.float_val) == 1:
                return float(tensor.float_val[0])
            if len(tensor.tensor_content) == _FLOAT.size:
                return float(_FLOAT.unpack(tensor.tensor_content)[0])
    return None
