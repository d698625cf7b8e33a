"""While a backup reads blobs, no server deletes any: holds, small objects beside the blobs.

A deleter looks for holds after the row that referred to the blob is gone; a reader sets its hold
before it chooses the moment that it reads. So whoever saw no hold deletes what that moment does not
refer to. What stays behind meanwhile has no row, and is swept later like any other orphan.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import obstore

from tensordeck import errors
from tensordeck.store.object_store import translated

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["PREFIX", "BlobHolds"]

PREFIX: Final = "holds/"
"""Where holds lie; no blob's key starts so."""
_COUNTS_FOR_SECONDS: Final = 900.0
"""A hold that was not renewed for so long is that of a process that was killed."""
_RENEW_SECONDS: Final = 60.0

_log: Final = logging.getLogger(__name__)


class BlobHolds:
    """The holds on one object store.

    Args:
        store: The store.
    """

    def __init__(self, store: "ObjectStore") -> None:
        self._store = store

    def any(self) -> bool:
        """Whether anybody holds the blobs now; removes holds that no longer count."""
        held = False
        now = datetime.now(UTC)
        with translated(PREFIX):
            for page in obstore.list(self._store, PREFIX):
                for found in page:
                    age = (now - found["last_modified"]).total_seconds()
                    if age < _COUNTS_FOR_SECONDS:
                        held = True
                    else:
                        with contextlib.suppress(FileNotFoundError):
                            obstore.delete(self._store, found["path"])
        return held

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds the blobs while the block runs.

        Raises:
            errors.TensordeckError: If the store can't be written.
        """
        key = f"{PREFIX}{uuid4().hex}"
        self._set(key)
        done = threading.Event()
        renewal = threading.Thread(
            target=self._renew, args=(key, done), name="blob-hold", daemon=True
        )
        renewal.start()
        try:
            yield
        finally:
            done.set()
            renewal.join()
            with contextlib.suppress(errors.TensordeckError), translated(key):
                obstore.delete(self._store, key)

    def _set(self, key: str) -> None:
        with translated(key):
            obstore.put(self._store, key, b"held\n")

    def _renew(self, key: str, done: threading.Event) -> None:
        while not done.wait(_RENEW_SECONDS):
            try:
                self._set(key)
            except errors.TensordeckError as error:
                _log.warning("The hold on the blobs could not be renewed: %s", error.message)
