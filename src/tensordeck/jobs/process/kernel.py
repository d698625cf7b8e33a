"""What only the kernel can do for a supervisor, as far as this one can: Linux mostly.

Elsewhere these do nothing, and what a killed supervisor leaves behind is found by its marker.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True) if _LINUX else None

_OOM_SCORE = "500"
"""When memory runs out, the kernel should take a job before the server and people's programs."""


def adopt_orphans() -> None:
    """Makes this process the parent of whatever descendant loses its own."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def settle_child(parent: int, processes: int | None) -> None:
    """Prepares a child of this process between fork and exec.

    Args:
        parent: The process whose end shall be the child's end, too.
        processes: How many processes and threads the user may have in all; None for no limit.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
        try:
            descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
            os.write(descriptor, _OOM_SCORE.encode())
            os.close(descriptor)
        except OSError:
            pass
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if processes is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        if hard != resource.RLIM_INFINITY:
            processes = min(processes, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, hard))


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for want of memory since the host started."""
    try:
        text = Path("/proc/vmstat").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line[:9] == "oom_kill "), 0)


__all__ = ["adopt_orphans", "out_of_memory_kills", "settle_child"]
