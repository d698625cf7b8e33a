"""The logs of jobs, as the Logging API needs them: what keeps them implements this."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

__all__ = ["JobLog", "JobLogs", "LogLine", "LogPage", "LogTail", "NoJobLogs"]


class LogLine(Struct, frozen=True):
    """A line of a job's log.

    Attributes:
        attempt: Which attempt to run the job it is of, from 1.
        replica: Whose it is, e.g. `workerpool0-0`, or `service` for what the service says.
        position: Its place among the replica's lines, growing; it never changes.
        time_ns: Nanoseconds since 1970.
        severity: `INFO`, `WARNING` or `ERROR`.
        text: What it says.
    """

    attempt: int
    replica: str
    position: int
    time_ns: int
    severity: str
    text: str

    @property
    def insert_id(self) -> str:
        """Identifies the line in its job; orders lines of one moment as the log has them."""
        return f"{self.attempt:04d}-{self.replica}-{self.position:012d}"

    @property
    def stamp(self) -> int:
        """The time that the API shows: `time_ns`, but never a whole number of microseconds.

        JSON leaves the zeros at a fraction's end out, and gcloud compares times as texts.
        """
        return self.time_ns + (self.time_ns % 1000 == 0)


class LogPage(NamedTuple):
    """Lines, and where the next page begins."""

    lines: Sequence[LogLine]
    cursor: str


class LogTail(NamedTuple):
    """The last lines of a log, and whether there are no others."""

    lines: Sequence[LogLine]
    is_whole: bool


class JobLog(Protocol):
    """The log of one job.

    Attributes:
        job: The job's full name.
    """

    job: str

    def read(self, after: str, limit: int, since_ns: int) -> LogPage:
        """Reads lines in the order of their times.

        Args:
            after: The cursor of the page before; empty for the beginning.
            limit: How many at most; fewer only at the log's end.
            since_ns: Older lines need not be returned.
        """

    def last(self, count: int) -> LogTail:
        """Returns the log's last lines: about so many, without reading much more."""


class JobLogs(Protocol):
    """The logs that can be read here."""

    def find(self, job_id: str) -> JobLog | None:
        """Returns a job's log; None if it has none here."""


class NoJobLogs:
    """For a server that runs no jobs."""

    def find(self, _job_id: str) -> JobLog | None:
        """Returns None."""
        return None
