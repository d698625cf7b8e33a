"""Log directories: which runs they hold, and what a run is called on the server."""

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal, Protocol

from tensordeck import confined
from tensordeck.ingest.event_files import StoredFile, is_event_file
from tensordeck.ingest.profiles import session_of
from tensordeck.names import ROOT_RUN

__all__ = [
    "FoundFile",
    "LogDirectory",
    "LogFolder",
    "find_event_files",
    "found_file",
    "run_id",
    "run_name",
]

_UNFIT: Final = re.compile(r"[^a-zA-Z0-9-]")
_ID_LENGTH: Final = 128
_NAME_LENGTH: Final = 128
_DIGEST_LENGTH: Final = 6
"""A run whose name is too long keeps its start and the start of a hash."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """An event file, or a file of a profile.

    Attributes:
        run: The run that it belongs to.
        name: Its path below the log directory, with slashes.
        file: What is read.
        session: The profile's session; empty for an event file.
    """

    run: str
    name: str
    file: StoredFile
    session: str = ""


class LogFolder(Protocol):
    """A log directory, wherever it lies. Its text is how messages name it."""

    @property
    def key(self) -> str:
        """What positions in its files are remembered under."""

    def exists(self) -> bool:
        """Whether it is there now."""

    def files(self) -> Iterator[FoundFile]:
        """Finds its event files and profiles, in the order of `find_event_files`."""


@dataclass(frozen=True, slots=True)
class LogDirectory:
    """One on this machine, what its runs are called, and how far its writer is trusted.

    Attributes:
        path: Where it lies; it need not exist yet.
        run: The run that it is itself; those below it are then `run/…`. Empty: `default`, and
            those below are called after their folders.
        trusted: Whether links in it are followed. A training job's folder is not trusted: a link
            of its could lead to any file that this process may read.
    """

    path: Path
    run: str = ""
    trusted: bool = True

    def __str__(self) -> str:
        return str(self.path)

    @property
    def key(self) -> str:
        """See `LogFolder.key`."""
        return os.path.realpath(self.path)

    def exists(self) -> bool:
        """See `LogFolder.exists`."""
        return self.path.is_dir()

    def files(self) -> Iterator[FoundFile]:
        """See `LogFolder.files`."""
        if self.trusted:
            for folder, file in _walk(self.path):
                path = Path(folder, file)
                name = path.relative_to(self.path).as_posix()
                if found := found_file(name, path, self.run):
                    yield found
            return
        for below in confined.find_files(self.path):
            if below.name == below.target:
                file_below = _ConfinedFile(self.path, below.name)
                if found := found_file(below.name, file_below, self.run):
                    yield found


@dataclass(frozen=True, slots=True)
class _ConfinedFile:
    """A file of a directory that is not trusted: it opens only where it leads to none outside."""

    folder: Path
    name: str

    def __str__(self) -> str:
        return str(self.folder / self.name)

    def stat(self) -> os.stat_result:
        return (self.folder / self.name).stat()

    def open(self, _mode: Literal["rb"], /) -> BinaryIO:
        return os.fdopen(confined.open_for_reading(self.folder, self.name), "rb")


def find_event_files(logdir: Path) -> Iterator[tuple[str, Path]]:
    """Finds the event files below a directory, in an order that is the same each time.

    Links to directories are followed, each real directory once. Files of one run come in the
    order of their names, which hold their time of creation: later writers win a repeated step.

    Yields:
        The name of the run (its directory relative to `logdir`, `default` for `logdir` itself)
        and the file's path.
    """
    for folder, file in _walk(logdir):
        if is_event_file(file):
            yield run_name(Path(folder).relative_to(logdir).as_posix()), Path(folder, file)


def found_file(name: str, file: StoredFile, run: str = "") -> FoundFile | None:
    """Says what a file of a log directory is; None if it is none of a log's.

    Args:
        name: Its path below the directory, with slashes.
        file: What is read.
        run: The run that the directory itself is; empty for `default`.
    """
    folder, _, last = name.rpartition("/")
    if is_event_file(last):
        return FoundFile(run_name(folder, run), name, file)
    if (profile := session_of(name)) is not None:
        return FoundFile(run_name(profile[0], run), name, file, profile[1])
    return None


def run_name(folder: str, run: str = "") -> str:
    """The name of the run whose files lie in a folder.

    Args:
        folder: The folder's path below its log directory; empty or `.` for the directory itself.
        run: The run that the directory itself is; empty for `default`.
    """
    # A name that is no UTF-8 can't travel in a message.
    printable = os.fsencode(folder).decode("utf-8", "replace")
    if printable in ("", "."):
        return run or ROOT_RUN
    name = f"{run}/{printable}" if run else printable
    if len(name) <= _NAME_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{name[: _NAME_LENGTH - _DIGEST_LENGTH - 1]}-{digest}"


def _walk(logdir: Path) -> Iterator[tuple[str, str]]:
    """Folder and name of each file, links followed, each real directory once."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(logdir, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for file in sorted(files):
            yield folder, file


def run_id(name: str, taken: Collection[str]) -> str:
    """Makes a run's id from its name.

    It is the official uploader's id (every character but letters, digits and hyphens becomes a
    hyphen) wherever that is a valid id that no other run has. Else a part of the name's hash is
    appended, so that the outcome does not depend on which of two colliding runs came first twice.

    Args:
        name: The run's name.
        taken: Ids of other runs in the experiment.
    """
    plain = _UNFIT.sub("-", name)
    fitting = plain.lstrip("-")[:_ID_LENGTH]
    if fitting == plain and fitting not in taken:
        return fitting
    digest = hashlib.sha256(name.encode()).hexdigest()
    for length in (6, 16, 64):
        candidate = f"{fitting[: _ID_LENGTH - length - 1] or 'run'}-{digest[:length]}"
        if candidate not in taken:
            return candidate
    raise AssertionError(f"no id is left for run {name!r}")
