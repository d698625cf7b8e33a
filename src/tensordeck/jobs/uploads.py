"""From a job's folder to Cloud Storage: new and changed files, whole or not at all."""

import mimetypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Final

from tensordeck import confined
from tensordeck.confined import Found
from tensordeck.errors import (
    Aborted,
    InvalidArgument,
    ResourceExhausted,
    TensordeckError,
    Unavailable,
)
from tensordeck.jobs.callers_storage import CallersStorage
from tensordeck.jobs.file_changes import FileChanges, Mark, mark_of
from tensordeck.services.storage_names import validate_bucket, validate_object

__all__ = ["Uploaded", "Uploads"]

_AT_ONCE: Final = 8
"""Files under way together: each waits for its commit, and those under way share one."""

_CHUNK: Final = 1 << 20
_READS_OF_A_RESTLESS_FILE: Final = 3
_PASSING: Final = (Unavailable, ResourceExhausted, Aborted)


@dataclass(slots=True)
class Uploaded:
    """What was uploaded.

    Attributes:
        objects: How many objects were written.
        bytes: Their size together.
        failed: Why a file could not be uploaded, by its `gs://` URI.
        passing: Whether one of the reasons may pass by itself.
    """

    objects: int = 0
    bytes: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    passing: bool = False


class _StillWritten(Exception):  # noqa: N818 -- a state of the file, not a fault
    """A file changed while it was read."""


class _Interrupted(Exception):  # noqa: N818 -- wanted, not a fault
    """Whoever asked for the upload wants it no more."""


class Uploads:
    """Passes over a folder that has a folder for each bucket. One pass at a time.

    Args:
        storage: Where to.
        root: The folder.
        changes: Tells what has changed, and learns what was uploaded.
        warn: Told what can't be uploaded; called from any thread.
        interrupt: Ends a pass when set, also in the middle of a file.
    """

    def __init__(
        self,
        storage: CallersStorage,
        root: Path,
        changes: FileChanges,
        warn: Callable[[str], None],
        interrupt: threading.Event,
    ) -> None:
        self._storage = storage
        self._root = root
        self._changes = changes
        self._warn = warn
        self._interrupt = interrupt

    def run(self, *, settled_only: bool) -> Uploaded:
        """Makes one pass.

        Args:
            settled_only: Leave out what has changed since the last such pass.
        """
        done = Uploaded()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            changed = self._changes.changed(settled_only=settled_only)
            under_way = [(found, pool.submit(self._upload, found)) for found in changed]
            for found, future in under_way:
                try:
                    size = future.result()
                except _Interrupted:
                    continue
                except _StillWritten:
                    if not settled_only:
                        self._fail(done, found, "it is still being written.", passing=True)
                except InvalidArgument as error:  # no object can have that name
                    self._warn(f"{_shown(found)} was not uploaded: {error.message}")
                except TensordeckError as error:
                    self._fail(done, found, error.message, passing=isinstance(error, _PASSING))
                except OSError as error:
                    self._fail(done, found, f"{error.strerror or error}.", passing=False)
                else:
                    if size is not None:
                        done.objects += 1
                        done.bytes += size
        return done

    def _upload(self, found: Found) -> int | None:
        """Uploads a file; returns its size, or None if there is nothing to do."""
        bucket, _, name = found.name.partition("/")
        if not name:
            return None  # beside the buckets
        validate_bucket(bucket)
        validate_object(name)
        content_type = mimetypes.guess_type(name)[0] or ""
        for attempt in range(1, _READS_OF_A_RESTLESS_FILE + 1):
            began = time.monotonic()
            try:
                descriptor = confined.open_for_reading(self._root, found.target)
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                mark = mark_of(os.fstat(descriptor))
                try:
                    self._storage.write(bucket, name, self._chunks(file, mark), content_type)
                except _StillWritten:
                    if attempt == _READS_OF_A_RESTLESS_FILE:
                        raise
                    continue
            self._changes.take(found.name, mark, time.monotonic() - began)
            return mark[0]
        raise AssertionError("the last attempt returns or raises")

    def _chunks(self, file: FileIO, mark: Mark) -> Iterator[bytes]:
        """The bytes of a file, which must stay as it is until the last one was read."""
        while chunk := file.read(_CHUNK):
            if self._interrupt.is_set():
                raise _Interrupted
            yield chunk
        if mark_of(os.fstat(file.fileno())) != mark:
            raise _StillWritten

    def _fail(self, done: Uploaded, found: Found, reason: str, *, passing: bool) -> None:
        done.failed[_shown(found)] = reason
        done.passing |= passing
        self._warn(f"{_shown(found)} was not uploaded: {reason}")


def _shown(found: Found) -> str:
    """A file's URI, for people to read."""
    return f"gs://{os.fsencode(found.name).decode('utf-8', 'replace')}"
