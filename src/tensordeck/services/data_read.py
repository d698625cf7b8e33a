"""Reading points: samples, whole series, and exports page by page.

Where the service may return fewer points than there are, it returns evenly spaced ones, always
the same, with the first and the last; the managed service draws them at random.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from tensordeck import names, protos
from tensordeck.errors import InvalidArgument, NotFound
from tensordeck.ingest.wire_points import columns_to_time_series_data
from tensordeck.names import shown
from tensordeck.services import paging
from tensordeck.services.call import Call
from tensordeck.services.collection import Collection
from tensordeck.services.page_tokens import make_token, read_token
from tensordeck.services.point_filters import by_wall_time, matching
from tensordeck.services.rules import BATCH_LIMIT
from tensordeck.services.sampling import Columns, evenly_spaced, take
from tensordeck.store.contract import Ints, PayloadColumns
from tensordeck.store.resources import TimeSeries, ValueType

_BATCH_SCALARS: Final = 1000
_BATCH_PAYLOADS: Final = 100
_READ: Final = paging.PageLimit(1000, 10_000)
_ALL: Final = -1


class DataRead(Collection):
    """Calls that read points."""

    def batch_read_tensorboard_time_series_data(self, request: Any, _call: Call) -> Any:
        """Reads several series of one instance: at most 1000 scalars or 100 other points of each.

        The managed service takes at most 20 series a call; here 1000.
        """
        tensorboard = str(names.parse(request.tensorboard, names.TENSORBOARD, "tensorboard"))
        wanted = list(request.time_series)
        if not 1 <= len(wanted) <= BATCH_LIMIT:
            raise InvalidArgument(
                f"`time_series` must hold 1 to {BATCH_LIMIT} names; it has {len(wanted)}."
            )
        for name in wanted:
            names.parse(name, names.TIME_SERIES, "time_series")
            if not name.startswith(tensorboard + "/"):
                raise InvalidArgument(
                    f"`time_series` must all be of {tensorboard}; {shown(name, 512)} is not."
                )
        records = self._catalog.find_many(TimeSeries, wanted)
        for name in wanted:
            if name not in records:
                raise NotFound(f"TensorboardTimeSeries {shown(name, 512)} does not exist.")
        columns = self._sampled(list(records.values()))
        data = (protos.submessage(1, _wire(records[name], columns[name])) for name in wanted)
        return protos.Encoded("BatchReadTensorboardTimeSeriesDataResponse", *data)

    def read_tensorboard_time_series_data(self, request: Any, _call: Call) -> Any:
        """Reads one series: 1000 points unless told otherwise, at most 10,000, or all with -1."""
        record = self._series(request.tensorboard_time_series, "tensorboard_time_series")
        limit = request.max_data_points
        if limit < _ALL:
            raise InvalidArgument(
                f"`max_data_points` must be positive, or -1 for all points; it is {limit}."
            )
        count = None if limit == _ALL else _READ.of(limit)
        columns = self._columns(record, count if not request.filter else None, sample=True)
        if (mask := matching(request.filter, columns)) is not None:
            columns = take(columns, mask)
        if count is not None and len(columns.steps) > count:
            columns = take(columns, evenly_spaced(len(columns.steps), count))
        data = protos.submessage(1, _wire(record, columns))
        return protos.Encoded("ReadTensorboardTimeSeriesDataResponse", data)

    def export_tensorboard_time_series_data(self, request: Any, _call: Call) -> Any:
        """Reads a whole series page by page, by step unless told otherwise.

        A page begins after the last one's last point, wherever that lies by then: points that
        are written between two pages neither repeat nor hide others.
        """
        record = self._series(request.tensorboard_time_series, "tensorboard_time_series")
        size = paging.EXPORT.of(request.page_size)
        use_wall, descending = by_wall_time(request.order_by)
        query = (record.pk, request.filter, use_wall, descending)
        columns = self._columns(record, None)
        if (mask := matching(request.filter, columns)) is not None:
            columns = take(columns, mask)
        order = _order(columns, use_wall=use_wall, descending=descending)
        start = 0
        if request.page_token:
            after = read_token(query, request.page_token, 2)
            start = _position(columns, order, after, use_wall=use_wall, descending=descending)
        chosen = order[start : start + size]
        page = take(columns, chosen)
        data = protos.message("TimeSeriesData").FromString(_wire(record, page))
        reply = protos.message("ExportTensorboardTimeSeriesDataResponse")(
            time_series_data_points=data.values
        )
        if start + size < len(order):
            last = (int(page.wall_ns[-1]), int(page.steps[-1]))
            reply.next_page_token = make_token(query, last)
        return reply

    def read_tensorboard_blob_data(self, request: Any, _call: Call) -> Iterator[Any]:
        """Streams blobs of a series: those of the ids in their order, or all if none is named."""
        record = self._series(request.time_series, "time_series")
        if record.value_type is not ValueType.BLOB_SEQUENCE:
            raise InvalidArgument(
                f"`time_series` {record.name} holds {record.value_type.name} points, not blobs."
            )
        ids = list(request.blob_ids) or self._blob_ids(record)
        blobs = self._objects.read(names.parse(record.name, names.TIME_SERIES), ids)
        response = protos.message("ReadTensorboardBlobDataResponse")
        return (response(blobs=[{"id": blob_id, "data": content}]) for blob_id, content in blobs)

    def _series(self, name: str, field: str) -> TimeSeries:
        return self._catalog.get(TimeSeries, str(names.parse(name, names.TIME_SERIES, field)))

    def _columns(self, record: TimeSeries, limit: int | None, *, sample: bool = False) -> Columns:
        """The points of a series; of tensors and blobs no more than `limit`, evenly spaced.

        Of scalars, those of a `sample` are still to be reduced to `limit`.
        """
        key = (record.run_pk, record.pk)
        if record.value_type is ValueType.SCALAR:
            if sample and limit is not None:
                return self._points.sample_scalars([key], limit)[record.pk]
            return self._points.read_scalars([key])[record.pk]
        return self._points.read_payloads([key], limit=limit)[record.pk]

    def _sampled(self, records: Sequence[TimeSeries]) -> dict[str, Columns]:
        """The points of several series, sampled for a batch read, by name."""
        scalars = [r for r in records if r.value_type is ValueType.SCALAR]
        others = [r for r in records if r.value_type is not ValueType.SCALAR]
        by_pk: dict[int, Columns] = {}
        keys = [(record.run_pk, record.pk) for record in scalars]
        for pk, columns in self._points.sample_scalars(keys, _BATCH_SCALARS).items():
            by_pk[pk] = take(columns, evenly_spaced(len(columns.steps), _BATCH_SCALARS))
        by_pk.update(
            self._points.read_payloads([(r.run_pk, r.pk) for r in others], limit=_BATCH_PAYLOADS)
        )
        return {record.name: by_pk[record.pk] for record in records}

    def _blob_ids(self, record: TimeSeries) -> list[str]:
        sequence = protos.message("TensorboardBlobSequence")
        columns = self._columns(record, None)
        payloads = columns.payloads if isinstance(columns, PayloadColumns) else []
        found = (blob.id for payload in payloads for blob in sequence.FromString(payload).values)
        return list(dict.fromkeys(found))


def _wire(record: TimeSeries, columns: Columns) -> bytes:
    """A TimeSeriesData: bytes laid out by numpy are there sooner than fields are set."""
    series_id = record.name.rpartition("/")[2]
    return columns_to_time_series_data(series_id, record.value_type, columns)


def _order(columns: Columns, *, use_wall: bool, descending: bool) -> Ints:
    """The indices of the points in the order of the export; the step settles ties."""
    keys = (columns.steps, columns.wall_ns) if use_wall else (columns.steps,)
    order = np.lexsort(keys).astype(np.int64)
    return order[::-1] if descending else order


def _position(
    columns: Columns, order: Ints, after: tuple[int, ...], *, use_wall: bool, descending: bool
) -> int:
    """How many points of the order come no later than the key `after`: (wall time, step)."""
    wall, step = after
    steps, walls = columns.steps[order], columns.wall_ns[order]
    if descending:
        past = (walls < wall) | ((walls == wall) & (steps < step)) if use_wall else steps < step
    else:
        past = (walls > wall) | ((walls == wall) & (steps > step)) if use_wall else steps > step
    return int(np.argmax(past)) if past.any() else len(order)
