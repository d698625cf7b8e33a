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

__all__ = [
    "ROOT_RUN",
    "FoundFile",
    "LogDirectory",
    "LogFolder",
    "find_event_files",
    "run_id",
    "run_name",
]

ROOT_RUN: Final = "default"
"""The run of event files that lie in the log directory itself, as the official uploader has it."""

_UNFIT: Final = re.compile(r"[^a-zA-Z0-9-]")
_ID_LENGTH: Final = 128


@dataclass(frozen=True, slots=True)
class FoundFile:
    """An event file.

    Attributes:
        run: The run that it belongs to.
        name: Its path below the log directory, with slashes.
        file: What is read.
    """

    run: str
    name: str
    file: StoredFile


class LogFolder(Protocol):
    """A log directory, wherever it lies. Its text is how messages name it."""

    @property
    def key(self) -> str:
        """What positions in its files are remembered under."""

    def exists(self) -> bool:
        """Whether it is there now."""

    def event_files(self) -> Iterator[FoundFile]:
        """Finds its event files, in the order of `find_event_files`."""


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

    def event_files(self) -> Iterator[FoundFile]:
        """See `LogFolder.event_files`."""
        for run, path in find_event_files(self.path) if self.trusted else self._confined():
            name = path.relative_to(self.path)
            file = path if self.trusted else _ConfinedFile(self.path, name)
            yield FoundFile(self._named(run), name.as_posix(), file)

    def _confined(self) -> Iterator[tuple[str, Path]]:
        for found in confined.find_files(self.path):
            path = self.path / found.name
            if found.name == found.target and is_event_file(path.name):
                yield run_name(self.path, path.parent), path

    def _named(self, run: str) -> str:
        if not self.run:
            return run
        return self.run if run == ROOT_RUN else f"{self.run}/{run}"


@dataclass(frozen=True, slots=True)
class _ConfinedFile:
    """A file of a directory that is not trusted: it opens only where it leads to none outside."""

    folder: Path
    name: Path

    def __str__(self) -> str:
        return str(self.folder / self.name)

    def stat(self) -> os.stat_result:
        return (self.folder / self.name).stat()

    def open(self, _mode: Literal["rb"], /) -> BinaryIO:
        return os.fdopen(confined.open_for_reading(self.folder, os.fspath(self.name)), "rb")


def find_event_files(logdir: Path) -> Iterator[tuple[str, Path]]:
    """Finds the event files below a directory, in an order that is the same each time.

    Links to directories are followed, each real directory once. Files of one run come in the
    order of their names, which hold their time of creation: later writers win a repeated step.

    Yields:
        The name of the run (its directory relative to `logdir`, `default` for `logdir` itself)
        and the file's path.
    """
    seen: set[str] = set()
    for folder, folders, files in os.walk(logdir, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        name = run_name(logdir, Path(folder))
        for file in sorted(files):
            if is_event_file(file):
                yield name, Path(folder, file)


def run_name(logdir: Path, folder: Path) -> str:
    """The name of the run whose event files lie in a folder."""
    relative = folder.relative_to(logdir).as_posix()
    # A name that is no UTF-8 can't travel in a message.
    printable = os.fsencode(relative).decode("utf-8", "replace")
    return ROOT_RUN if printable == "." else printable


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
