"""Points of blob sequences on their way in: bytes sent with them, and profile sessions."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from tensordeck import names, protos
from tensordeck.errors import InvalidArgument
from tensordeck.ingest.wire import RunWrite, SeriesWrite
from tensordeck.names import ResourceName, shown
from tensordeck.services.blob_objects import BlobObjects
from tensordeck.store.contract import NO_WALL_TIME, PayloadColumns
from tensordeck.store.resources import ValueType


def store_inline_blobs(
    objects: BlobObjects, runs: Sequence[RunWrite], requests: Iterable[Any]
) -> list[RunWrite]:
    """Puts the bytes that came with blob points where blobs are read from.

    The official uploader uploads blobs beforehand and sends ids alone. A caller without Cloud
    Storage sends the bytes with the point; a blob without an id gets one. An id alone that nothing
    was uploaded for is an empty blob: on the wire, no bytes and none given are the same.

    Args:
        objects: Where the bytes go.
        runs: The decoded request.
        requests: The same request's WriteTensorboardRunDataRequest messages, with the bytes.

    Returns:
        The request, its blobs all with ids and without bytes.

    Raises:
        InvalidArgument: If a blob has neither id nor bytes.
    """
    stored = []
    for run, request in zip(runs, requests, strict=True):
        run_name = names.parse(run.run_name, names.RUN)
        series = [
            _store(objects, run_name, write, message)
            if write.value_type is ValueType.BLOB_SEQUENCE
            else write
            for write, message in zip(run.series, request.time_series_data, strict=True)
        ]
        stored.append(RunWrite(run.run_name, series))
    return stored


def join_profiles(stored: Callable[[], PayloadColumns], new: PayloadColumns) -> PayloadColumns:
    """Joins the blobs of a profile point with those of the same session that are stored.

    A profile session is one point with neither wall time nor step; the uploader sends the files
    of the session's hosts in several requests. An ordinary point would overwrite the one before.

    Args:
        stored: Reads what is stored of the series.
        new: The points that came.

    Returns:
        The points to write.
    """
    if not _has_profile(new):
        return new
    sequence = protos.message("TensorboardBlobSequence")
    merged: dict[str, None] = {}
    for columns in (stored(), new):
        for index in _is_profile(columns).nonzero()[0]:
            for blob in sequence.FromString(columns.payloads[index]).values:
                merged[blob.id] = None
    joined = sequence(values=[{"id": blob_id} for blob_id in merged])
    payload = joined.SerializeToString(deterministic=True)
    profile = _is_profile(new)
    return replace(
        new,
        payloads=[payload if profile[i] else p for i, p in enumerate(new.payloads)],
        lengths=[len(merged) if profile[i] else n for i, n in enumerate(new.lengths)],
    )


def _store(
    objects: BlobObjects, run: ResourceName, write: SeriesWrite, message: Any
) -> SeriesWrite:
    if not isinstance(write.columns, PayloadColumns):
        return write
    series = run.child("timeSeries", write.time_series_id)
    payloads = []
    by_id: list[str] = []
    for point in message.values:
        for blob in point.blobs.values:
            if not blob.data and not blob.id:
                raise InvalidArgument(
                    f"`time_series_data` of {shown(str(series), 512)}: a blob needs an `id`, "
                    "or `data` to be stored."
                )
            blob.id = blob.id or uuid.uuid4().hex
            if blob.data:
                objects.write(series, blob.id, blob.data)
                blob.ClearField("data")
            else:
                by_id.append(blob.id)
        payloads.append(point.blobs.SerializeToString(deterministic=True))
    objects.write_missing(series, by_id)
    return replace(write, columns=replace(write.columns, payloads=payloads))


def _is_profile(columns: PayloadColumns) -> Any:
    return (columns.wall_ns == NO_WALL_TIME) & (columns.steps == 0)


def _has_profile(columns: PayloadColumns) -> bool:
    return bool(any(columns.lengths) and _is_profile(columns).any())
