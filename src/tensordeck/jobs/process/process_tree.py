"""Which processes belong to a replica, however far they have gone from it.

A process belongs if its parent does, or did when we last looked; and if it carries the replica's
marker in its environment, for one that has lost all its parents in between. The supervisor is
its descendants' subreaper, so that those come back to it.
"""

import contextlib
import math
import os
import time
from collections.abc import Collection, Iterable, Mapping

import psutil

MARKER = "TENSORDECK_PROCESS"
"""The variable that all processes of a replica carry: `<attempt's marker>/<replica's name>`."""

_KILL_SECONDS = 5.0
_KILL_PAUSE = 0.01

Identity = tuple[int, float]
"""A process id and when the process was created: never the same for two processes."""

_SAME_SECONDS = 0.1
"""What a process's time of creation may vary by from one look to another."""


class ProcessTree:
    """The descendants of this process, each with the replica that it belongs to."""

    def __init__(self, marker: str) -> None:
        """Starts with no process.

        Args:
            marker: The attempt's.
        """
        self._marker = marker
        self._owners: dict[psutil.Process, str] = {}
        self._roots: dict[psutil.Process, str] = {}
        self._pids: dict[str, frozenset[int]] = {}

    def add(self, pid: int, replica: str) -> None:
        """Makes a process that we have just started, and not waited for, a replica's root."""
        process = psutil.Process(pid)
        self._owners[process] = self._roots[process] = replica
        self._pids[replica] = self._pids.get(replica, frozenset()) | {pid}

    def roots(self) -> dict[str, Identity]:
        """The processes that we have started ourselves."""
        return {name: (root.pid, root.create_time()) for root, name in self._roots.items()}

    def look(self) -> dict[str, list[psutil.Process]]:
        """Looks at all processes, and tells each replica's; reaps those that have ended."""
        me = os.getpid()
        found: dict[int, tuple[psutil.Process, int, str]] = {}
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found[process.pid] = (process, process.ppid(), process.status())
        owners: dict[psutil.Process, str] = {}
        members: dict[str, list[psutil.Process]] = {}
        for pid, (process, parent, status) in found.items():
            owner = owners[process] = self._owner(process, found)
            if status == psutil.STATUS_ZOMBIE:
                # An orphan's end is ours to take note of; a root's is its owner's.
                if parent == me and process not in self._roots:
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)
            else:
                members.setdefault(owner, []).append(process)
        self._owners = owners
        self._pids = {name: frozenset(p.pid for p in own) for name, own in members.items()}
        return members

    def pids(self, replica: str) -> Collection[int]:
        """A replica's processes when we last looked. Any thread may ask."""
        return self._pids.get(replica, frozenset())

    def kill(self, replica: str | None = None) -> bool:
        """Kills all processes of a replica, or all there are; tells whether any was there.

        Does it again until none is left: one may have forked meanwhile.
        """
        any_there = False
        until = time.monotonic() + _KILL_SECONDS
        while time.monotonic() < until:
            members = self.look()
            chosen = [
                process
                for name, own in members.items()
                if replica in (None, name)
                for process in own
            ]
            if not chosen:
                return any_there
            any_there = True
            _kill(chosen)
            # Not psutil's wait: that would take a child's exit code from who has started it.
            time.sleep(_KILL_PAUSE)
        return any_there

    def _owner(
        self, process: psutil.Process, found: Mapping[int, tuple[psutil.Process, int, str]]
    ) -> str:
        """Finds the replica of a process, by way of its parents; empty if that can't be told."""
        for _ in found:
            if owner := self._owners.get(process):
                return owner
            parent = found[process.pid][1]
            if parent not in found:
                return _marked(process, self._marker) or ""
            process = found[parent][0]
        return ""  # ids were given anew while we looked


def kill_marked(marker: str, known: Iterable[Identity]) -> None:
    """Kills what a supervisor that has died left behind.

    Args:
        marker: The attempt's.
        known: Processes that it had started; one whose id means another process now is spared.
    """
    until = time.monotonic() + _KILL_SECONDS
    roots = dict(known)
    while time.monotonic() < until:
        left = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                created = roots.get(process.pid, math.inf)
                is_root = abs(process.create_time() - created) < _SAME_SECONDS
                if process.status() != psutil.STATUS_ZOMBIE and (
                    is_root or _marked(process, marker) is not None
                ):
                    left += [process, *(process.children(recursive=True) if is_root else [])]
        if not left:
            return
        _kill(left)
        time.sleep(_KILL_PAUSE)


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _marked(process: psutil.Process, marker: str) -> str | None:
    """The replica that a process names in its environment, if it names this attempt."""
    try:
        attempt, _, replica = process.environ().get(MARKER, "").partition("/")
    except (psutil.Error, OSError):
        return None
    return replica if attempt == marker else None


__all__ = ["MARKER", "Identity", "ProcessTree", "kill_marked"]
