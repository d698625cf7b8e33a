"""Files of a folder that somebody else writes: walked, read and made without leaving it.

A training job may put symbolic links into its folders, also while we look. Whatever is opened
here is therefore reached from the folder's own descriptor, one part of the path at a time, and a
link on the way is an error (`O_NOFOLLOW`, POSIX.1-2008), never a way out.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Found", "find_files", "open_for_reading", "open_parent"]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe in the place of a file would block an open for ever.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file.

    Attributes:
        name: Its path below the folder, with `/`; bytes that are no UTF-8 are surrogates.
        target: What to open: `name`, or for a link to a file of the same folder that file's name.
        stat: Size, times and so on, of the file itself.
    """

    name: str
    target: str
    stat: os.stat_result


def find_files(root: Path) -> Iterator[Found]:
    """Finds the regular files below a folder, in an order that is the same each time.

    A link to a regular file of the same folder counts as that file under another name; any other
    link, and whatever is no file, is left out. What vanishes meanwhile is left out too.
    """
    real = os.path.realpath(root)
    open_lists = [_listed(real, "")]  # no recursion: a job may nest folders as deep as it likes
    while open_lists:
        found = next(open_lists[-1], None)
        if found is None:
            open_lists.pop()
            continue
        name, entry = found
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                open_lists.append(_listed(real, name))
            elif entry.is_file(follow_symlinks=False):
                yield Found(name, name, entry.stat(follow_symlinks=False))
            elif entry.is_symlink() and (linked := _linked(real, name)):
                yield linked


def open_for_reading(root: Path | str, name: str) -> int:
    """Opens a regular file below a folder; returns its descriptor.

    Args:
        root: The folder; it may itself be reached by links.
        name: The file's path below it.

    Raises:
        OSError: If it is not there, is not readable, is no regular file, or a link is in the way.
    """
    with open_parent(root, name) as (folder, last):
        descriptor = os.open(last, _FILE, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{name} is no regular file")
    return descriptor


@contextlib.contextmanager
def open_parent(root: Path | str, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """Opens the folder that a path below another one leads to.

    Args:
        root: The outer folder; it may itself be reached by links.
        name: The path below it.
        make: Whether to make folders that are missing on the way.

    Yields:
        The inner folder's descriptor, and the path's last part, for calls with `dir_fd`.

    Raises:
        OSError: If a part is not there or no folder, or a link is in the way.
    """
    *folders, last = _parts(name)
    descriptor = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
    try:
        for folder in folders:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=descriptor)
            inner = os.open(folder, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor, last
    finally:
        os.close(descriptor)


def _parts(name: str) -> list[str]:
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise OSError(f"{name!r} is no path below a folder")
    return parts


def _listed(root: str, folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Lists a folder below the root, in order of name; one that can't be read is empty."""
    try:
        with os.scandir(os.path.join(root, folder)) as listing:  # noqa: PTH118 -- odd names
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        yield (f"{folder}/{entry.name}" if folder else entry.name), entry


def _linked(root: str, name: str) -> Found | None:
    """The file of the same folder that a link leads to."""
    target = os.path.realpath(os.path.join(root, name))  # noqa: PTH118 -- as above
    if not target.startswith(root + "/"):
        return None
    found = os.lstat(target)
    return Found(name, target[len(root) + 1 :], found) if stat.S_ISREG(found.st_mode) else None
