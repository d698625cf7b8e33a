"""Blobs of blob sequences: Cloud Storage objects in the instance's own bucket.

The official uploader puts a blob there itself, through the Cloud Storage API, and then writes a
point that names it; the service reads it back from
`{bucket}/tensorboard-{T}/{experiment}/{run}/{time series}/{blob id}`.
"""

import hashlib
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import google_crc32c

from tensordeck.errors import AlreadyExists, NotFound
from tensordeck.names import ResourceName, shown
from tensordeck.store.blobs import new_key
from tensordeck.store.contract import Blobs, Catalog
from tensordeck.store.resources import Bucket, StoredObject

_BUCKETS: Final = uuid.UUID("5f9f2d2e-6d5c-4a37-9a35-0d1f6a1f7a2b")
_PAGE: Final = 1000


def bucket_name(tensorboard: str) -> str:
    """The bucket of an instance: follows from its name, which is never used again."""
    return f"cloud-ai-platform-{uuid.uuid5(_BUCKETS, tensorboard)}"


def folder(name: ResourceName) -> str:
    """Where the blobs of an instance, experiment, run or time series lie: `bucket/path/`."""
    bucket = bucket_name(str(name.up_to("tensorboards")))
    return "/".join((bucket, f"tensorboard-{name.ids[2]}", *name.ids[3:], ""))


class BlobObjects:
    """The blobs of every instance.

    Args:
        catalog: Where the objects' records are.
        blobs: Where their bytes are.
    """

    def __init__(self, catalog: Catalog, blobs: Blobs) -> None:
        self._catalog = catalog
        self._blobs = blobs

    def create_bucket(self, tensorboard: ResourceName) -> None:
        """Makes the bucket of a new instance."""
        self._catalog.create(
            Bucket(
                name=bucket_name(str(tensorboard)),
                project=tensorboard.project,
                location=tensorboard.location.upper(),
            )
        )

    def remove_bucket(self, tensorboard: str) -> None:
        """Removes the bucket of a deleted instance, unless somebody put objects of theirs in."""
        bucket = bucket_name(tensorboard)
        if (
            self._catalog.find(Bucket, bucket)
            and not self._catalog.list(StoredObject, bucket, page_size=1).items
        ):
            self._catalog.delete(Bucket, bucket)

    def read(self, series: ResourceName, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yields (id, bytes) in the order of the ids.

        Raises:
            NotFound: Before the first blob, if one is missing; the message holds its id.
        """
        place = folder(series)
        found = self._catalog.find_many(StoredObject, [place + blob_id for blob_id in ids])
        for blob_id in ids:
            if place + blob_id not in found:
                raise NotFound(
                    f"{series} has no blob {shown(blob_id)}: there is no object "
                    f"gs://{place}{blob_id}."
                )
        return (
            (blob_id, b"".join(self._blobs.read(found[place + blob_id].blob_key)))
            for blob_id in ids
        )

    def write(self, series: ResourceName, blob_id: str, data: bytes) -> None:
        """Stores one blob; one of that id is replaced."""
        record = StoredObject(
            name=folder(series) + blob_id,
            generation=time.time_ns() // 1000,
            size=len(data),
            md5=hashlib.md5(data, usedforsecurity=False).digest(),
            crc32c=google_crc32c.value(data),
            content_type="application/octet-stream",
            blob_key=new_key(),
        )
        self._blobs.write(record.blob_key, iter((data,)))
        try:
            self._catalog.create(record)
        except AlreadyExists:
            before: list[str] = []

            def overwrite(old: StoredObject) -> StoredObject:
                before[:] = [old.blob_key]
                return replace(
                    old,
                    generation=record.generation,
                    size=record.size,
                    md5=record.md5,
                    crc32c=record.crc32c,
                    blob_key=record.blob_key,
                )

            self._catalog.update(StoredObject, record.name, overwrite)
            self._blobs.delete(before)

    def remove(self, name: ResourceName) -> None:
        """Deletes the blobs of a resource and of all below it."""
        for stored in self._below(name):
            try:
                self._catalog.delete(StoredObject, stored.name)
            except NotFound:
                continue  # another caller removes it at this moment
            self._blobs.delete([stored.blob_key])

    def size(self, name: ResourceName) -> int:
        """The bytes of the blobs of a resource and of all below it."""
        return sum(stored.size for stored in self._below(name))

    def _below(self, name: ResourceName) -> Iterator[StoredObject]:
        bucket, prefix = folder(name).split("/", 1)
        if not self._catalog.find(Bucket, bucket):
            return
        token = ""
        while True:
            page = self._catalog.list(
                StoredObject, bucket, name_prefix=prefix, page_size=_PAGE, page_token=token
            )
            yield from page.items
            token = page.next_token
            if not token:
                return
