"""Blobs in an object store: a local folder, S3, Google Cloud Storage or Azure, all by `obstore`.

Keys are opaque and random, `ab/cdef…`, so that a folder never holds more than a share of them and
a cloud store spreads them over its partitions. A key is written once: what points at it (a row
of the catalog) is changed only after the bytes are safe.
"""

import contextlib
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, S3Store

from tensordeck import errors
from tensordeck.settings import Settings
from tensordeck.store.blob_holds import PREFIX as HOLDS
from tensordeck.store.blob_holds import BlobHolds
from tensordeck.store.contract import Blobs, Catalog
from tensordeck.store.object_store import check_access, open_object_store, reason_of, translated
from tensordeck.store.outage import Outage
from tensordeck.store.resources import Bucket, Resource, StoredObject, UploadSession
from tensordeck.store.s3_uploads import UnfinishedUploads
from tensordeck.store.walk import walk
from tensordeck.whole_file import sync

if TYPE_CHECKING:
    from obstore.store import ObjectStore

R = TypeVar("R", bound=Resource)

__all__ = ["ObjectStoreBlobs", "new_key", "open_blobs", "sweep_orphans"]

PIECE: Final = 5 * 1024 * 1024
"""Bytes of one part of a large write; what fits in one is written by one request."""

READ_CHUNK: Final = 1024 * 1024
_KEY: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}")


def new_key() -> str:
    """Makes up a key that was never used."""
    digits = secrets.token_hex(16)
    return f"{digits[:2]}/{digits[2:]}"


def open_blobs(settings: Settings) -> Blobs:
    """Opens the blob store that the settings name; an embedded one is made when missing.

    One in a cloud is asked at once whether it lets us list, write and delete.

    Raises:
        errors.InvalidArgument: If the URL can't be used; the message says why.
        errors.FailedPrecondition: If the folder can't be made or written, there is no such
            bucket, or it refuses the credentials.
        errors.Unavailable: If the store can't be reached.
    """
    if not settings.object_store:
        return _open_folder(settings.data_dir / "blobs")
    store = open_object_store(settings.object_store)
    if isinstance(store, LocalStore) and store.prefix is not None:
        return _open_folder(store.prefix)
    if not isinstance(store, MemoryStore):
        check_access(store, settings.object_store)
    return ObjectStoreBlobs(store)


def _open_folder(folder: Path) -> Blobs:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return ObjectStoreBlobs(LocalStore(folder), folder.resolve())
    except (BaseError, OSError) as error:
        raise errors.FailedPrecondition(
            f"The blob store's folder {folder} can't be used: {reason_of(error)}."
        ) from error


class ObjectStoreBlobs(Blobs):
    """Blobs in any store that `obstore` opens.

    Args:
        store: The store, below its prefix.
        folder: Where it lies when it is a local folder. `obstore` writes to a temporary name and
            renames; we add the fsyncs that make that survive a power loss.
    """

    def __init__(self, store: "ObjectStore", folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder
        self._holds = BlobHolds(store)
        self._outage = Outage()
        self._synced_shards: set[str] = set()

    def write(self, key: str, chunks: Iterator[bytes]) -> int:
        """As the contract says. An exception of `chunks` comes out as it is; nothing is stored."""
        source = iter(chunks)
        head: list[bytes] = []
        size = 0
        for piece in source:
            head.append(piece)
            size += len(piece)
            if size >= PIECE:
                break
        if size < PIECE:
            with self._asking(key):
                obstore.put(self._store, key, b"".join(head))
        else:
            # `obstore.put` would pull the iterator inside its own runtime, where it can't read
            # another blob.
            with self._writer(key) as writer:
                for piece in head:
                    self._write(writer, key, piece)
                head.clear()
                for piece in source:
                    size += len(piece)
                    self._write(writer, key, piece)
        self._sync(key)
        return size

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """As the contract says. The blob is opened before the return: later deletion is no harm."""
        with self._asking(key):
            if end is not None and end <= start:
                return iter(())
            if end is not None:
                if end - start <= READ_CHUNK:
                    return iter((bytes(obstore.get_range(self._store, key, start=start, end=end)),))
                found = obstore.get(self._store, key, options={"range": (start, end)})
            elif start:
                found = obstore.get(self._store, key, options={"range": {"offset": start}})
            else:
                found = obstore.get(self._store, key)
        return self._stream(key, found)

    def delete(self, keys: Sequence[str]) -> None:
        """As the contract says."""
        if not keys:
            return
        with self._asking(""):
            held = self._holds.any()
        if held:
            return
        if len(keys) > 1 and isinstance(self._store, S3Store):  # a thousand a request
            with self._asking(""):
                obstore.delete(self._store, list(keys))
            return
        for key in keys:
            with self._asking(key), contextlib.suppress(FileNotFoundError):
                obstore.delete(self._store, key)

    def keys(self) -> Iterator[tuple[str, int]]:
        """As the contract says; neither what is being written is among them, nor holds."""
        now = datetime.now(UTC)
        with self._asking(""):
            for page in obstore.list(self._store):
                for found in page:
                    if not found["path"].startswith(HOLDS):
                        age = (now - found["last_modified"]).total_seconds()
                        yield found["path"], max(0, int(age))

    def held(self) -> contextlib.AbstractContextManager[None]:
        """As the contract says; servers elsewhere see it too."""
        return self._holds.held()

    def discard_unfinished(self, older_than_s: float) -> int:
        """Removes a local store's temporary files and aborts S3's unfinished multipart uploads.

        Cloud Storage needs a rule of the bucket's life cycle for them; Azure forgets them.
        """
        removed = 0
        if isinstance(self._store, S3Store) and (left := UnfinishedUploads.of(self._store)):
            removed += left.abort(older_than_s)
        if self._folder is not None:
            for path in self._folder.glob("*/*#*"):
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime >= older_than_s:
                        path.unlink()
                        removed += 1
        return removed

    @contextlib.contextmanager
    def _writer(self, key: str) -> "Iterator[obstore.WritableFile]":
        """A blob in pieces; what the block raises drops them."""
        with self._asking(key):
            # Bounded memory: so many pieces at most wait for the store.
            writer = obstore.open_writer(self._store, key, buffer_size=PIECE, max_concurrency=2)
        try:
            yield writer
        except BaseException as error:
            writer.__exit__(type(error), error, error.__traceback__)
            raise
        with self._asking(key):
            writer.close()

    @contextlib.contextmanager
    def _asking(self, key: str) -> Iterator[None]:
        """Wraps a call to the store."""
        if self._folder is not None:
            with translated(key):
                yield
        else:
            with self._outage.watch(), translated(key):
                yield

    def _write(self, writer: "obstore.WritableFile", key: str, piece: bytes) -> None:
        with self._asking(key):
            writer.write(piece)

    def _stream(self, key: str, found: "obstore.GetResult") -> Iterator[bytes]:
        chunks = iter(found.stream(min_chunk_size=READ_CHUNK))
        while True:
            with self._asking(key):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield bytes(chunk)

    def _sync(self, key: str) -> None:
        """Makes a local file, its name, and its folder's name durable."""
        if self._folder is None:
            return
        path = self._folder / key
        with self._asking(key):
            sync(path)
            sync(path.parent)
            shard = path.parent.name
            if shard not in self._synced_shards:
                sync(self._folder)
                self._synced_shards.add(shard)


def sweep_orphans(catalog: Catalog, blobs: Blobs, older_than_s: float) -> int:
    """Deletes blobs that nothing points at: what a kill between two steps of a write left.

    Only keys of `new_key`'s form count. Safe beside running writers: a blob is younger than
    `older_than_s` until its row exists, and rows are read after the keys, uploads before objects,
    which is the way that a blob goes.

    Args:
        catalog: Where the rows are.
        blobs: What is swept.
        older_than_s: Seconds that a blob may wait for its row; longer than any one write takes.

    Returns:
        How many blobs and unfinished pieces were removed.

    Raises:
        errors.TensordeckError: If the catalog takes no writes, or either store is away.
    """
    stored = blobs.keys()
    orphans = {key for key, age in stored if age >= older_than_s and _KEY.fullmatch(key)}
    if orphans:
        for upload in walk(catalog, UploadSession, ""):
            orphans.difference_update(upload.parts)
        for bucket in walk(catalog, Bucket, ""):
            for found in _objects(catalog, bucket.name):
                orphans.discard(found.blob_key)
    if orphans:
        _require_writes(catalog)
        blobs.delete(sorted(orphans))
    return len(orphans) + blobs.discard_unfinished(older_than_s)


def _require_writes(catalog: Catalog) -> None:
    """Raises what a write would: a store that was moved may share its blobs with the new one.

    What the new one has written since looks like an orphan to the old.
    """
    probe = UploadSession(name=f"sweep-{secrets.token_hex(8)}", object_name="")
    catalog.create(probe)
    catalog.delete(UploadSession, probe.name)


def _objects(catalog: Catalog, bucket: str) -> Iterator[StoredObject]:
    try:
        yield from walk(catalog, StoredObject, bucket)
    except errors.NotFound:  # the bucket was deleted meanwhile, and all in it
        return
