"""What a replica may use: memory and processes; its time is the supervisor's to watch."""

import contextlib
import os
import resource
from collections.abc import Iterable

import psutil

from tensordeck.jobs.executor import Machine

PROCESSES = 4096
"""How many processes a replica may have: more than any training needs, few enough for a host."""

_MORE_TASKS = 16_384
"""How many processes and threads a user may have beyond those that there are at the start."""


def broken(machine: Machine, processes: Iterable[psutil.Process]) -> str:
    """Tells which limit a replica breaks, in a sentence's end; empty if it breaks none.

    Args:
        machine: What it may use.
        processes: What it consists of.
    """
    own = list(processes)
    if len(own) > PROCESSES:
        return f"had {len(own):,} processes, and may have {PROCESSES:,}"
    # What processes share is counted for each of them here, and only if that is too much, exactly.
    if _resident(own) > machine.memory_bytes:
        used = _proportional(own)
        if used > machine.memory_bytes:
            return (
                f"used {_gib(used)} of memory, and its machine type {machine.machine_type} has "
                f"{_gib(machine.memory_bytes)}; choose one with more memory, or use less"
            )
    return ""


def user_tasks() -> int | None:
    """The limit on processes and threads of this user; None where the kernel applies none."""
    if os.geteuid() == 0 or not hasattr(resource, "RLIMIT_NPROC"):
        return None
    tasks = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.uids().real == os.getuid():
                tasks += process.num_threads()
    return tasks + _MORE_TASKS


def _resident(processes: Iterable[psutil.Process]) -> int:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _proportional(processes: Iterable[psutil.Process]) -> int:
    """Memory with shared pages divided by those who share them; resident where unknown."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            full = process.memory_full_info()
            total += getattr(full, "pss", full.rss)
    return total


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.2f} GiB"


__all__ = ["PROCESSES", "broken", "user_tasks"]
