"""Cloud Storage without its transport: buckets, objects and uploads over the store.

The parts are in the `storage_*` modules; this is the door for the rest of the server.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tensordeck.errors import NotFound
from tensordeck.services.storage_attributes import Attributes
from tensordeck.services.storage_buckets import Buckets
from tensordeck.services.storage_listing import walk
from tensordeck.services.storage_names import object_name
from tensordeck.services.storage_objects import Objects
from tensordeck.services.storage_uploads import Uploads
from tensordeck.store import Store
from tensordeck.store.blobs import sweep_orphans
from tensordeck.store.resources import Bucket, StoredObject

__all__ = ["StorageService"]

SWEEP_AGE_SECONDS: Final = 24 * 3600
"""A blob without a row is an orphan after this: no single write takes a day."""

_DELETERS: Final = 16


class StorageService:
    """Buckets and objects of one store. Thread-safe.

    Attributes:
        buckets: The buckets.
        objects: The objects.
        uploads: The resumable uploads.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.buckets = Buckets(store)
        self.objects = Objects(store)
        self.uploads = Uploads(store)

    def create_bucket(self, name: str, project: str = "", location: str = "US") -> Bucket:
        """Returns a bucket, made when it is missing.

        Raises:
            InvalidArgument: If the name is invalid.
        """
        return self.buckets.ensure(name, project, location)

    def write_object(
        self, bucket: str, name: str, chunks: Iterable[bytes], content_type: str = ""
    ) -> StoredObject:
        """Stores an object; returns when it is durable.

        Raises:
            NotFound: If there is no such bucket.
            InvalidArgument: If the name is invalid.
        """
        return self.objects.write(bucket, name, chunks, Attributes(content_type=content_type))

    def read_object(self, bucket: str, name: str) -> Iterator[bytes]:
        """Streams an object's bytes.

        Raises:
            NotFound: If there is none.
        """
        return self.objects.open(bucket, name).chunks

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        """Deletes all objects whose names start with a prefix; returns how many.

        A missing bucket counts as empty. Objects written meanwhile may stay.
        """
        try:
            names = [object_name(row) for row in walk(self.store, bucket, prefix)]
        except NotFound:
            return 0
        if not names:
            return 0
        # Each deletion waits for its commit; those under way together share one.
        with ThreadPoolExecutor(min(_DELETERS, len(names))) as deleters:
            return sum(deleters.map(lambda name: self._delete_if_there(bucket, name), names))

    def size_of_prefix(self, bucket: str, prefix: str) -> int:
        """Bytes of all objects whose names start with a prefix; 0 for a missing bucket."""
        try:
            return sum(row.size for row in walk(self.store, bucket, prefix))
        except NotFound:
            return 0

    def sweep(self, older_than_s: float = SWEEP_AGE_SECONDS) -> int:
        """Removes uploads that expired and blobs that nothing points at; returns how many.

        To be called now and then, and safe beside running requests.
        """
        return self.uploads.expire() + sweep_orphans(
            self.store.catalog, self.store.blobs, older_than_s
        )

    def _delete_if_there(self, bucket: str, name: str) -> bool:
        try:
            self.objects.delete(bucket, name)
        except NotFound:
            return False
        return True
