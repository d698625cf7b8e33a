"""Objects: rows of the catalog that point at immutable blobs.

A write streams into a new blob; one transaction then swaps the row; the old blob is deleted last.
A kill in between leaves the old object or the new one, and at worst an orphan blob, which
`store.blobs.sweep_orphans` removes.

Reference: https://cloud.google.com/storage/docs/json_api/v1/objects.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from tensordeck.errors import AlreadyExists, NotFound
from tensordeck.names import shown
from tensordeck.services.storage_attributes import (
    NO_ATTRIBUTES,
    NO_CHECKSUMS,
    Attributes,
    Checksums,
)
from tensordeck.services.storage_conditions import UNCONDITIONAL, Conditions, metageneration
from tensordeck.services.storage_content import (
    Content,
    damaged,
    discard,
    read_content,
    store_content,
)
from tensordeck.services.storage_listing import ObjectPage, ObjectQuery, list_objects
from tensordeck.services.storage_names import row_name, validate_object
from tensordeck.store import Store
from tensordeck.store.resources import Bucket, StoredObject

__all__ = ["ObjectReader", "Objects"]

_DEFAULT_TYPE: Final = "application/octet-stream"
_OWN_MARKS: Final = ("componentCount", "upload")
"""What a row's `extra` holds for us: not the caller's, kept when metadata changes."""


class ObjectReader(Struct, frozen=True):
    """An object opened for reading: a later overwrite or deletion does not disturb it.

    Attributes:
        row: Its metadata.
        chunks: The bytes asked for.
        start: The first byte's place.
        end: The place after the last byte.
    """

    row: StoredObject
    chunks: Iterator[bytes]
    start: int
    end: int


class Objects:
    """The objects of a store. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalog = store.catalog

    def write(
        self,
        bucket: str,
        name: str,
        chunks: Iterable[bytes],
        attributes: Attributes = NO_ATTRIBUTES,
        conditions: Conditions = UNCONDITIONAL,
        checksums: Checksums = NO_CHECKSUMS,
    ) -> StoredObject:
        """Stores an object, or overwrites one; returns when it is durable.

        Args:
            bucket: The bucket, which must exist.
            name: The object's name.
            chunks: Its bytes. What this raises comes out as it is, and nothing was stored.
            attributes: Its metadata.
            conditions: What must hold at the moment of the swap.
            checksums: What the bytes must hash to.

        Raises:
            NotFound: If there is no such bucket.
            InvalidArgument: If the name is invalid or a checksum differs.
            ConditionNotMet: If a precondition does not hold.
        """
        self.check_target(bucket, name, conditions)
        content = store_content(self._store, chunks, checksums)
        return self.place_new(bucket, name, content, attributes, conditions)

    def check_target(self, bucket: str, name: str, conditions: Conditions) -> None:
        """Finds out early, before the bytes come, whether a write can work. Raises as `write`."""
        if self._catalog.find(Bucket, bucket) is None:
            raise missing_bucket(bucket)
        validate_object(name)
        if conditions != UNCONDITIONAL:
            conditions.check(self._catalog.find(StoredObject, row_name(bucket, name)))

    def place_new(
        self,
        bucket: str,
        name: str,
        content: Content,
        attributes: Attributes,
        conditions: Conditions = UNCONDITIONAL,
    ) -> StoredObject:
        """As `place`, of a blob that is nobody else's: it is deleted when that fails."""
        try:
            return self.place(bucket, name, content, attributes, conditions)
        except BaseException:
            discard(self._store, [content.blob_key])
            raise

    def place(
        self,
        bucket: str,
        name: str,
        content: Content,
        attributes: Attributes,
        conditions: Conditions = UNCONDITIONAL,
        upload: str = "",
    ) -> StoredObject:
        """Makes an object of bytes that are safe already, in one transaction.

        Args:
            bucket: The bucket.
            name: The object's name.
            content: The bytes; the blob is the object's from now on.
            attributes: Its metadata.
            conditions: What must hold.
            upload: The resumable upload that it comes from; kept with the row.

        Raises:
            NotFound: If the bucket is gone.
            ConditionNotMet: If a precondition does not hold.
        """
        full = row_name(bucket, validate_object(name))
        fresh = _row(full, content, attributes, upload)
        replaced: list[StoredObject] = []

        def overwrite(old: StoredObject) -> StoredObject:
            conditions.check(old)
            replaced[:] = [old]
            # Generations grow even when the clock does not.
            return replace(fresh, generation=max(fresh.generation, old.generation + 1))

        while True:
            try:
                if self._catalog.find(StoredObject, full) is not None:
                    row = self._catalog.update(StoredObject, full, overwrite)
                else:
                    conditions.check(None)
                    row = self._catalog.create(fresh)
            except AlreadyExists:  # another writer was first: overwrite theirs
                continue
            except NotFound as error:
                if self._catalog.find(Bucket, bucket) is None:
                    raise missing_bucket(bucket) from error
                continue  # deleted between the two steps
            break
        discard(self._store, [old.blob_key for old in replaced if old.blob_key != row.blob_key])
        return row

    def get(
        self,
        bucket: str,
        name: str,
        generation: int | None = None,
        conditions: Conditions = UNCONDITIONAL,
    ) -> StoredObject:
        """Returns an object's metadata.

        Raises:
            NotFound: If there is none, or not of that generation.
            ConditionNotMet: If a precondition does not hold.
            NotModified: If a "not" condition does not hold.
        """
        row = self._catalog.find(StoredObject, row_name(bucket, name))
        if row is None:
            raise self._missing(bucket, name)
        _check_generation(row, generation)
        conditions.check(row, reading=True)
        return row

    def open(
        self,
        bucket: str,
        name: str,
        generation: int | None = None,
        conditions: Conditions = UNCONDITIONAL,
        choose: Callable[[StoredObject], tuple[int, int]] = lambda row: (0, row.size),
    ) -> ObjectReader:
        """Opens an object's bytes.

        Args:
            bucket: The bucket.
            name: The object's name.
            generation: The generation that it must have, if given.
            conditions: What must hold.
            choose: Says which bytes [start, end) of it; what this raises comes out.

        Raises:
            NotFound: If there is none, or not of that generation.
            ConditionNotMet: If a precondition does not hold.
            NotModified: If a "not" condition does not hold.
            DataLoss: Now or while reading, if the bytes are not those that were written.
        """
        missing = ""
        while True:
            row = self.get(bucket, name, generation, conditions)
            if row.blob_key == missing:
                raise damaged(row)
            start, end = choose(row)
            try:
                return ObjectReader(row, read_content(self._store, row, start, end), start, end)
            except NotFound:  # overwritten since the row was read: the next row has the new blob
                missing = row.blob_key

    def list(self, bucket: str, query: ObjectQuery) -> ObjectPage:
        """Lists a page of a bucket's objects.

        Raises:
            NotFound: If there is no such bucket.
            InvalidArgument: If the page token or the glob can't be read.
        """
        if self._catalog.find(Bucket, bucket) is None:
            raise missing_bucket(bucket)
        return list_objects(self._store, bucket, query)

    def update(
        self,
        bucket: str,
        name: str,
        body: Mapping[str, Any],
        conditions: Conditions = UNCONDITIONAL,
        *,
        generation: int | None = None,
        whole: bool = False,
    ) -> StoredObject:
        """Changes an object's metadata: the fields of a patch, or all of them.

        Raises:
            NotFound: If there is no such object.
            InvalidArgument: If a field has the wrong type.
            ConditionNotMet: If a precondition does not hold.
        """

        def change(old: StoredObject) -> StoredObject:
            _check_generation(old, generation)
            conditions.check(old)
            before = Attributes(content_type=old.content_type) if whole else Attributes.of(old)
            after = before.patched(body)
            own: dict[str, Any] = {key: old.extra[key] for key in _OWN_MARKS if key in old.extra}
            return replace(
                old,
                content_type=after.content_type,
                metadata=dict(after.metadata),
                extra={**after.extra, **own, "metageneration": metageneration(old) + 1},
            )

        try:
            return self._catalog.update(StoredObject, row_name(bucket, name), change)
        except NotFound as error:
            raise self._missing(bucket, name) from error

    def delete(
        self,
        bucket: str,
        name: str,
        conditions: Conditions = UNCONDITIONAL,
        generation: int | None = None,
    ) -> None:
        """Deletes an object and its bytes.

        Raises:
            NotFound: If there is none, or not of that generation.
            ConditionNotMet: If a precondition does not hold.
        """
        deleted: list[str] = []

        def check(row: StoredObject) -> None:
            _check_generation(row, generation)
            conditions.check(row)
            deleted[:] = [row.blob_key]

        try:
            self._catalog.delete(StoredObject, row_name(bucket, name), check=check)
        except NotFound as error:
            raise self._missing(bucket, name) from error
        discard(self._store, deleted)

    def _missing(self, bucket: str, name: str) -> NotFound:
        if self._catalog.find(Bucket, bucket) is None:
            return missing_bucket(bucket)
        return NotFound(f"No such object: {bucket}/{shown(name, 1024)}.")


def missing_bucket(name: str) -> NotFound:
    """The error for a bucket that is not there."""
    return NotFound(
        f"The specified bucket does not exist: {shown(name)}. "
        f"Create it: gcloud storage buckets create gs://{shown(name)[1:-1]}."
    )


def _row(full: str, content: Content, attributes: Attributes, upload: str) -> StoredObject:
    extra: dict[str, Any] = dict(attributes.extra)
    if content.component_count:
        extra["componentCount"] = content.component_count
    if upload:
        extra["upload"] = upload
    return StoredObject(
        name=full,
        generation=time.time_ns() // 1000,
        size=content.size,
        md5=content.md5,
        crc32c=content.crc32c,
        content_type=attributes.content_type or _DEFAULT_TYPE,
        blob_key=content.blob_key,
        metadata=dict(attributes.metadata),
        extra=extra,
    )


def _check_generation(row: StoredObject, generation: int | None) -> None:
    if generation is not None and row.generation != generation:
        raise NotFound(f"No such object: {row.name} of generation {generation}.")
