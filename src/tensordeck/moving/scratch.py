"""A backup's rows: an SQLite file with the store's own tables, so that any database's fit.

Older schemas are brought up to date by the same steps as a server's own file. One more table,
`backup_blobs`, says what blobs there are, where they lie in the backup and what they hash to.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import zstandard
from sqlalchemy import Connection, text

from tensordeck import errors
from tensordeck.moving.archive import Archive
from tensordeck.moving.manifest import Part
from tensordeck.settings import Settings
from tensordeck.store.database import Database, open_database, open_unchanged

__all__ = [
    "StoredBlob",
    "add_blobs",
    "compressed",
    "new_rows",
    "opened_rows",
    "scratch_folder",
    "stored_blob",
    "stored_blobs",
]

_CHUNK: Final = 2**20
_LEVEL: Final = 3
_FILE: Final = "tensordeck.db"
_PAGE: Final = 500


class StoredBlob(NamedTuple):
    """A blob of a backup.

    Attributes:
        key: Its key in the store.
        size: Bytes.
        crc32c: What they hash to.
        position: Where they begin in a tar file.
    """

    key: str
    size: int
    crc32c: int
    position: int

    @property
    def part(self) -> Part:
        """Where it lies; its hash is not SHA-256."""
        return Part(f"blobs/{self.key}", self.size, "", self.position)


@contextlib.contextmanager
def scratch_folder(parent: Path | None, beside: Path | None = None) -> Iterator[Path]:
    """A folder for the rows, as long as the block runs.

    Args:
        parent: Where to make it; the system's place for such when None.
        beside: The file that it stands beside, if there is one and no `parent`: what a run that
            was killed has left there is removed.

    Raises:
        errors.FailedPrecondition: If it can't be made.
    """
    folder = parent
    try:
        if parent is None and beside is not None:
            folder = beside.with_name(f".{beside.name}.scratch")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        else:
            folder = Path(tempfile.mkdtemp(dir=parent, prefix="tensordeck-"))
    except OSError as error:
        raise errors.FailedPrecondition(
            f"{error.filename or folder} can't be used as scratch space: {error.strerror}."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def new_rows(folder: Path) -> Iterator[Database]:
    """An empty file of rows in a folder."""
    database = open_database(Settings(data_dir=folder))
    try:
        database.write(
            lambda connection: connection.execute(
                text(
                    "CREATE TABLE backup_blobs (key TEXT PRIMARY KEY, size INTEGER NOT NULL, "
                    "crc32c INTEGER NOT NULL, position INTEGER NOT NULL) WITHOUT ROWID"
                )
            )
        )
        yield database
    finally:
        database.close()


def add_blobs(database: Database, blobs: Sequence[StoredBlob]) -> None:
    """Notes blobs; one that is there already is noted anew."""
    if blobs:
        database.write(
            lambda connection: connection.execute(
                text(
                    "INSERT OR REPLACE INTO backup_blobs VALUES (:key, :size, :crc32c, :position)"
                ),
                [blob._asdict() for blob in blobs],
            )
        )


def stored_blobs(database: Database) -> Iterator[StoredBlob]:
    """Yields the blobs of a backup in the order in which they lie there."""
    with database.read() as connection:
        rows = connection.execute(
            text("SELECT key, size, crc32c, position FROM backup_blobs ORDER BY position, key"),
            execution_options={"yield_per": _PAGE},
        )
        for row in rows:
            yield StoredBlob(*row)


def stored_blob(connection: Connection, key: str) -> StoredBlob | None:
    """Finds a blob of a backup."""
    row = connection.execute(
        text("SELECT key, size, crc32c, position FROM backup_blobs WHERE key = :key"), {"key": key}
    ).first()
    return StoredBlob(*row) if row else None


def compressed(folder: Path) -> Iterator[bytes]:
    """Streams a folder's closed file of rows, compressed."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    with (folder / _FILE).open("rb") as file:
        yield from compressor.read_to_iter(file, read_size=_CHUNK, write_size=_CHUNK)


@contextlib.contextmanager
def opened_rows(archive: Archive, folder: Path) -> Iterator[Database]:
    """Unpacks a backup's rows into a folder, checks them, and opens them in this version's schema.

    Raises:
        errors.DataLoss: If they are not as they were written.
        errors.ResourceExhausted: If there is no room for them.
    """
    try:
        with (folder / _FILE).open("wb") as file:
            unpacking = zstandard.ZstdDecompressor().decompressobj()
            for chunk in archive.checked(archive.manifest.database):
                file.write(unpacking.decompress(chunk))
            file.flush()
            os.fsync(file.fileno())
    except zstandard.ZstdError as error:
        raise archive.damaged(archive.manifest.database.name) from error
    except OSError as error:
        raise errors.ResourceExhausted(
            f"{folder.parent} can't hold the backup's rows: {error.strerror}. Name a larger disk "
            "with --scratch."
        ) from error
    settings = Settings(data_dir=folder)
    open_database(settings).close()  # brings it up to date, where a server would
    database = open_unchanged(settings)
    try:
        yield database
    finally:
        database.close()
