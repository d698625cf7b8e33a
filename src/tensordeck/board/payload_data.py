"""Points that are no scalars, from the bytes that the store keeps to what plugins take."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from tensorboard.compat.proto import tensor_pb2
from tensorboard.data import provider
from tensorboard.util import tensor_util

from tensordeck.board.blob_keys import BlobKey
from tensordeck.board.columns import wall_seconds
from tensordeck.names import TIME_SERIES, parse
from tensordeck.protos import message
from tensordeck.store.contract import PayloadColumns
from tensordeck.store.resources import TimeSeries

__all__ = ["blob_sequence_data", "tensor_data"]


def tensor_data(columns: PayloadColumns) -> list[provider.TensorDatum]:
    """Tensors; points that are none are left out."""
    data = []
    for step, wall, payload in _points(columns):
        array = _array(payload)
        if array is not None:
            data.append(provider.TensorDatum(step, wall, array))
    return data


def blob_sequence_data(
    series: TimeSeries, columns: PayloadColumns
) -> list[provider.BlobSequenceDatum]:
    """Sequences of references to the blobs of a series."""
    name = parse(series.name, TIME_SERIES)
    data = []
    for step, wall, payload in _points(columns):
        blobs = message("TensorboardBlobSequence").FromString(payload).values
        references = tuple(provider.BlobReference(str(BlobKey(name, blob.id))) for blob in blobs)
        data.append(provider.BlobSequenceDatum(step, wall, references))
    return data


def _points(columns: PayloadColumns) -> Iterator[tuple[int, float, bytes]]:
    walls = wall_seconds(columns.wall_ns).tolist()
    return zip(columns.steps.tolist(), walls, columns.payloads, strict=True)


def _array(payload: bytes) -> "np.ndarray[Any, Any] | None":
    try:
        array: np.ndarray[Any, Any] = tensor_util.make_ndarray(
            tensor_pb2.TensorProto.FromString(payload)
        )
    except Exception:  # noqa: BLE001 -- a caller's bytes: whatever the parser says, it is no tensor
        return None
    return array
