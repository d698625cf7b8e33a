"""Where backups lie: one tar file, or a prefix of an object store.

    manifest.json           see `manifest`; in a tar file the first member, with room to spare
    blobs/KEY               the content of Cloud Storage objects
    files/PATH              small files of the data directory
    tensordeck.db.zst       the rows

A tar file is written under another name and gets its own once it is whole and safe. Of a prefix
the manifest is written last: without it there is no backup. Any `tar` can unpack the file
(POSIX.1-1988 headers, with GNU's form of sizes from 8 GiB on).
"""

import fcntl
import hashlib
import os
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from tensordeck import errors
from tensordeck.moving.manifest import Manifest, Part
from tensordeck.settings import Settings
from tensordeck.store.blobs import open_blobs

__all__ = ["MANIFEST", "Archive", "NewArchive", "begin_archive", "open_archive"]

MANIFEST: Final = "manifest.json"
_MANIFEST_ROOM: Final = 2**16
"""Bytes that a tar file keeps free at its beginning for the manifest."""
_FILE: Final = "file://"
_BLOCK: Final = tarfile.BLOCKSIZE
_CHUNK: Final = 2**20


class NewArchive(ABC):
    """A backup that is being written.

    Attributes:
        parallel: How many parts may be written at a time.
    """

    parallel: int

    @abstractmethod
    def write(self, name: str, chunks: Iterator[bytes]) -> Part:
        """Adds a part."""

    @abstractmethod
    def finish(self, manifest: Manifest) -> None:
        """Makes it whole and durable."""

    @abstractmethod
    def drop(self) -> None:
        """Removes what was written, as far as that can be done."""


class Archive(ABC):
    """A backup that is there.

    Attributes:
        where: Its name for messages.
        manifest: What is in it.
    """

    where: str
    manifest: Manifest

    @abstractmethod
    def read(self, part: Part) -> Iterator[bytes]:
        """Streams a part.

        Raises:
            errors.DataLoss: If it is not there, or shorter than it was.
        """

    def checked(self, part: Part) -> Iterator[bytes]:
        """Streams a part and compares its checksum at the end.

        Raises:
            errors.DataLoss: If it is not as it was written.
        """
        digest = hashlib.sha256()
        size = 0
        for chunk in self.read(part):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
        if (size, digest.hexdigest()) != (part.size, part.sha256):
            raise self.damaged(part.name)

    def damaged(self, name: str) -> errors.DataLoss:
        """What callers are told of a part that is not as it was written."""
        return errors.DataLoss(
            f"{self.where} is damaged: {name} is not as it was written. Nothing was restored; use "
            "another backup."
        )


def begin_archive(target: str) -> NewArchive:
    """Begins a backup.

    Args:
        target: A path, or the URL of a prefix.

    Raises:
        errors.FailedPrecondition: If something is there already, or it can't be written.
        errors.InvalidArgument: If the URL can't be used.
    """
    return _NewPrefix(target) if "://" in target else _NewTar(Path(target))


def open_archive(source: str) -> Archive:
    """Opens a backup; nothing but its manifest is read and checked.

    Args:
        source: A path, or the URL of a prefix.

    Raises:
        errors.FailedPrecondition: If there is none, or a newer version wrote it.
        errors.DataLoss: If its manifest is damaged.
        errors.InvalidArgument: If the URL can't be used.
    """
    return _Prefix(source) if "://" in source else _Tar(Path(source))


class _NewTar(NewArchive):
    """A tar file that is being written. For one thread."""

    parallel = 1

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        if path.exists():
            raise errors.FailedPrecondition(
                f"{path} exists already; remove it or name another file."
            )
        with _writing(path):
            # Backups hold credentials: nobody else may read them, from the first byte on.
            descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._file: BinaryIO = os.fdopen(descriptor, "w+b")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._file.close()
                raise errors.FailedPrecondition(
                    f"Another backup is being written to {path}."
                ) from error
            os.fchmod(self._file.fileno(), 0o600)
            self._file.truncate()
            self._file.seek(_BLOCK + _MANIFEST_ROOM)

    def write(self, name: str, chunks: Iterator[bytes]) -> Part:
        with _writing(self._path):
            header = self._file.tell()
            self._file.seek(_BLOCK, os.SEEK_CUR)
            digest = hashlib.sha256()
            size = 0
            for chunk in chunks:
                self._file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            self._file.write(b"\0" * (-size % _BLOCK))
            end = self._file.tell()
            self._file.seek(header)
            self._file.write(_header(name, size))
            self._file.seek(end)
        return Part(name, size, digest.hexdigest(), header + _BLOCK)

    def finish(self, manifest: Manifest) -> None:
        content = manifest.to_json()
        assert len(content) <= _MANIFEST_ROOM  # noqa: S101 -- some 3 KB, and a few names
        with _writing(self._path):
            self._file.write(b"\0" * (2 * _BLOCK))  # a tar file's end
            self._file.seek(0)
            self._file.write(_header(MANIFEST, _MANIFEST_ROOM))
            self._file.write(content.ljust(_MANIFEST_ROOM))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._partial.rename(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        self._file.close()

    def drop(self) -> None:
        self._partial.unlink(missing_ok=True)
        self._file.close()


class _Tar(Archive):
    """A tar file. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise errors.FailedPrecondition(f"{path} can't be read: {error.strerror}.") from error
        data = os.pread(self._descriptor, _MANIFEST_ROOM, _BLOCK)
        self.manifest = Manifest.from_json(data, self.where)

    def read(self, part: Part) -> Iterator[bytes]:
        at, end = part.position, part.position + part.size
        while at < end:
            try:
                chunk = os.pread(self._descriptor, min(_CHUNK, end - at), at)
            except OSError as error:
                raise errors.DataLoss(f"{self.where} can't be read: {error.strerror}.") from error
            if not chunk:
                raise errors.DataLoss(
                    f"{self.where} is damaged: it ends before its end. Nothing was restored; use "
                    "another backup."
                )
            at += len(chunk)
            yield chunk

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


class _NewPrefix(NewArchive):
    """A prefix of an object store that is being written. Thread-safe."""

    parallel = 8

    def __init__(self, url: str) -> None:
        self._where = url.rstrip("/")
        if self._where.startswith(_FILE):
            folder = Path(self._where.removeprefix(_FILE))
            with _writing(folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._store = open_blobs(Settings(object_store=self._where))
        self._written: list[str] = []
        if any(key == MANIFEST for key, _ in self._store.keys()):  # noqa: SIM118 -- no mapping
            raise errors.FailedPrecondition(
                f"There is a backup in {self._where} already; name another prefix."
            )

    def write(self, name: str, chunks: Iterator[bytes]) -> Part:
        digest = hashlib.sha256()

        def hashed() -> Iterator[bytes]:
            for chunk in chunks:
                digest.update(chunk)
                yield chunk

        self._written.append(name)
        size = self._store.write(name, hashed())
        return Part(name, size, digest.hexdigest(), 0)

    def finish(self, manifest: Manifest) -> None:
        self._store.write(MANIFEST, iter((manifest.to_json(),)))

    def drop(self) -> None:
        self._store.delete(self._written)


class _Prefix(Archive):
    """A prefix of an object store. Thread-safe."""

    def __init__(self, url: str) -> None:
        self.where = url.rstrip("/")
        self._store = open_blobs(Settings(object_store=self.where))
        try:
            data = b"".join(self._store.read(MANIFEST))
        except errors.NotFound as error:
            raise errors.FailedPrecondition(f"There is no backup in {self.where}.") from error
        self.manifest = Manifest.from_json(data, self.where)

    def read(self, part: Part) -> Iterator[bytes]:
        try:
            yield from self._store.read(part.name)
        except errors.NotFound as error:
            raise self.damaged(part.name) from error


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o600
    return member.tobuf(tarfile.GNU_FORMAT)


class _writing:  # noqa: N801 -- reads as a statement
    """Turns what the operating system says of a file that can't be written into our errors."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise errors.FailedPrecondition(
                f"{self._path} can't be written: {error.strerror}."
            ) from error
