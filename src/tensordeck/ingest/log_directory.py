"""Log directories: which runs they hold, and what a run is called on the server."""

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from tensordeck.ingest.event_files import is_event_file

__all__ = ["ROOT_RUN", "find_event_files", "run_id", "run_name"]

ROOT_RUN: Final = "default"
"""The run of event files that lie in the log directory itself, as the official uploader has it."""

_UNFIT: Final = re.compile(r"[^a-zA-Z0-9-]")
_ID_LENGTH: Final = 128


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
