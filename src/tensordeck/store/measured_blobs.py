"""Blobs whose operations are counted and timed, whatever keeps them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from tensordeck.errors import TensordeckError
from tensordeck.store.contract import Blobs
from tensordeck.telemetry.store_measures import BlobMeasures

__all__ = ["MeasuredBlobs"]


class MeasuredBlobs(Blobs):
    """Hands everything on.

    Args:
        blobs: What keeps the blobs.
        measures: Where operations are counted.
    """

    def __init__(self, blobs: Blobs, measures: BlobMeasures) -> None:
        self._blobs = blobs
        self._measures = measures

    def write(self, key: str, chunks: Iterator[bytes]) -> int:
        """See `Blobs.write`. What the chunks' source fails with is no failure of the store's."""
        began = time.perf_counter()
        try:
            size = self._blobs.write(key, chunks)
        except Exception as error:
            self._measures.ended("write", _outcome(error), began)
            raise
        self._measures.ended("write", "ok", began, written=size)
        return size

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See `Blobs.read`. The time is that until the first bytes can be had."""
        began = time.perf_counter()
        try:
            chunks = self._blobs.read(key, start, end)
        except Exception as error:
            self._measures.ended("read", _outcome(error), began)
            raise
        self._measures.ended("read", "ok", began)
        return self._counted(chunks)

    def delete(self, keys: Sequence[str]) -> None:
        """See `Blobs.delete`."""
        began = time.perf_counter()
        try:
            self._blobs.delete(keys)
        except Exception as error:
            self._measures.ended("delete", _outcome(error), began)
            raise
        self._measures.ended("delete", "ok", began)

    def keys(self) -> Iterator[tuple[str, int]]:
        """See `Blobs.keys`."""
        return self._blobs.keys()

    def held(self) -> AbstractContextManager[None]:
        """See `Blobs.held`."""
        return self._blobs.held()

    def discard_unfinished(self, older_than_s: float) -> int:
        """See `Blobs.discard_unfinished`."""
        return self._blobs.discard_unfinished(older_than_s)

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            for chunk in chunks:
                self._measures.read(len(chunk))
                yield chunk
        except Exception as error:
            self._measures.ended("read", _outcome(error), time.perf_counter())
            raise


def _outcome(error: Exception) -> str:
    return error.status if isinstance(error, TensordeckError) else "caller"
