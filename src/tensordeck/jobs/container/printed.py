"""Copies what a container prints from its engine into the job's log.

The engine says when each line was printed. How far a stream has been copied is kept in the
attempt's folder, so that another server goes on there; one that is killed between writing lines
and noting that has those lines, of one moment, written again.
"""

import json
import re
import selectors
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Final

from tensordeck.errors import Unavailable
from tensordeck.jobs.container.engine import ContainerEngine
from tensordeck.jobs.job_log import LogWriter, Severity
from tensordeck.jobs.printed_lines import PrintedLines
from tensordeck.jobs.process.json_file import write_json

_READ_BYTES: Final = 1 << 20
_LONGEST: Final = 1 << 20
"""What is looked at of a line at a time."""
_STAMP: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
"""An RFC 3339 time."""
_SECOND: Final = 1_000_000_000


class StampedLines:
    """One stream of a container's output, as `logs --timestamps` gives it.

    Attributes:
        stamp: The time of the last line taken, as the engine wrote it.
    """

    def __init__(self, lines: PrintedLines, stamp: str = "") -> None:
        """Goes on where another one stopped.

        Args:
            lines: Where the lines go, without their times.
            stamp: Its `stamp`: what is not later is left out.
        """
        self.stamp = stamp
        self.complaint = ""
        self._lines = lines
        self._copied_ns = nanoseconds(stamp.encode())
        self._rest = b""

    def take(self, data: bytes) -> None:
        """Takes the next piece of the stream."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for _, group in groupby(self._later(whole), key=lambda line: line[0] // _SECOND):
            first, *others = group
            self._lines.take(b"".join([first[1], *(text for _, text in others)]), first[0])
        if len(self._rest) > _LONGEST:
            # A line this long comes in parts, each with the time of the first.
            stamp, _, text = self._rest.partition(b" ")
            if nanoseconds(stamp) > self._copied_ns:
                self._lines.take(text.replace(stamp + b" ", b""))
            self._rest = stamp + b" "

    def end(self) -> None:
        """Takes note that nothing more comes; what a program prints last may lack its newline."""
        if self._rest:
            self.take(b"\n")
        self._lines.end()

    def _later(self, lines: list[bytes]) -> Iterator[tuple[int, bytes]]:
        """Lines that have not been copied, with their times."""
        for line in lines:
            stamp, _, text = line.partition(b" ")
            time_ns = nanoseconds(stamp)
            if not time_ns:
                self.complaint = line.decode("utf-8", "replace")  # the engine's own words
            elif time_ns > self._copied_ns:
                self.stamp = stamp.decode()
                yield time_ns, text.replace(stamp + b" ", b"") + b"\n"
        self._copied_ns = max(self._copied_ns, nanoseconds(self.stamp.encode()))


def copy_printed(engine: ContainerEngine, name: str, place: Path, log: LogWriter) -> None:
    """Copies what a container prints until it ends, from where the last call stopped.

    Args:
        engine: The engine.
        name: The container's name.
        place: Where to keep how far it has come.
        log: Where the lines go.

    Raises:
        Unavailable: If the engine does not answer, or breaks off.
    """
    stamps = {"stdout": "", "stderr": ""}
    with suppress(FileNotFoundError):
        stamps = json.loads(place.read_text())
    since = min(stamps.values())
    with engine.logs(name, since) as reader:
        streams = {
            "stdout": StampedLines(PrintedLines(log, Severity.INFO), stamps["stdout"]),
            "stderr": StampedLines(PrintedLines(log, Severity.ERROR), stamps["stderr"]),
        }
        with selectors.DefaultSelector() as selector:
            for pipe, kind in ((reader.stdout, "stdout"), (reader.stderr, "stderr")):
                assert pipe is not None  # noqa: S101 -- both are pipes
                selector.register(pipe, selectors.EVENT_READ, kind)
            while selector.get_map():
                for key, _ in selector.select():
                    data = key.fileobj.read1(_READ_BYTES)  # type: ignore[union-attr] # a pipe
                    if not data:
                        selector.unregister(key.fileobj)
                        continue
                    streams[key.data].take(data)
                    _note(place, streams)
    if reader.returncode:
        complaint = streams["stderr"].complaint or "it says nothing"
        raise Unavailable(f"{engine.program} logs {name} has ended: {complaint}.")
    for stream in streams.values():
        stream.end()
    _note(place, streams)


def _note(place: Path, streams: Mapping[str, StampedLines]) -> None:
    with suppress(OSError):  # the log matters more; a disk that is full loses lines anyhow
        write_json(place, {kind: stream.stamp for kind, stream in streams.items()})


def nanoseconds(stamp: bytes) -> int:
    """An RFC 3339 time in nanoseconds since 1970; 0 for anything else, or for no time at all."""
    match = _STAMP.fullmatch(stamp)
    if match is None:
        return 0
    return _seconds(match[1], match[3]) * _SECOND + int((match[2] or b"").ljust(9, b"0"))


@lru_cache(maxsize=16)
def _seconds(moment: bytes, zone: bytes) -> int:
    return max(0, round(datetime.fromisoformat((moment + zone).decode()).timestamp()))


__all__ = ["StampedLines", "copy_printed", "nanoseconds"]
