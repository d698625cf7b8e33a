"""Staging: what a job reads from Cloud Storage, and what it leaves there.

A job's folder `gcs` is the local face of Cloud Storage: `gcs/BUCKET/OBJECT` is `gs://BUCKET/OBJECT`,
as `/gcs/BUCKET/OBJECT` is in the managed service. Objects that the job needs are brought there
before it starts; files that it writes go up while it runs and at its end.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tensordeck.access import Access, Caller
from tensordeck.errors import InvalidArgument
from tensordeck.jobs.callers_storage import CallersStorage
from tensordeck.jobs.downloads import bring, fetch, is_file_name
from tensordeck.jobs.file_changes import FileChanges
from tensordeck.jobs.uploads import Uploaded, Uploads
from tensordeck.services.storage import StorageService
from tensordeck.services.storage_names import split_uri

__all__ = ["Staging", "Uploaded"]

log = logging.getLogger(__name__)

_PAUSE: Final = 1.0


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
        self._storage = CallersStorage(storage, access, caller)
        self._drafts = folder / "gcs.drafts"
        self._changes = FileChanges(self.root, folder / "gcs.json")
        self._interrupt = threading.Event()
        self._uploads = Uploads(
            self._storage, self.root, self._changes, self._warn_once, self._interrupt
        )
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
        if not all(map(is_file_name, parts)):
            raise InvalidArgument(
                f"{uri} can't be a local path: choose one without empty parts, `.` and `..`, "
                "and with at most 255 bytes between two slashes."
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
        self._storage.ensure_bucket(split_uri(uri)[0], project, location)

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
        return fetch(self._storage, uris, folder)

    def down(self, uri: str) -> int:
        """Brings the object of a URI, and all below it, to their local places.

        A local file that has changed since it was brought or taken stays as it is.

        Args:
            uri: `gs://BUCKET/OBJECT`, or `gs://BUCKET/PREFIX` with or without a slash at the end.

        Returns:
            How many objects were brought.

        Raises:
            InvalidArgument: If it is no such URI.
            PermissionDenied: If the caller may not read there.
            FailedPrecondition: If the disk has no room for them, or can't be written.
        """
        with self._pass:
            count = bring(
                self._storage, uri, self.root, self._drafts, self._changes, self._warn_once
            )
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
        with self._pass:
            done = self._uploads.run(settled_only=settled_only)
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
        self._end()
        deadline = time.monotonic() + patience_seconds
        done = self.up()
        while done.passing and time.monotonic() < deadline:
            threading.Event().wait(_PAUSE)
            again = self.up()
            again.objects += done.objects
            again.bytes += done.bytes
            done = again
        return done

    def leave(self) -> None:
        """Ends it at once, without a last upload: another Staging in this folder will go on."""
        self._interrupt.set()
        self._end()

    def _end(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _repeat(self, period_seconds: float) -> None:
        while not self._stop.wait(period_seconds):
            try:
                self.up(settled_only=True)
            except Exception:
                log.exception("Uploading from %s failed", self.root)

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)
