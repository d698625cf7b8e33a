"""Folders that are built once, used by many jobs, and dropped when none has for long.

    <key>/                the folder
    <key>/complete.json   what is known of it, written last: without it the rest is rubbish
    <key>.lock            held by who builds or drops it, shared by those who use it

Whoever dies loses its locks, so that nothing half built is ever used and nothing stays locked.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tensordeck.jobs.process.json_file import read_json, write_json

_COMPLETE = "complete.json"


def use(folder: Path) -> Any:
    """Keeps a folder from being dropped as long as this process lives.

    Returns:
        What is known of it; None if it is not complete.
    """
    lock = _lock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    if lock is None:
        return None
    known = read_json(folder / _COMPLETE)
    if known is None:
        os.close(lock)
    else:
        os.utime(folder / _COMPLETE)
    return known


def build(folder: Path, how: Callable[[], Any], wait: Callable[[], None]) -> Any:
    """Builds a folder, unless it is complete.

    Args:
        folder: The folder; empty when `how` is called.
        how: Fills it, and returns what shall be known of it, as JSON.
        wait: Called when somebody else builds it, before we wait for that.

    Returns:
        What is known of it. This process uses it from now on.
    """
    if (known := use(folder)) is not None:
        return known
    with _alone(folder, wait):
        if read_json(folder / _COMPLETE) is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_json(folder / _COMPLETE, how())
    return use(folder)


def drop(folder: Path, unused_seconds: float) -> int:
    """Drops a folder that nobody uses.

    Args:
        folder: The folder.
        unused_seconds: It stays if somebody has used it since.

    Returns:
        The bytes that this gives back; 0 if it stays.
    """
    lock = _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if lock is None:
        return 0
    try:
        last = _modified(folder / _COMPLETE) or _modified(folder)
        if not last or last > time.time() - unused_seconds:
            return 0
        size = sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
        # Incomplete first: should we be killed, nobody takes what is left for whole.
        (folder / _COMPLETE).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        return size
    finally:
        os.close(lock)


@contextmanager
def _alone(folder: Path, wait: Callable[[], None]) -> Iterator[None]:
    lock = _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if lock is None:
        wait()
        lock = _lock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _lock(folder: Path, kind: int) -> int | None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The file stays for ever: were it removed, two could hold locks of two files of that name.
    lock = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, kind)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


__all__ = ["build", "drop", "use"]
