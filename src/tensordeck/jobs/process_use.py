"""What trees of processes use of their machine, from one look to the next."""

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import psutil

__all__ = ["ProcessTrees", "Use"]

_GONE: Final = (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What all processes of some trees use together.

    Attributes:
        processes: How many there are.
        threads: How many those have.
        memory_bytes: Resident memory; what processes share counts for each.
        cpu_percent: Since the last look; 100 is one core. None at the first look.
        read_bytes_per_second: From disks, since the last look; None also where it isn't known.
        written_bytes_per_second: To disks, likewise.
    """

    processes: int
    threads: int
    memory_bytes: int
    cpu_percent: float | None
    read_bytes_per_second: float | None
    written_bytes_per_second: float | None


@dataclass(frozen=True, slots=True)
class _Totals:
    """What a process has used since its start, with those of its children that have ended.

    The kernel adds a child's totals to its parent's when the parent waits for it, for processor
    time as for bytes, so that what short-lived children used is not lost.

    Attributes:
        parent: Its parent's number.
        cpu_seconds: In user and system mode.
        read_bytes: None where the system does not tell.
        written_bytes: Likewise.
    """

    parent: int
    cpu_seconds: float
    read_bytes: int | None
    written_bytes: int | None


class ProcessTrees:
    """The processes below some roots, also those that have lost their parents since.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._last: dict[psutil.Process, _Totals] = {}
        self._looked_at = 0.0

    def look(self, roots: Collection[int]) -> Use:
        """Looks at the processes now.

        Args:
            roots: Their numbers; those that have ended, or never were, count for nothing.
        """
        members = list(self._members(roots))
        now = time.monotonic()  # finding them is what takes time
        found: dict[psutil.Process, _Totals] = {}
        threads = memory = 0
        for process in members:
            with contextlib.suppress(*_GONE), process.oneshot():
                totals = _totals(process)
                rss, count = process.memory_info().rss, process.num_threads()
                found[process] = totals
                memory += rss
                threads += count
        before, self._last = self._last, found
        seconds, self._looked_at = now - self._looked_at, now
        cpu, read, written = (
            (None, None, None) if not before else _since(before, found, max(seconds, 1e-3))
        )
        return Use(
            processes=len(found),
            threads=threads,
            memory_bytes=memory,
            cpu_percent=None if cpu is None else 100 * cpu,
            read_bytes_per_second=read,
            written_bytes_per_second=written,
        )

    def _members(self, roots: Collection[int]) -> Iterator[psutil.Process]:
        """The roots, what was in their trees before and still runs, and all below those."""
        children: dict[int, list[psutil.Process]] = {}
        alive: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(*_GONE):
                children.setdefault(process.ppid(), []).append(process)
                alive[process.pid] = process
        waiting = [alive[pid] for pid in roots if pid in alive]
        waiting += [old for old in self._last if alive.get(old.pid) == old]
        seen: set[int] = set()
        while waiting:
            process = waiting.pop()
            if process.pid not in seen:
                seen.add(process.pid)
                waiting += children.get(process.pid, ())
                yield process


def _totals(process: psutil.Process) -> _Totals:
    times = process.cpu_times()
    read: int | None = None
    written: int | None = None
    # Not every system has the counters, and another user's are not shown.
    with contextlib.suppress(AttributeError, psutil.AccessDenied):
        counters = process.io_counters()
        read, written = counters.read_bytes, counters.write_bytes
    cpu = times.user + times.system + times.children_user + times.children_system
    return _Totals(process.ppid(), cpu, read, written)


def _since(
    before: Mapping[psutil.Process, _Totals], now: Mapping[psutil.Process, _Totals], seconds: float
) -> tuple[float, float | None, float | None]:
    """Processor seconds, and bytes read and written, per second since the last look.

    What a process had used that has ended since is in its parent's totals now, and so is taken
    off; when the parent is none of ours, it is nowhere, and nothing is to be taken off.
    """
    parents = {process.pid for process in before}
    counted = [
        totals for process, totals in before.items() if process in now or totals.parent in parents
    ]

    def rate(of: str) -> float | None:
        values = [getattr(totals, of) for totals in now.values()]
        if None in values:
            return None
        earlier = sum(getattr(totals, of) or 0 for totals in counted)
        return float(max(0, sum(values) - earlier) / seconds)

    return rate("cpu_seconds") or 0.0, rate("read_bytes"), rate("written_bytes")
