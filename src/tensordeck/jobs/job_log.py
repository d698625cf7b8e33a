"""The log lines of a job: written while it runs, read while they are written.

Each replica has a stream of lines of its own below the attempt's `logs` folder. A stream is a
row of segment files, each named by the replica and by its first byte's place in the stream:

    logs/workerpool0-0.000000000000.log
    logs/workerpool0-0.000004194311.log

A line of a file is `<nanoseconds since 1970> <severity> <text>`. Places in the stream never
change, so that a reader's cursor stays good while old segments are dropped: a stream keeps its
first 16 MiB and its last 48 MiB, and a reader that comes to the gap is told how much is missing.
"""

import fcntl
import heapq
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, NamedTuple, Self

from tensordeck.errors import InvalidArgument

SERVICE = "service"
"""The stream of what the service itself has to say about a job, as Vertex calls it."""

HEAD_BYTES = 16 << 20
TAIL_BYTES = 48 << 20
SEGMENT_BYTES = 4 << 20
BLOCK_BYTES = 256 << 10

_SEGMENT = re.compile(r"(?P<replica>[A-Za-z0-9_-]+)\.(?P<start>\d+)\.log")


class Severity(StrEnum):
    """How much a line matters: names of Cloud Logging's severities."""

    INFO = "INFO"
    """What a replica writes to its standard output."""
    WARNING = "WARNING"
    ERROR = "ERROR"
    """What it writes to its standard error output."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a job's log.

    Attributes:
        time_ns: When it was written, in nanoseconds since 1970; never less than the line's
            before in the same stream.
        severity: How much it matters.
        replica: Whose it is, e.g. `workerpool0-0`, or `service`.
        position: Where it begins in its replica's stream: with the replica it identifies the
            line for ever.
        text: One line, without control characters.
    """

    time_ns: int
    severity: Severity
    replica: str
    position: int
    text: str


class Page(NamedTuple):
    """Lines, and where the next page begins."""

    lines: list[Line]
    cursor: str
    """What `read` takes as `after`; the same as before if there was nothing new."""


class LogWriter:
    """Appends to one replica's stream. Several writers, also of several processes, may.

    A disk that is full loses lines, which a later line tells; it never raises into the job.
    """

    def __init__(
        self,
        folder: Path,
        replica: str,
        *,
        head_bytes: int = HEAD_BYTES,
        tail_bytes: int = TAIL_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Opens a stream.

        Args:
            folder: The attempt's `logs`; made if it is not there.
            replica: E.g. `workerpool0-0`.
            head_bytes: How much of the beginning is kept, at least.
            tail_bytes: How much of the end is kept, at least.
            segment_bytes: When a new segment is begun.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._replica = replica
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._segment_bytes = segment_bytes
        self._turn = os.open(folder / f"{replica}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._segment = -1
        self._start = 0
        self._last_ns = 0
        self._lost_lines = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(
        self, text: str, severity: Severity = Severity.INFO, time_ns: int | None = None
    ) -> None:
        r"""Adds lines, all of this moment.

        Args:
            text: One line or several, separated by `\n`; no other control characters.
            severity: Of all of them.
            time_ns: When they were written, in nanoseconds since 1970; None for now.
        """
        self._last_ns = max(time_ns or time.time_ns(), self._last_ns)
        if self._lost_lines:
            text = f"[{self._lost_lines} lines could not be written: the disk was full]\n{text}"
        begin = f"{self._last_ns} {severity} "
        data = (begin + text.replace("\n", "\n" + begin) + "\n").encode("utf-8", "replace")
        try:
            fcntl.flock(self._turn, fcntl.LOCK_EX)
            try:
                self._write(data)
            finally:
                fcntl.flock(self._turn, fcntl.LOCK_UN)
            self._lost_lines = 0
        except OSError:
            self._close_segment()
            self._lost_lines += text.count("\n") + (0 if self._lost_lines else 1)

    def close(self) -> None:
        """Lets go of the files."""
        self._close_segment()
        if self._turn >= 0:
            os.close(self._turn)
        self._turn = -1

    def _close_segment(self) -> None:
        if self._segment >= 0:
            os.close(self._segment)
        self._segment = -1

    def _write(self, data: bytes) -> None:
        size = self._at_the_end()
        if size and os.pread(self._segment, 1, size - 1) != b"\n":
            data = b"\n" + data  # a writer was killed, or the disk full, in the middle of a line
        view = memoryview(data)
        while view:
            view = view[os.write(self._segment, view) :]

    def _at_the_end(self) -> int:
        """Opens the segment that the next line belongs to, and returns its size."""
        if self._segment < 0:
            self._open(max((s.start for s in _segments(self._folder, self._replica)), default=0))
        while (size := os.fstat(self._segment).st_size) >= self._segment_bytes:
            self._open(self._start + size)
            self._drop_the_middle()
        return size

    def _open(self, start: int) -> None:
        path = self._folder / f"{self._replica}.{start:012d}.log"
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._close_segment()
        self._segment, self._start = descriptor, start

    def _drop_the_middle(self) -> None:
        segments = _segments(self._folder, self._replica)
        for segment, following in pairwise(segments):
            in_head = segment.start < self._head_bytes
            if not in_head and following.start <= self._start - self._tail_bytes:
                segment.path.unlink(missing_ok=True)


def read(folder: Path, after: str = "", limit: int = 1000, *, since_ns: int = 0) -> Page:
    """Reads a job's log, oldest line first, the streams of its replicas merged.

    Takes as long as the lines it returns, however long the log is.

    Args:
        folder: The attempt's `logs`; need not exist yet.
        after: The cursor of the page before; empty for the beginning.
        limit: At most so many lines.
        since_ns: Leaves out what is older, where the cursor does not tell where to begin.

    Raises:
        InvalidArgument: If the cursor is not one of ours.
    """
    places = _parsed_cursor(after)
    streams = [
        _lines(folder, replica, places.get(replica, 0), since_ns if replica not in places else 0)
        for replica in replicas(folder)
    ]
    lines = []
    for line, end in islice(heapq.merge(*streams, key=lambda item: item[0].time_ns), limit):
        places[line.replica] = end
        lines.append(line)
    return Page(lines, ",".join(f"{replica}:{place}" for replica, place in sorted(places.items())))


def last(folder: Path, replica: str, count: int) -> list[Line]:
    """Reads the last lines of one stream, however long it is.

    Args:
        folder: The attempt's `logs`; need not exist yet.
        replica: The stream.
        count: At most so many lines.
    """
    found: list[Line] = []
    for segment in reversed(_segments(folder, replica)):
        if len(found) >= count:
            break
        try:
            size = segment.path.stat().st_size
            with segment.path.open("rb") as file:
                wanted = count - len(found)
                found[:0] = _tail_of(file, segment, size, wanted)
        except FileNotFoundError:  # dropped since we looked
            break
    return found[-count:] if count else []


def replicas(folder: Path) -> list[str]:
    """The names of the streams that there are."""
    return sorted({segment.replica for segment in _segments(folder)})


class _Segment(NamedTuple):
    replica: str
    start: int
    path: Path


def _segments(folder: Path, replica: str | None = None) -> list[_Segment]:
    """Segments in the order of the stream."""
    found = []
    with suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            match = _SEGMENT.fullmatch(entry.name)
            if match and replica in (None, match["replica"]):
                found.append(_Segment(match["replica"], int(match["start"]), Path(entry.path)))
    return sorted(found)


def _parsed_cursor(cursor: str) -> dict[str, int]:
    try:
        pairs = (part.rsplit(":", 1) for part in cursor.split(",") if part)
        return {replica: int(place) for replica, place in pairs}
    except ValueError as error:
        raise InvalidArgument(
            f"{cursor!r} is no place in a job's log; leave it out to begin at the start."
        ) from error


def _lines(folder: Path, replica: str, position: int, since_ns: int) -> Iterator[tuple[Line, int]]:
    """Yields a stream's lines from a position on, each with the position after it."""
    segments = _segments(folder, replica)
    for number, segment in enumerate(segments):
        end = segments[number + 1].start if number + 1 < len(segments) else None
        if end is not None and end <= position:
            continue
        if since_ns and number + 1 < len(segments) and _first_ns(segments[number + 1]) < since_ns:
            position = segments[number + 1].start
            continue
        try:
            file = segment.path.open("rb", buffering=0)
        except FileNotFoundError:  # dropped since we looked
            continue
        with file:
            if segment.start > position:
                yield _gap(segment, position), segment.start
                position = segment.start
            for line, place in _lines_of(file, segment, position, is_last=end is None):
                position = place
                if line.time_ns >= since_ns:
                    yield line, place


def _lines_of(
    file: IO[bytes], segment: _Segment, position: int, *, is_last: bool
) -> Iterator[tuple[Line, int]]:
    file.seek(position - segment.start)
    rest = b""
    while block := file.read(BLOCK_BYTES):
        *whole, rest = (rest + block).split(b"\n")
        for raw in whole:
            begin, position = position, position + len(raw) + 1
            line = _parsed(raw, segment.replica, begin)
            if line is not None:
                yield line, position
    if rest and not is_last and (line := _parsed(rest, segment.replica, position)):
        yield line, position + len(rest)  # cut by a full disk; nothing more will come


def _tail_of(file: IO[bytes], segment: _Segment, size: int, count: int) -> list[Line]:
    """Reads the last lines of a segment, from larger and larger parts of its end."""
    length = BLOCK_BYTES
    while True:
        begin = max(0, size - length)
        file.seek(begin)
        data = file.read(size - begin)
        if begin:  # what comes before the first newline is half a line
            skipped = data.find(b"\n") + 1
            begin, data = begin + skipped, data[skipped:]
        if begin == 0 or data.count(b"\n") >= count:
            break
        length *= 4
    lines, position = [], segment.start + begin
    for raw in data.split(b"\n")[:-1]:
        line = _parsed(raw, segment.replica, position)
        position += len(raw) + 1
        if line is not None:
            lines.append(line)
    return lines[-count:]


def _parsed(raw: bytes, replica: str, position: int) -> Line | None:
    """Reads a line; None for one that a full disk cut before its text."""
    time_ns, _, rest = raw.partition(b" ")
    severity, _, text = rest.partition(b" ")
    try:
        return Line(
            int(time_ns),
            Severity(severity.decode("ascii", "replace")),
            replica,
            position,
            text.decode("utf-8", "replace"),
        )
    except ValueError:
        return None


def _first_ns(segment: _Segment) -> int:
    """When a segment begins; 0 if that can't be told."""
    try:
        with segment.path.open("rb") as file:
            line = _parsed(file.readline(BLOCK_BYTES), segment.replica, segment.start)
    except FileNotFoundError:
        return 0
    return line.time_ns if line else 0


def _gap(segment: _Segment, position: int) -> Line:
    missing = segment.start - position
    return Line(
        _first_ns(segment),
        Severity.WARNING,
        segment.replica,
        position,
        f"[{missing:,} bytes of output are left out here: of a long log only the beginning and "
        f"the end are kept]",
    )


__all__ = ["SERVICE", "Line", "LogWriter", "Page", "Severity", "last", "read", "replicas"]
