"""What a process prints, on its way from a pipe into the job's log."""

import fcntl
import os
from contextlib import suppress

from tensordeck.jobs.job_log import LogWriter, Severity
from tensordeck.jobs.printed_lines import PrintedLines

_READ_BYTES = 1 << 20
_READS = 4
"""Reads in a row: another pipe waits."""


class OutputPipe:
    """Reads one pipe of a process, line by line."""

    def __init__(self, descriptor: int, log: LogWriter, severity: Severity) -> None:
        """Takes a pipe over.

        Args:
            descriptor: Its reading end.
            log: Where its lines go.
            severity: What they are.
        """
        self._descriptor = descriptor
        self._lines = PrintedLines(log, severity)
        os.set_blocking(descriptor, False)
        with suppress(OSError, AttributeError):  # a larger pipe lets the process run ahead of us
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _READ_BYTES)

    def fileno(self) -> int:
        """The pipe, for a selector."""
        return self._descriptor

    @property
    def last_lines(self) -> list[str]:
        """The last lines that say anything, each shortened."""
        return self._lines.last_lines

    def read(self) -> bool:
        """Reads what is there; returns whether there may be more to come."""
        for _ in range(_READS):
            try:
                data = os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._lines.take(data)
        return True

    def close(self) -> None:
        """Ends the reading: what there is of an unfinished line becomes a line."""
        self._lines.end()
        os.close(self._descriptor)


__all__ = ["OutputPipe"]
