"""The GPUs of this host, and which job has which.

A GPU belongs to one job at a time, as on Vertex: the supervisor holds a lock on it, which the
kernel lets go of when the supervisor dies.
"""

import fcntl
import os
import re
from collections.abc import Sequence
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"

_DEVICE = re.compile(r"nvidia(\d+)")


def there() -> tuple[str, ...]:
    """The GPUs that we may use, as `CUDA_VISIBLE_DEVICES` calls them: its own, if it is set.

    Takes no time: it asks no driver.
    """
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() not in ("", "-1"))
    try:
        matches = [_DEVICE.fullmatch(path.name) for path in Path("/dev").iterdir()]
    except OSError:
        return ()
    return tuple(sorted((match[1] for match in matches if match), key=int))


def take(locks: Path, devices: Sequence[str], count: int) -> tuple[str, ...] | None:
    """Takes GPUs for this process, until it ends.

    Args:
        locks: The folder of the locks, the same for all jobs of this host.
        devices: The GPUs that there are.
        count: How many are wanted; no more than there are.

    Returns:
        Those taken; None if too few are free now.
    """
    locks.mkdir(parents=True, exist_ok=True)
    held: dict[str, int] = {}
    # One after the other, lest two jobs take half of what they want each, again and again.
    with (locks / "turn").open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for device in devices:
            if len(held) == count:
                break
            name = device.replace("/", "_")
            lock = os.open(locks / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                held[device] = lock
        if len(held) < count:
            for lock in held.values():
                os.close(lock)
            return None
    return tuple(held)  # the descriptors stay open


__all__ = ["VISIBLE", "take", "there"]
