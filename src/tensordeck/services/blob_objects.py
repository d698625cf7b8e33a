"""Blobs of blob sequences: Cloud Storage objects in the instance's own bucket.

The official uploader puts a blob there itself, through the Cloud Storage API, and then writes a
point that names it; the service reads it back from
`{bucket}/tensorboard-{T}/{experiment}/{run}/{time series}/{blob id}`.
"""

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from typing import Final

from tensordeck.errors import NotFound
from tensordeck.names import ResourceName, shown
from tensordeck.services.storage import StorageService
from tensordeck.services.storage_buckets import BucketNotEmpty
from tensordeck.services.storage_conditions import UNCONDITIONAL, ConditionNotMet, Conditions
from tensordeck.store import Store
from tensordeck.store.resources import StoredObject

_BUCKETS: Final = uuid.UUID("5f9f2d2e-6d5c-4a37-9a35-0d1f6a1f7a2b")


def bucket_name(tensorboard: str) -> str:
    """The bucket of an instance: follows from its name, which is never used again."""
    return f"cloud-ai-platform-{uuid.uuid5(_BUCKETS, tensorboard)}"


class BlobObjects:
    """The blobs of every instance.

    Args:
        store: Where the objects are.
    """

    def __init__(self, store: Store) -> None:
        self._catalog = store.catalog
        self._storage = StorageService(store)

    def create_bucket(self, tensorboard: ResourceName) -> None:
        """Makes the bucket of a new instance."""
        self._storage.create_bucket(
            bucket_name(str(tensorboard)), tensorboard.project, tensorboard.location.upper()
        )

    def remove_bucket(self, tensorboard: str) -> None:
        """Removes the bucket of a deleted instance, unless somebody put objects of theirs in."""
        with contextlib.suppress(NotFound, BucketNotEmpty):
            self._storage.buckets.delete(bucket_name(tensorboard), UNCONDITIONAL)

    def read(self, series: ResourceName, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yields (id, bytes) in the order of the ids.

        Raises:
            NotFound: Before the first blob, if one is missing; the message holds its id.
        """
        bucket, folder = _place(series)
        found = self._catalog.find_many(
            StoredObject, [f"{bucket}/{folder}{blob_id}" for blob_id in ids]
        )
        for blob_id in ids:
            if f"{bucket}/{folder}{blob_id}" not in found:
                raise NotFound(
                    f"{series} has no blob {shown(blob_id)}: there is no object "
                    f"gs://{bucket}/{folder}{blob_id}."
                )
        return (
            (blob_id, b"".join(self._storage.read_object(bucket, folder + blob_id)))
            for blob_id in ids
        )

    def write(self, series: ResourceName, blob_id: str, data: bytes) -> None:
        """Stores one blob; one of that id is replaced."""
        bucket, folder = _place(series)
        self._storage.write_object(bucket, folder + blob_id, (data,))

    def write_missing(self, series: ResourceName, ids: Sequence[str]) -> None:
        """Stores an empty blob under every id that has none yet."""
        bucket, folder = _place(series)
        names = {f"{bucket}/{folder}{blob_id}": folder + blob_id for blob_id in ids}
        found = self._catalog.find_many(StoredObject, list(names))
        for full_name in names.keys() - found.keys():
            with contextlib.suppress(ConditionNotMet):  # somebody was faster, with more
                self._storage.objects.write(
                    bucket, names[full_name], (), conditions=Conditions(generation_match=0)
                )

    def remove(self, name: ResourceName) -> None:
        """Deletes the blobs of a resource and of all below it."""
        self._storage.delete_prefix(*_place(name))

    def size(self, name: ResourceName) -> int:
        """The bytes of the blobs of a resource and of all below it."""
        return self._storage.size_of_prefix(*_place(name))


def _place(name: ResourceName) -> tuple[str, str]:
    """Bucket and folder of the blobs of an instance, experiment, run or time series."""
    bucket = bucket_name(str(name.up_to("tensorboards")))
    return bucket, "/".join((f"tensorboard-{name.ids[2]}", *name.ids[3:], ""))
