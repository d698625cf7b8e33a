"""Which files of a folder have changed since their content was last taken.

A file is known by size, time of modification and inode, as rsync and git know one. What is known
is kept in a small JSON file, so that a restart takes nothing again.
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tensordeck import confined
from tensordeck.confined import Found
from tensordeck.whole_file import write_whole

__all__ = ["FileChanges", "Mark", "mark_of"]

log = logging.getLogger(__name__)

Mark: TypeAlias = tuple[int, int, int]
"""Size in bytes, time of modification in nanoseconds, inode."""

_VERSION: Final = 1
_RACY_NS: Final = 20_000_000
"""Kernels keep times in ticks of up to 10 ms: a file this young may change under the same mark."""

_RESTLESS_SECONDS: Final = 30.0
"""How often a file that never rests is taken, an event file for instance."""

_COST_FACTOR: Final = 20.0
"""It is taken at most for this part of the time, however large it grows."""


def mark_of(stat: os.stat_result) -> Mark:
    """The mark of a file's present state."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


@dataclass(slots=True)
class _Restless:
    """A file that was different at each look.

    Attributes:
        mark: At the last look.
        not_before: When it is taken although it does not rest; of `time.monotonic`.
    """

    mark: Mark
    not_before: float


class FileChanges:
    """The changed files below a folder. Not thread-safe but for `take` and `bring`.

    Args:
        root: The folder, which need not exist.
        memory: The JSON file.
    """

    def __init__(self, root: Path, memory: Path) -> None:
        self._root = root
        self._memory = memory
        self._known = _read(memory)
        self._restless: dict[str, _Restless] = {}

    def changed(self, *, settled_only: bool) -> Iterator[Found]:
        """Finds the files whose present content was not taken yet.

        Args:
            settled_only: Leave out those that have changed since the last such call; a file that
                changes all the time comes now and then.
        """
        now = time.monotonic()
        for found in confined.find_files(self._root):
            mark = mark_of(found.stat)
            if self._known.get(found.name) != mark and not (
                settled_only and not self._is_due(found.name, mark, now)
            ):
                yield found

    def is_known(self, name: str, mark: Mark | None) -> bool:
        """Whether a file is as it was when it was last taken; None: it is not there."""
        return mark is not None and self._known.get(name) == mark

    def take(self, name: str, mark: Mark, seconds: float = 0.0) -> None:
        """Notes that a file's content was taken.

        Args:
            name: The file.
            mark: Its state from before the reading until after it.
            seconds: How long that took.
        """
        if time.time_ns() - mark[1] > _RACY_NS:
            self._known[name] = mark
        pause = max(_RESTLESS_SECONDS, _COST_FACTOR * seconds)
        self._restless[name] = _Restless(mark, time.monotonic() + pause)

    def bring(self, name: str, mark: Mark) -> None:
        """Notes that a file was put there whose content need not be taken.

        Args:
            name: The file.
            mark: Its state, with a time of modification that was set by hand.
        """
        self._known[name] = mark

    def save(self) -> None:
        """Writes the memory, whole or not at all; it only saves work, so that failing is fine."""
        try:
            content = {"version": _VERSION, "files": dict(self._known)}
            write_whole(self._memory, json.dumps(content).encode())
        except OSError as error:
            log.warning("%s can't be written: %s.", self._memory, error)

    def _is_due(self, name: str, mark: Mark, now: float) -> bool:
        last = self._restless.get(name)
        if last is None:
            self._restless[name] = _Restless(mark, now + _RESTLESS_SECONDS)
            return False
        if last.mark == mark:
            return True
        last.mark = mark
        return now >= last.not_before


def _read(memory: Path) -> dict[str, Mark]:
    try:
        stored = json.loads(memory.read_text())
        if stored["version"] != _VERSION:
            return {}
        return {
            name: (size, time_ns, inode) for name, (size, time_ns, inode) in stored["files"].items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s can't be read (%s): all files count as changed.", memory, error)
        return {}
