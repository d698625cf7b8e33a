"""From Cloud Storage to a job's folder: single objects, and whole folders of them."""

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tensordeck import confined
from tensordeck.errors import FailedPrecondition, InvalidArgument, NotFound
from tensordeck.jobs.callers_storage import CallersStorage
from tensordeck.jobs.file_changes import FileChanges, Mark, mark_of
from tensordeck.services.storage_names import object_name, split_uri
from tensordeck.store.resources import StoredObject

__all__ = ["bring", "fetch", "is_file_name"]

_AT_ONCE: Final = 8
_LONGEST_NAME: Final = 255


def is_file_name(part: str) -> bool:
    """Whether a part of an object's name can be a file's."""
    return part not in ("", ".", "..") and len(part.encode()) <= _LONGEST_NAME


def fetch(storage: CallersStorage, uris: Sequence[str], folder: Path) -> list[Path]:
    """Downloads single objects, each into a folder of its own, for names may be the same.

    Raises:
        InvalidArgument: If a URI is none, or names a folder.
        NotFound: If an object does not exist; the message names its URI.
        FailedPrecondition: If the disk is full or the folder can't be written.
    """
    paths = []
    for index, uri in enumerate(uris):
        bucket, name = split_uri(uri)
        last = name.rpartition("/")[2]
        if not is_file_name(last):
            raise InvalidArgument(f"{uri} does not name a file.")
        path = folder / str(index) / last
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.writelines(storage.read(bucket, name))
        except NotFound as error:
            raise NotFound(
                f"{uri} does not exist. Upload it, or correct the job's spec."
            ) from error
        except OSError as error:
            raise FailedPrecondition(
                f"{uri} can't be downloaded to {folder}: {error.strerror or error}."
            ) from error
        paths.append(path)
    return paths


def bring(
    storage: CallersStorage,
    uri: str,
    root: Path,
    drafts: Path,
    changes: FileChanges,
    warn: Callable[[str], None],
) -> int:
    """Brings the object of a URI, and all below it, to their places in a folder.

    A local file that has changed since it was brought or taken stays as it is.

    Args:
        storage: Where from.
        uri: `gs://BUCKET/OBJECT`, or `gs://BUCKET/PREFIX` with or without a slash at the end.
        root: The folder that has a folder for each bucket; made when missing.
        drafts: A folder on the same disk for what is not complete yet; made when missing.
        changes: Learns what was brought.
        warn: Told which objects no path can stand for.

    Returns:
        How many objects were brought.

    Raises:
        InvalidArgument: If it is no such URI.
        FailedPrecondition: If the disk has no room for them, or can't be written.
    """
    rows = list(storage.below(*split_uri(uri)))
    try:
        drafts.mkdir(exist_ok=True)
        root.mkdir(exist_ok=True)
        size, free = sum(row.size for row in rows), shutil.disk_usage(root).free
    except OSError as error:
        raise FailedPrecondition(f"{root} can't be written: {error.strerror or error}.") from error
    if size > free:
        raise FailedPrecondition(
            f"The objects below {uri} have {size:,} bytes, but the job's disk has {free:,} "
            "left. Free some, or point the job at a smaller folder."
        )

    def one(row: StoredObject) -> bool:
        try:
            return _bring_one(storage, row, root, drafts, changes)
        except OSError as error:
            warn(f"gs://{row.name} was not brought to the job: {error.strerror or error}.")
            return False

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return sum(pool.map(one, rows))


def _bring_one(
    storage: CallersStorage, row: StoredObject, root: Path, drafts: Path, changes: FileChanges
) -> bool:
    """Brings an object to its place; returns whether it had to."""
    if row.name.endswith("/"):  # what the web console leaves to stand for an empty folder
        return False
    bucket = row.name.partition("/")[0]
    with confined.open_parent(root, row.name, make=True) as (folder, last):
        there = _mark_there(folder, last)
        if there is not None and not changes.is_known(row.name, there):
            return False
        with _draft(drafts) as draft:
            try:
                with draft.open("wb") as file:
                    file.writelines(storage.read(bucket, object_name(row)))
            except NotFound:  # deleted since it was listed
                return False
            # Whatever is written there later has a later time.
            os.utime(draft, ns=(row.update_time * 1000,) * 2)
            mark = mark_of(draft.stat())
            os.replace(draft, last, dst_dir_fd=folder)
    changes.bring(row.name, mark)
    return True


@contextlib.contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    draft = folder / secrets.token_hex(8)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _mark_there(folder: int, name: str) -> Mark | None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return mark_of(found)
