"""Staging: what a job reads from Cloud Storage, and what it leaves there.

A job's folder `gcs` is the local face of Cloud Storage: `gcs/BUCKET/OBJECT` is `gs://BUCKET/OBJECT`,
as `/gcs/BUCKET/OBJECT` is in the managed service. Objects that the job needs are brought there
before it starts; files that it writes go up while it runs and at its end.
"""

import contextlib
import errno
import logging
import mimetypes
import os
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Final

from tensordeck import confined
from tensordeck.access import Access, Caller
from tensordeck.confined import Found
from tensordeck.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    TensordeckError,
    Unavailable,
)
from tensordeck.jobs.file_changes import FileChanges, Mark, mark_of
from tensordeck.services.storage import StorageService
from tensordeck.services.storage_attributes import Attributes
from tensordeck.services.storage_listing import walk
from tensordeck.services.storage_names import (
    object_name,
    resource_name,
    split_uri,
    validate_bucket,
    validate_object,
)
from tensordeck.store.resources import StoredObject

__all__ = ["Staging", "Uploaded"]

log = logging.getLogger(__name__)

_AT_ONCE: Final = 8
"""Files under way together: each waits for its commit, and those under way share one."""

_CHUNK: Final = 1 << 20
_LONGEST_NAME: Final = 255
_READS_OF_A_RESTLESS_FILE: Final = 3
_PAUSE: Final = 1.0
_PASSING: Final = (Unavailable, ResourceExhausted, Aborted)


@dataclass(slots=True)
class Uploaded:
    """What one pass over the folder did.

    Attributes:
        objects: How many were written.
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


class Staging:
    """One job's way to Cloud Storage, with the rights of its caller. Thread-safe.

    The job's files are not trusted: nothing is read or written through a link that leads out of
    the folder. A link to a file in it goes up as a file of its own; links to folders do not.
    Names that one side can't have are left out with a warning, and so are empty folders. A file
    that the job deletes stays in Cloud Storage.

    Attributes:
        root: The local face of Cloud Storage.
    """

    def __init__(
        self,
        storage: StorageService,
        access: Access,
        caller: Caller,
        folder: Path,
        warn: Callable[[str], None],
    ) -> None:
        """Prepares; reads what an earlier Staging in this folder remembered.

        Args:
            storage: Buckets and objects.
            access: What the caller may do.
            caller: On whose behalf: the job's service account, or who made the job.
            folder: The folder of the job's attempt, which exists. `gcs` in it is the face.
            warn: Takes one sentence for the job's log; called from any thread.
        """
        self.root = folder / "gcs"
        self._storage = storage
        self._access = access
        self._caller = caller
        self._drafts = folder / "gcs.drafts"
        self._changes = FileChanges(self.root, folder / "gcs.json")
        self._warn = warn
        self._warned: set[str] = set()
        self._pass = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def path_of(self, uri: str) -> Path:
        """Where `gs://BUCKET/OBJECT` lies locally, whether it is there or not.

        Raises:
            InvalidArgument: If it is no such URI, or no local path can stand for it.
        """
        bucket, name = split_uri(uri)
        parts = name.rstrip("/").split("/") if name else []
        if not all(map(_is_file_name, parts)):
            raise InvalidArgument(
                f"{uri} can't be a local path: choose one without empty parts, `.` and `..`, "
                f"and with at most {_LONGEST_NAME} bytes between two slashes."
            )
        return self.root.joinpath(bucket, *parts)

    def make_folder(self, uri: str) -> Path:
        """Makes the local folder that stands for `gs://BUCKET/PREFIX`, and returns it.

        Raises:
            InvalidArgument: As `path_of`.
        """
        path = self.path_of(uri)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def ensure_bucket(self, uri: str, project: str, location: str = "US") -> None:
        """Makes the bucket of a URI if there is none, as the official client does.

        Raises:
            InvalidArgument: If it is no such URI.
            PermissionDenied: If it is missing and the caller may not make it.
        """
        bucket, _ = split_uri(uri)
        try:
            self._storage.buckets.get(bucket)
        except NotFound:
            self._access.check(self._caller, "storage.buckets.create", f"projects/{project}")
            self._storage.create_bucket(bucket, project, location)

    def fetch(self, uris: Sequence[str], folder: Path) -> list[Path]:
        """Downloads single objects, packages for instance, each under its own file name.

        Args:
            uris: `gs://BUCKET/OBJECT` each.
            folder: Where to; each goes to a folder of its own there, for names may be the same.

        Returns:
            The files, in the order of the URIs.

        Raises:
            InvalidArgument: If a URI is none, or names a folder.
            NotFound: If an object does not exist; the message names its URI.
            PermissionDenied: If the caller may not read one.
            FailedPrecondition: If the disk is full or the folder can't be written.
        """
        paths = []
        for index, uri in enumerate(uris):
            bucket, name = split_uri(uri)
            last = name.rpartition("/")[2]
            if not _is_file_name(last):
                raise InvalidArgument(f"{uri} does not name a file.")
            path = folder / str(index) / last
            with _as_precondition(f"{uri} can't be downloaded to {folder}"):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    try:
                        file.writelines(self._open(bucket, name))
                    except NotFound as error:
                        raise NotFound(
                            f"{uri} does not exist. Upload it, or correct the job's spec."
                        ) from error
            paths.append(path)
        return paths

    def down(self, uri: str) -> int:
        """Brings the object of a URI, or all below it, to their local places.

        A local file that has changed since it was brought or taken stays as it is.

        Args:
            uri: `gs://BUCKET/OBJECT`, or `gs://BUCKET/PREFIX` with or without a slash at the end.

        Returns:
            How many objects were brought.

        Raises:
            InvalidArgument: If it is no such URI.
            PermissionDenied: If the caller may not read there.
            FailedPrecondition: If the disk has no room for them.
        """
        bucket, name = split_uri(uri)
        self._access.check(self._caller, "storage.objects.list", resource_name(bucket))
        rows = list(self._below(bucket, name))
        size, free = sum(row.size for row in rows), shutil.disk_usage(self.root.parent).free
        if size > free:
            raise FailedPrecondition(
                f"The objects below {uri} have {size:,} bytes, but the job's disk has {free:,} "
                "left. Free some, or point the job at a smaller folder."
            )
        self._drafts.mkdir(exist_ok=True)
        self.root.mkdir(exist_ok=True)
        with self._pass, ThreadPoolExecutor(_AT_ONCE) as pool:
            count = sum(pool.map(self._bring, rows))
            self._changes.save()
        return count

    def up(self, *, settled_only: bool = False) -> Uploaded:
        """Uploads new and changed files.

        A file that changes while it is read is left for the next time.

        Args:
            settled_only: Leave out what has changed since the last such call: it is likely to be
                half-written. A file that grows all the time goes up now and then.

        Returns:
            What was done. A file that failed is tried again the next time; the job's log has a
            warning.
        """
        done = Uploaded()
        with self._pass, ThreadPoolExecutor(_AT_ONCE) as pool:
            changed = self._changes.changed(settled_only=settled_only)
            uploads = [(found, pool.submit(self._upload, found)) for found in changed]
            for found, future in uploads:
                try:
                    size = future.result()
                except InvalidArgument as error:  # no object can have that name
                    self._warn_once(f"{_shown(found.name)} was not uploaded: {error.message}")
                except TensordeckError as error:
                    self._fail(done, found, error.message, passing=isinstance(error, _PASSING))
                except OSError as error:
                    self._fail(done, found, error.strerror or str(error), passing=False)
                except _StillWritten:
                    if not settled_only:
                        self._fail(done, found, "it is still being written.", passing=True)
                else:
                    if size is not None:
                        done.objects += 1
                        done.bytes += size
            if done.objects:
                self._changes.save()
        return done

    def start(self, period_seconds: float = 5.0) -> None:
        """Starts to upload what has settled, again and again.

        Args:
            period_seconds: The pause between two passes.
        """
        self._thread = threading.Thread(
            target=self._repeat, args=(period_seconds,), name="staging", daemon=True
        )
        self._thread.start()

    def stop(self, patience_seconds: float = 30.0) -> Uploaded:
        """Ends that, and uploads everything that is left.

        Args:
            patience_seconds: For how long files are tried again that fail for a reason that may
                pass.

        Returns:
            What was done, with what could not be uploaded in `failed`.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        deadline = time.monotonic() + patience_seconds
        done = self.up()
        while done.passing and time.monotonic() < deadline:
            threading.Event().wait(_PAUSE)
            again = self.up()
            again.objects += done.objects
            again.bytes += done.bytes
            done = again
        return done

    def _repeat(self, period_seconds: float) -> None:
        while not self._stop.wait(period_seconds):
            try:
                self.up(settled_only=True)
            except Exception:
                log.exception("Uploading from %s failed", self.root)

    def _below(self, bucket: str, name: str) -> Iterator[StoredObject]:
        """The object of a name, and those below it."""
        with contextlib.suppress(NotFound):
            if name and not name.endswith("/"):
                with contextlib.suppress(NotFound):
                    yield self._storage.objects.get(bucket, name)
                name += "/"
            yield from walk(self._storage.store, bucket, name)

    def _open(self, bucket: str, name: str) -> Iterator[bytes]:
        self._access.check(self._caller, "storage.objects.get", resource_name(bucket, name))
        return self._storage.read_object(bucket, name)

    def _bring(self, row: StoredObject) -> bool:
        """Brings an object to its place; returns whether it had to."""
        if row.name.endswith("/"):  # what the web console leaves to stand for an empty folder
            return False
        bucket, name = row.name.partition("/")[0], object_name(row)
        draft = self._drafts / secrets.token_hex(8)
        try:
            with confined.open_parent(self.root, row.name, make=True) as (folder, last):
                there = _mark_there(folder, last)
                if there is not None and not self._changes.is_known(row.name, there):
                    return False
                with draft.open("wb") as file:
                    file.writelines(self._open(bucket, name))
                os.utime(draft, ns=(row.update_time * 1000,) * 2)
                os.replace(draft, last, dst_dir_fd=folder)
                if (mark := _mark_there(folder, last)) is not None:
                    self._changes.bring(row.name, mark)
        except NotFound:  # deleted since it was listed
            return False
        except OSError as error:
            self._warn_once(
                f"gs://{row.name} was not brought to the job: {error.strerror or error}."
            )
            return False
        finally:
            draft.unlink(missing_ok=True)
        return True

    def _upload(self, found: Found) -> int | None:
        """Uploads a file; returns its size, or None if it is gone."""
        bucket, _, name = found.name.partition("/")
        if not name:
            return None  # beside the buckets
        validate_bucket(bucket)
        validate_object(name)
        self._access.check(self._caller, "storage.objects.create", resource_name(bucket, name))
        kind = mimetypes.guess_type(name)[0] or ""
        for attempt in range(1, _READS_OF_A_RESTLESS_FILE + 1):
            began = time.monotonic()
            try:
                descriptor = confined.open_for_reading(self.root, found.target)
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                mark = mark_of(os.fstat(descriptor))
                try:
                    self._storage.objects.write(
                        bucket, name, _unchanging(file, mark), Attributes(content_type=kind)
                    )
                except _StillWritten:
                    if attempt == _READS_OF_A_RESTLESS_FILE:
                        raise
                    continue
            self._changes.take(found.name, mark, time.monotonic() - began)
            return mark[0]
        raise AssertionError("the last attempt returns or raises")

    def _fail(self, done: Uploaded, found: Found, reason: str, *, passing: bool) -> None:
        uri = _shown(found.name)
        done.failed[uri] = reason
        done.passing |= passing
        self._warn_once(f"{uri} was not uploaded: {reason}")

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)


def _unchanging(file: FileIO, mark: Mark) -> Iterator[bytes]:
    """The bytes of a file that must stay as it is until the last one was read."""
    while chunk := file.read(_CHUNK):
        yield chunk
    if mark_of(os.fstat(file.fileno())) != mark:
        raise _StillWritten


def _shown(name: str) -> str:
    """A file's URI, for people to read."""
    return f"gs://{os.fsencode(name).decode('utf-8', 'replace')}"


def _mark_there(folder: int, name: str) -> Mark | None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return mark_of(found)


def _is_file_name(part: str) -> bool:
    return part not in ("", ".", "..") and len(part.encode()) <= _LONGEST_NAME


@contextlib.contextmanager
def _as_precondition(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FailedPrecondition(f"{what}: {error.strerror or error}.") from error
