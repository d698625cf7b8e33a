"""What a store counts of its own work, and what it can be asked about its present state."""

import threading
import time
from collections.abc import Callable, Mapping

from msgspec import Struct, field

from tensordeck.telemetry.histogram import COUNT_BOUNDS, Histogram, SharedHistogram
from tensordeck.telemetry.last_commit import Commit, remember_commit

__all__ = ["Backlog", "BlobMeasures", "CommitMeasures", "PointMeasures", "PoolUse", "StoreMeasures"]


class CommitMeasures:
    """Group commits of one sort of work.

    Attributes:
        seconds: How long each took, from its begin to its end on the disk.
        pieces: How many pieces of work shared it.
        failures: How many were given up.
    """

    def __init__(self) -> None:
        self.seconds = Histogram()
        self.pieces = Histogram(COUNT_BOUNDS)
        self.failures = 0
        self._lock = threading.Lock()

    def committed(self, pieces: int, began: float) -> None:
        """Counts a commit, in the thread that made it.

        Args:
            pieces: How many pieces it held.
            began: When it began, by `time.perf_counter`.
        """
        ended = time.perf_counter()
        remember_commit(Commit(began, ended, pieces))
        with self._lock:
            self.seconds.observe(ended - began)
            self.pieces.observe(pieces)

    def failed(self) -> None:
        """Counts a commit that was given up; from any thread."""
        with self._lock:
            self.failures += 1


class PointMeasures:
    """Writes of points that were acknowledged.

    Attributes:
        calls: Calls.
        points: Points in them.
        journal_bytes: What they take in the journal.
        group_calls: How many calls were handed to the database together.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.points = 0
        self.journal_bytes = 0
        self.group_calls = Histogram(COUNT_BOUNDS)
        self._lock = threading.Lock()

    def acknowledged(self, calls: int, points: int, journal_bytes: int) -> None:
        """Counts a group of calls; from any thread."""
        with self._lock:
            self.calls += calls
            self.points += points
            self.journal_bytes += journal_bytes
            self.group_calls.observe(calls)


class BlobMeasures:
    """Operations on blobs.

    Attributes:
        seconds: How long they took, by operation and outcome (`ok`, or an error's status).
        read_bytes: Bytes read.
        written_bytes: Bytes written.
    """

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], SharedHistogram] = {}
        self.read_bytes = 0
        self.written_bytes = 0
        self._lock = threading.Lock()

    def read(self, size: int) -> None:
        """Counts bytes that were read; from any thread."""
        with self._lock:
            self.read_bytes += size

    def ended(self, operation: str, outcome: str, began: float, *, written: int = 0) -> None:
        """Counts an operation; from any thread.

        Args:
            operation: `read`, `write`, `delete`.
            outcome: `ok`, or an error's status.
            began: When it began, by `time.perf_counter`.
            written: Bytes that were written.
        """
        took = time.perf_counter() - began
        with self._lock:
            self.written_bytes += written
            histogram = self.seconds.setdefault((operation, outcome), SharedHistogram())
        histogram.observe(took)


class Backlog(Struct, frozen=True):
    """What was written and is not folded yet, as the folder saw it last.

    Attributes:
        rows: Journal rows.
        byte_count: Bytes in them.
        runs: Runs that they belong to.
        oldest_seconds: For how long the oldest has been seen.
        failures: How often folding failed since the start.
    """

    rows: int = 0
    byte_count: int = 0
    runs: int = 0
    oldest_seconds: float = 0.0
    failures: int = 0


class PoolUse(Struct, frozen=True):
    """A pool of database connections.

    Attributes:
        used: Connections in use.
        idle: Open connections that wait.
        limit: The most that may be in use.
    """

    used: int
    idle: int
    limit: int


class StoreMeasures(Struct):
    """What a store tells about itself; its parts put in what they know.

    Attributes:
        commits: Commits by sort of work.
        points: Acknowledged writes of points.
        blobs: Operations on blobs.
        connection_wait: Seconds that readers waited for a database connection.
        waiting: Gives the pieces of work that wait for a commit, by sort of work.
        pools: Gives the use of each pool of database connections, by name.
        backlog: Gives what is not folded yet.
    """

    commits: dict[str, CommitMeasures] = field(default_factory=dict)
    points: PointMeasures = field(default_factory=PointMeasures)
    blobs: BlobMeasures = field(default_factory=BlobMeasures)
    connection_wait: SharedHistogram = field(default_factory=SharedHistogram)
    waiting: Callable[[], Mapping[str, int]] = dict
    pools: Callable[[], Mapping[str, PoolUse]] = dict
    backlog: Callable[[], Backlog] = Backlog
