"""Bytes on their way into a blob: counted, hashed, and compared with what the sender says."""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import google_crc32c
from msgspec import Struct

from tensordeck import errors
from tensordeck.services.storage_attributes import NO_CHECKSUMS, Checksums
from tensordeck.store import Store
from tensordeck.store.blobs import new_key
from tensordeck.store.resources import StoredObject

__all__ = ["Content", "HashedChunks", "damaged", "discard", "read_content", "store_content"]

_SMALL: Final = 1024 * 1024
"""Bytes of an object that is read whole, and so compared, whatever part of it is wanted."""

_log = logging.getLogger(__name__)


class Content(Struct, frozen=True):
    """Bytes that are safe in the blob store.

    Attributes:
        blob_key: Where.
        size: How many.
        md5: 16 bytes; empty when not known.
        crc32c: The checksum's value.
        component_count: Of how many parts it was composed; 0 when it was not.
    """

    blob_key: str
    size: int
    md5: bytes
    crc32c: int
    component_count: int = 0


class HashedChunks:
    """An iterator that passes chunks on and keeps count of them.

    Args:
        chunks: Where they come from.
        crc32c: The checksum of what came before them.

    Attributes:
        size: Bytes so far.
        crc32c: Checksum so far.
    """

    def __init__(self, chunks: Iterable[bytes], crc32c: int = 0) -> None:
        self._chunks = iter(chunks)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0
        self.crc32c = crc32c

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.size += len(chunk)
        self.crc32c = google_crc32c.extend(self.crc32c, chunk)
        self._md5.update(chunk)
        return chunk

    @property
    def md5(self) -> bytes:
        """MD5 of the chunks so far, without what came before them."""
        return self._md5.digest()


def store_content(
    store: Store, chunks: Iterable[bytes], checksums: Checksums = NO_CHECKSUMS
) -> Content:
    """Puts bytes into a new blob; returns when they are durable.

    Args:
        store: Where to.
        chunks: The bytes. What this raises comes out as it is, and nothing was stored.
        checksums: What they must hash to.

    Raises:
        InvalidArgument: If a checksum differs; nothing was stored.
    """
    source = HashedChunks(chunks)

    def checked() -> Iterator[bytes]:
        yield from source
        checksums.check(source.md5, source.crc32c)

    key = new_key()
    store.blobs.write(key, checked())
    return Content(key, source.size, source.md5, source.crc32c)


def read_content(store: Store, row: StoredObject, start: int, end: int) -> Iterator[bytes]:
    """Streams an object's bytes [start, end), compared with what was written.

    Of a whole object the last chunk comes only once the checksum of all is right; a small one is
    compared before the return. Of a part of a large object the length alone is: its checksum is
    of the whole.

    Args:
        store: Where they are.
        row: The object.
        start: The first byte's place.
        end: The place after the last byte.

    Raises:
        NotFound: If the blob is not there.
        DataLoss: Now or while reading, if the bytes are not those that were written.
    """
    if row.size <= _SMALL:
        data = b"".join(_compared(row, store.blobs.read(row.blob_key, 0, row.size), 0, row.size))
        return iter((data[start:end],) if end > start else ())
    return _compared(row, store.blobs.read(row.blob_key, start, end), start, end)


def _compared(row: StoredObject, chunks: Iterator[bytes], start: int, end: int) -> Iterator[bytes]:
    size = crc32c = 0
    held = b""
    for chunk in chunks:
        if held:
            yield held
        size += len(chunk)
        crc32c = google_crc32c.extend(crc32c, chunk)
        held = chunk
    is_whole = (start, end) == (0, row.size)
    if size != end - start or (is_whole and crc32c != row.crc32c):
        raise damaged(row)
    if held:
        yield held


def damaged(row: StoredObject) -> errors.DataLoss:
    """The error for an object whose bytes are not those that were written, or are gone."""
    return errors.DataLoss(
        f"The blob store no longer has the bytes of gs://{row.name} as they were written "
        f"(blob {row.blob_key}). Restore it there, or write the object again."
    )


def discard(store: Store, keys: Sequence[str]) -> None:
    """Deletes blobs that no row points at. What can't be deleted now, the sweep will."""
    try:
        store.blobs.delete(keys)
    except errors.TensordeckError as error:
        _log.warning("%d blobs stay until the next sweep: %s", len(keys), error)
