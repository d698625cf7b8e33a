"""The logs of jobs in a data directory, all attempts of a job as one."""

import heapq
from pathlib import Path
from typing import Final

from tensordeck.errors import InvalidArgument
from tensordeck.jobs import job_log
from tensordeck.jobs.job_folder import JobFolder, JobsFolder
from tensordeck.services.job_logs import LogLine, LogPage, LogTail

__all__ = ["KeptLog", "KeptLogs"]

_SEPARATOR: Final = ";"
"""Between the attempt and the place in its log; in no replica's name."""


class KeptLogs:
    """Finds the logs of jobs.

    Args:
        data_dir: The data directory.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folders = JobsFolder(data_dir)

    def find(self, job_id: str) -> "KeptLog | None":
        """Returns a job's log; None if the job was never started here."""
        if not (job_id.isascii() and job_id.isdecimal()):  # it comes from a filter
            return None
        try:
            numbers = sorted(
                int(entry.name)
                for entry in (self._folders.path / job_id).iterdir()
                if entry.name.isdecimal()
            )
            folders = {number: self._folders.attempt(job_id, number) for number in numbers}
            notes = [note for folder in folders.values() if (note := folder.note())]
            return KeptLog(notes[0].job, folders) if notes else None
        except FileNotFoundError:
            return None


class KeptLog:
    """The log of one job.

    Attributes:
        job: The job's full name.

    Args:
        job: The job's full name.
        attempts: The folders of its attempts by their numbers, in order.
    """

    def __init__(self, job: str, attempts: dict[int, JobFolder]) -> None:
        self.job = job
        self._attempts = attempts

    def read(self, after: str, limit: int, since_ns: int) -> LogPage:
        """Reads lines; see `JobLog.read`.

        Raises:
            InvalidArgument: If the cursor is not one of ours.
        """
        first, place = _parsed(after)
        lines: list[LogLine] = []
        cursor = after
        for number, folder in self._attempts.items():
            if number < first or len(lines) == limit:
                continue
            page = job_log.read(
                folder.logs,
                place if number == first else "",
                limit - len(lines),
                since_ns=since_ns,
            )
            cursor = f"{number}{_SEPARATOR}{page.cursor}"
            lines += (_of_attempt(number, line) for line in page.lines)
        return LogPage(lines, cursor)

    def last(self, count: int) -> LogTail:
        """Returns the log's last lines; see `JobLog.last`."""
        lines: list[LogLine] = []
        for number, folder in reversed(self._attempts.items()):
            streams = [
                job_log.last(folder.logs, replica, count)
                for replica in job_log.replicas(folder.logs)
            ]
            # A stream that is longer may have further lines of its first line's time before it.
            known_from = max(
                (stream[0].time_ns for stream in streams if len(stream) == count), default=-1
            )
            merged = heapq.merge(*streams, key=lambda line: line.time_ns)
            lines[:0] = [_of_attempt(number, line) for line in merged if line.time_ns > known_from]
            if known_from >= 0:
                return LogTail(lines, is_whole=False)
        return LogTail(lines, is_whole=True)


def _of_attempt(attempt: int, line: job_log.Line) -> LogLine:
    return LogLine(
        attempt=attempt,
        replica=line.replica,
        position=line.position,
        time_ns=line.time_ns,
        severity=line.severity,
        text=line.text,
    )


def _parsed(cursor: str) -> tuple[int, str]:
    """The attempt of a cursor, and the place in its log."""
    number, _, place = cursor.partition(_SEPARATOR)
    try:
        return int(number or 0), place
    except ValueError as error:
        raise InvalidArgument(
            f"{cursor!r} is no place in a job's log; leave it out to begin at the start."
        ) from error
