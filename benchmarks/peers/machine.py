"""What figures were taken on, and when."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil


def describe() -> dict[str, object]:
    """CPU, cores, memory, kernel, Python, the moment and the load."""
    return {
        "moment": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": os.getloadavg(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
