"""Cloud Storage in this process, with the rights of one caller."""

import contextlib
from collections.abc import Iterable, Iterator

from tensordeck.access import Access, Caller
from tensordeck.errors import NotFound
from tensordeck.services.storage import StorageService
from tensordeck.services.storage_attributes import Attributes
from tensordeck.services.storage_listing import walk
from tensordeck.services.storage_names import resource_name
from tensordeck.store.resources import StoredObject

__all__ = ["CallersStorage"]


class CallersStorage:
    """Buckets and objects as one caller may use them. Thread-safe.

    Every method raises PermissionDenied where the caller lacks the right.

    Args:
        storage: Buckets and objects.
        access: Who may do what.
        caller: Who asks.
    """

    def __init__(self, storage: StorageService, access: Access, caller: Caller) -> None:
        self._storage = storage
        self._access = access
        self._caller = caller

    def ensure_bucket(self, bucket: str, project: str, location: str) -> None:
        """Makes a bucket if there is none of that name."""
        try:
            self._storage.buckets.get(bucket)
        except NotFound:
            self._access.check(self._caller, "storage.buckets.create", f"projects/{project}")
            self._storage.create_bucket(bucket, project, location)

    def read(self, bucket: str, name: str) -> Iterator[bytes]:
        """Streams an object's bytes.

        Raises:
            NotFound: If there is none.
        """
        self._check("get", bucket, name)
        return self._storage.read_object(bucket, name)

    def write(self, bucket: str, name: str, chunks: Iterable[bytes], content_type: str) -> None:
        """Stores an object; returns when it is durable.

        Raises:
            NotFound: If there is no such bucket.
            InvalidArgument: If the name is invalid.
        """
        self._check("create", bucket, name)
        attributes = Attributes(content_type=content_type)
        self._storage.objects.write(bucket, name, chunks, attributes)

    def below(self, bucket: str, name: str) -> Iterator[StoredObject]:
        """Finds the object of a name and those in the folder of that name, if there are any.

        Args:
            bucket: The bucket.
            name: The name; with a slash at its end, only the folder. Empty: everything.
        """
        self._check("list", bucket)
        with contextlib.suppress(NotFound):
            if name and not name.endswith("/"):
                with contextlib.suppress(NotFound):
                    yield self._storage.objects.get(bucket, name)
                name += "/"
            yield from walk(self._storage.store, bucket, name)

    def _check(self, verb: str, bucket: str, name: str = "") -> None:
        self._access.check(self._caller, f"storage.objects.{verb}", resource_name(bucket, name))
