"""Backup and restore: one moment of a store in one file, or below a prefix of an object store."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tensordeck import __version__, errors
from tensordeck.moving.archive import Archive, NewArchive, begin_archive, open_archive
from tensordeck.moving.blob_copies import BlobCopies, CopiedBlob, Losses, Measured
from tensordeck.moving.comparing import Comparison, compare
from tensordeck.moving.copying import DatabaseCopy, row_counts
from tensordeck.moving.data_files import data_files, put_data_file
from tensordeck.moving.manifest import Manifest
from tensordeck.moving.moment import held_moment
from tensordeck.moving.places import open_source, open_target
from tensordeck.moving.progress import Progress, Step, silent
from tensordeck.moving.scratch import (
    StoredBlob,
    add_blobs,
    compressed,
    new_rows,
    opened_rows,
    scratch_folder,
    stored_blob,
    stored_blobs,
)
from tensordeck.settings import Settings
from tensordeck.store.database import Database
from tensordeck.store.migrations import head

__all__ = ["Restored", "back_up", "check_backup", "restore"]

_DATABASE: Final = "tensordeck.db.zst"
_FILES: Final = "files/"
_CREDENTIALS: Final = frozenset({"credentials"})
_PARALLEL: Final = 8


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done.

    Attributes:
        manifest: The backup's.
        target: The target's name.
        comparison: The backup and the target, compared at the end.
        losses: What the store that was backed up had lost before.
        resumed: Whether an interrupted run was taken up.
    """

    manifest: Manifest
    target: str
    comparison: Comparison
    losses: Losses
    resumed: bool


def back_up(
    source: Settings,
    target: str,
    *,
    scratch: Path | None = None,
    without_credentials: bool = False,
    progress: Progress = silent,
) -> Manifest:
    """Writes one moment of a store, with all blobs that its rows refer to. Servers go on meanwhile.

    Args:
        source: The store.
        target: A path, or the URL of a prefix.
        scratch: A folder with room for the rows; beside the file, or the system's for a prefix,
            when None.
        without_credentials: Whether to leave keys, the signing secret, and the data directory's
            files out.
        progress: Told how far it is.

    Raises:
        errors.FailedPrecondition: If there is no store, or the target exists or can't be written.
        errors.ResourceExhausted: If a disk is full.
    """
    left_out = _CREDENTIALS if without_credentials else frozenset()
    file = None if "://" in target else Path(target).absolute()
    with open_source(source) as place, place.blobs.held(), _begun(target) as archive:
        with scratch_folder(scratch, beside=file) as folder:
            with new_rows(folder) as rows:
                blobs = _ArchivedBlobs(archive, rows)
                copies = BlobCopies(place.blobs, blobs, parallel=archive.parallel)
                with held_moment(place.database) as moment:
                    when = datetime.now(UTC)
                    DatabaseCopy(
                        moment,
                        rows,
                        copies,
                        leave_out=left_out,
                        progress=progress,
                        copied=blobs.note,
                    ).run("Backing up")
                with rows.read() as connection:
                    counts = row_counts(connection)
            progress(Step("Packing", 0, 0, copies.size))
            database = archive.write(_DATABASE, compressed(folder))
        files = [
            archive.write(_FILES + name, iter((content,)))
            for name, content in (() if without_credentials else data_files(source.data_dir))
        ]
        manifest = Manifest(
            schema=head(),
            version=__version__,
            time=when.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            source=place.name,
            rows=counts,
            blobs=copies.count,
            blob_bytes=copies.size,
            database=database,
            files=files,
            lost=copies.losses.told(),
            without_credentials=without_credentials,
        )
        archive.finish(manifest)
    return manifest


def restore(
    source: str, target: Settings, *, scratch: Path | None = None, progress: Progress = silent
) -> Restored:
    """Makes a backup's moment a store again, in whatever database.

    All of the backup is read and checked before anything is written.

    Args:
        source: A path, or the URL of a prefix.
        target: An empty place, or what an interrupted run of the same restore left.
        scratch: A folder with room for the rows; the system's when None.
        progress: Told how far it is.

    Raises:
        errors.DataLoss: If the backup is damaged.
        errors.FailedPrecondition: If there is no backup, a newer version wrote it, or the target
            is not empty or can't be used.
        errors.ResourceExhausted: If a disk is full. The same call goes on where this one stopped.
    """
    archive = _readable(source)
    with scratch_folder(scratch) as folder, opened_rows(archive, folder) as rows:
        files = _check_parts(archive, rows, progress)
        origin = f"the backup of {archive.manifest.time} in {archive.where}"
        with open_target(target, origin) as place, held_moment(rows) as moment:
            copies = BlobCopies(
                _BackedUpBlobs(archive, rows), place.place.blobs, check=place.place.blobs
            )
            database = place.place.database
            DatabaseCopy(moment, database, copies, progress=progress).run("Restoring")
            with held_moment(database) as theirs:
                comparison = compare(moment, theirs, progress)
            if not comparison.alike:
                raise errors.DataLoss(
                    f"{place.place.name} does not hold what {archive.where} holds: "
                    f"{comparison.differing(moment)}. Empty it and try again."
                )
            for name, content in files:
                put_data_file(target.data_dir, name, content)
            place.finish()
            return Restored(
                archive.manifest, place.place.name, comparison, copies.losses, place.resumed
            )


def check_backup(
    source: str, *, scratch: Path | None = None, progress: Progress = silent
) -> Manifest:
    """Reads all of a backup and compares every checksum.

    Raises:
        errors.DataLoss: If it is damaged.
        errors.FailedPrecondition: If there is none, or a newer version wrote it.
    """
    archive = _readable(source)
    with scratch_folder(scratch) as folder, opened_rows(archive, folder) as rows:
        _check_parts(archive, rows, progress)
    return archive.manifest


def _readable(source: str) -> Archive:
    """Opens a backup whose rows this version can read."""
    archive = open_archive(source)
    if archive.manifest.schema > head():
        raise errors.FailedPrecondition(
            f"{archive.where} was written by a newer version of Tensordeck "
            f"({archive.manifest.version}, schema {archive.manifest.schema}; this version knows "
            f"{head()}). Restore it with that version or a later one."
        )
    return archive


def _check_parts(archive: Archive, rows: Database, progress: Progress) -> list[tuple[str, bytes]]:
    """Reads every part but the rows; returns the small files.

    Raises:
        errors.DataLoss: If one is not as it was written.
    """
    files = [
        (part.name.removeprefix(_FILES), b"".join(archive.checked(part)))
        for part in archive.manifest.files
    ]

    def check(blob: StoredBlob) -> None:
        found = Measured(archive.read(blob.part)).exhausted()
        if (found.size, found.crc32c) != (blob.size, blob.crc32c):
            raise archive.damaged(blob.part.name)

    count, size = 0, 0
    with ThreadPoolExecutor(_PARALLEL, "backup-check") as pool:
        group: list[StoredBlob] = []

        def check_group() -> None:
            for _ in pool.map(check, group):
                pass

        for blob in stored_blobs(rows):
            group.append(blob)
            if len(group) == _PARALLEL * 8:
                check_group()
                count, size = count + len(group), size + sum(one.size for one in group)
                progress(Step("Checking the backup", count, archive.manifest.blobs, size))
                group.clear()
        check_group()
        count += len(group)
    if count != archive.manifest.blobs:
        raise archive.damaged("the list of its blobs")
    return files


@contextlib.contextmanager
def _begun(target: str) -> Iterator[NewArchive]:
    """A backup that is being written; what is there of it is removed if the block fails."""
    archive = begin_archive(target)
    try:
        yield archive
    except errors.ResourceExhausted as error:
        archive.drop()
        raise errors.ResourceExhausted(
            f"There is no room for the backup to {target}, or for its scratch folder. Free some "
            "space, or name a larger disk with --scratch."
        ) from error
    except BaseException:
        archive.drop()
        raise


class _ArchivedBlobs:
    """Writes blobs into a backup, and notes in its rows what they are."""

    def __init__(self, archive: NewArchive, rows: Database) -> None:
        self._archive = archive
        self._rows = rows
        self._positions: dict[str, int] = {}

    def write(self, key: str, chunks: Iterator[bytes]) -> int:
        """See `BlobTarget.write`."""
        part = self._archive.write(f"blobs/{key}", chunks)
        self._positions[key] = part.position
        return part.size

    def note(self, copied: Sequence[CopiedBlob]) -> None:
        """Notes what was copied."""
        add_blobs(
            self._rows,
            [StoredBlob(*blob, position=self._positions.pop(blob.key)) for blob in copied],
        )


class _BackedUpBlobs:
    """Reads blobs out of a backup by their keys."""

    def __init__(self, archive: Archive, rows: Database) -> None:
        self._archive = archive
        self._rows = rows

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See `BlobSource.read`; whole blobs only."""
        if start or end is not None:
            raise NotImplementedError("Backups are read blob by blob.")
        with self._rows.read() as connection:
            blob = stored_blob(connection, key)
        if blob is None:
            raise errors.NotFound(f"The backup has no blob {key}.")
        return self._archive.read(blob.part)
