"""What a process prints, on its way into the job's log: bytes in, lines out."""

import re
from collections import deque

from tensordeck.jobs.job_log import LogWriter, Severity

LINE_BYTES = 32 << 10
"""What is kept of a line."""

_LAST_LINES = 20
_LAST_LINE_LENGTH = 300

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CONTROL_BYTES = bytes({*range(0x20), 0x7F} - set(b"\t\n"))
_TERMINAL = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\)?|[\x07\x08]"
)
"""Colours, titles, bells and backspaces."""


class PrintedLines:
    """Takes what one stream of a process holds, piece by piece, and writes its lines.

    A line becomes what a terminal would show in the end: without colours, and of a progress bar
    that draws over itself only the last state.
    """

    def __init__(self, log: LogWriter, severity: Severity) -> None:
        """Writes nothing yet.

        Args:
            log: Where the lines go.
            severity: What they are.
        """
        self._log = log
        self._severity = severity
        self._partial = b""
        self._cut = 0
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    @property
    def last_lines(self) -> list[str]:
        """The last lines that say anything, each shortened."""
        return list(self._last)

    def take(self, data: bytes, time_ns: int | None = None) -> None:
        """Takes the next piece.

        Args:
            data: It; need not end where a line does.
            time_ns: When it was printed, in nanoseconds since 1970; None for now.
        """
        block, newline, rest = data.rpartition(b"\n")
        if newline:
            first, *others = block.split(b"\n")
            lines = [self._ended(first), *others]
            if len(block) > LINE_BYTES and max(map(len, lines)) > LINE_BYTES:
                lines[1:] = [_shortened(line, 0) for line in others]
            self._write(b"\n".join(lines), time_ns)
        self._partial += rest
        # What is drawn over will not be seen; a bar may go on for hours without a newline.
        if (drawn_over := self._partial.rfind(b"\r", 0, -1)) >= 0:
            self._partial, self._cut = self._partial[drawn_over + 1 :], 0
        if len(self._partial) > LINE_BYTES:
            self._cut += len(self._partial) - LINE_BYTES
            self._partial = self._partial[:LINE_BYTES]

    def end(self) -> None:
        """Takes note that nothing more comes: what there is of an unfinished line becomes one."""
        if self._partial:
            self.take(b"\n")

    def _ended(self, end: bytes) -> bytes:
        line = _shortened(self._partial + end, self._cut)
        self._partial, self._cut = b"", 0
        return line

    def _write(self, data: bytes, time_ns: int | None) -> None:
        text = data.decode("utf-8", "replace")
        # Most output has none of these, and is only looked through, by the quickest means.
        if b"\xc2" in data or len(data.translate(None, _CONTROL_BYTES)) < len(data):
            text = _TERMINAL.sub("", text)
            if "\r" in text:
                text = "\n".join(map(_visible, text.split("\n")))
            text = _CONTROL.sub("\ufffd", text)
        self._log.append(text, self._severity, time_ns)
        self._last += [
            line[:_LAST_LINE_LENGTH]
            for line in text.rsplit("\n", _LAST_LINES)[-_LAST_LINES:]
            if line and not line.isspace()
        ]


def _shortened(line: bytes, cut: int) -> bytes:
    """Cuts a line, of which some may have been cut before."""
    cut += max(0, len(line) - LINE_BYTES)
    return line[:LINE_BYTES] + (b" [%d more bytes of this line]" % cut if cut else b"")


def _visible(line: str) -> str:
    line = line.rstrip("\r")
    return line[line.rfind("\r") + 1 :]


__all__ = ["LINE_BYTES", "PrintedLines"]
