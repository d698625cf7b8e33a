"""System metrics: what a job's processes use of their machine, as scalars for TensorBoard."""

import contextlib
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from tensordeck.ingest.tfrecord import framed

if TYPE_CHECKING:
    from tensordeck.jobs.process_use import Use

__all__ = ["SystemMetrics"]

log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 1.0
_JOIN_SECONDS: Final = 15.0
_VERSION: Final = "brain.Event:2"
"""What TensorBoard expects in the first event of a file."""

_DESCRIPTIONS: Final = {
    "cpu_percent": "Processor time of all processes; 100 is one core.",
    "memory_bytes": "Resident memory of all processes; what they share counts for each.",
    "processes": "Processes of the replica.",
    "threads": "Threads of all processes.",
    "read_bytes_per_second": "Bytes read from disks.",
    "written_bytes_per_second": "Bytes written to disks.",
    "disk_free_bytes": "Free space where the job's files are.",
}


class SystemMetrics:
    """Records what processes use while they run, in an event file of its own.

    The tags are `system/cpu_percent` and so on; a step is a second since `start`. Whatever goes
    wrong is told in our log and costs points, never the job.
    """

    def __init__(
        self,
        folder: Path,
        pids: Callable[[], Collection[int]],
        period_seconds: float = 5.0,
        disk: Path | None = None,
    ) -> None:
        """Prepares; nothing is looked at or written yet.

        Args:
            folder: Where the event file goes; made when missing.
            pids: Gives the numbers of the root processes, at each look; their children count too.
            period_seconds: From one look to the next; the second comes after a second at most, so
                that short jobs have some too.
            disk: Whose free space is recorded; default: the folder's.
        """
        self._folder = folder
        self._pids = pids
        self._period_seconds = period_seconds
        self._disk = disk or folder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system metrics", daemon=True)

    def start(self) -> None:
        """Starts recording, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Ends recording; what was recorded is in the file."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            self._record()
        except Exception:
            log.exception("System metrics end for %s", self._folder)

    def _record(self) -> None:
        # Whoever starts a job should not wait for these.
        from tensordeck.jobs.gpus import open_gpus  # noqa: PLC0415
        from tensordeck.jobs.process_use import ProcessTrees  # noqa: PLC0415

        began = time.monotonic()
        trees, gpus = ProcessTrees(), open_gpus()
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}.system"
        with (self._folder / name).open("ab", buffering=0) as file:
            events = _EventFile(file)
            pause, failed = min(_FIRST_PAUSE, self._period_seconds), False
            while True:
                try:
                    values = _values(trees.look(self._pids()), gpus(), self._disk)
                    events.write(round(time.monotonic() - began), values)
                except Exception:
                    if not failed:
                        log.exception("System metrics for %s have a gap", self._folder)
                    failed = True
                if self._stop.wait(pause):
                    return
                pause = self._period_seconds


def _values(use: "Use", gpus: Mapping[str, float], disk: Path) -> dict[str, float]:
    values: dict[str, float | None] = {
        "cpu_percent": use.cpu_percent,
        "memory_bytes": use.memory_bytes,
        "processes": use.processes,
        "threads": use.threads,
        "read_bytes_per_second": use.read_bytes_per_second,
        "written_bytes_per_second": use.written_bytes_per_second,
    }
    with contextlib.suppress(OSError):
        values["disk_free_bytes"] = shutil.disk_usage(disk).free
    known = {name: value for name, value in values.items() if value is not None}
    return known | {f"gpu/{name}": value for name, value in gpus.items()}


class _EventFile:
    """An event file that is written one step at a time."""

    def __init__(self, file: BinaryIO) -> None:
        from tensorboard.compat.proto import event_pb2  # noqa: PLC0415 -- as above

        self._event = event_pb2.Event
        self._file = file
        self._described: set[str] = set()
        first = self._event(wall_time=time.time(), file_version=_VERSION)
        file.write(framed(first.SerializeToString()))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the values of a step, without waiting in any buffer."""
        event = self._event(wall_time=time.time(), step=step)
        for name, number in values.items():
            value = event.summary.value.add(tag=f"system/{name}", simple_value=number)
            if name in _DESCRIPTIONS and name not in self._described:
                self._described.add(name)
                value.metadata.summary_description = _DESCRIPTIONS[name]
        self._file.write(framed(event.SerializeToString()))
