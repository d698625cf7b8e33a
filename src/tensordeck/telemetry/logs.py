"""Log lines, for people or for machines, each with the id of the request that it belongs to.

The JSON form has a line an entry, with the fields that collectors of Google Cloud, Elastic and Loki
know without configuration: `time` (RFC 3339), `severity`, `logger`, `message`.
"""

import atexit
import contextlib
import logging
import os
import queue
import re
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from typing import Final

from tensordeck.telemetry.request_id import request_id

__all__ = ["JsonLines", "TextLines", "configure_logs", "without_secrets"]

LINES_WAITING: Final = 10_000
"""So many entries wait for whoever reads them; what comes then is left out, and counted."""
FINISH_SECONDS: Final = 1.0
"""How long the end of the process waits for the entries that are left."""

_SECRETS: Final = (
    # An Authorization header's value, and what is signed or made by us.
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 ..."),
    (re.compile(r"\btd-[a-z-]+\.[A-Za-z0-9._~+/=-]{8,}"), "..."),
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"), "..."),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|$)", re.DOTALL),
        "...",
    ),
    # key=value and "key": "value", as in URLs, forms, connection strings and JSON.
    (
        re.compile(
            r"(?i)((?:access_|refresh_|id_|oauth_)?token|(?:client_|secret_)secret|password|passwd|"
            r"assertion|private_key|secret_access_key|account_key|sas_token)"
            r"(\"?\s*[=:]\s*\"?)[^\s\"'&,;]+"
        ),
        r"\1\2...",
    ),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]+):[^\s/@]+@"), r"\1:...@"),
)


def without_secrets(text: str) -> str:
    """A text with what looks like a token, a password or a private key taken out.

    The last net, not the first: no line is meant to hold any.
    """
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


class TextLines(logging.Formatter):
    """Lines for people: time, level, logger, message, and the request in brackets."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the base class's name
        """The line without its traceback."""
        line = super().formatMessage(record)
        current = request_id()
        return f"{line} [request {current}]" if current else line

    def format(self, record: logging.LogRecord) -> str:
        """The whole entry; control characters in a message can't fake another entry."""
        text = without_secrets(super().format(record))
        head, newline, rest = text.partition("\n") if record.exc_info else (text, "", "")
        return head.replace("\n", "\\n").replace("\r", "\\r").replace("\x1b", "\\x1b") + (
            newline + rest
        )


class JsonLines(logging.Formatter):
    """Lines for machines: one JSON object each.

    Args:
        spans: Gives the trace and span that are under way, as fields; empty without any.
    """

    def __init__(self, spans: Callable[[], dict[str, str]] = dict) -> None:
        super().__init__()
        self._spans = spans

    def format(self, record: logging.LogRecord) -> str:
        """The entry."""
        import orjson  # noqa: PLC0415 -- only where it is wanted

        moment = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, object] = {
            "time": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "severity": record.levelname,
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
            "pid": os.getpid(),
        }
        if current := request_id():
            entry["request_id"] = current
        entry.update(self._spans())
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["exception"] = without_secrets(
                "".join(traceback.format_exception(*record.exc_info))
            )
        return orjson.dumps(entry, default=str).decode()


def configure_logs(form: str, level: str, spans: Callable[[], dict[str, str]] = dict) -> None:
    """Sends all log entries to standard error.

    Args:
        form: `text` or `json`.
        level: The least level of our own entries; other libraries' are told from warnings on.
        spans: See `JsonLines`.
    """
    handler = _Lines()
    handler.setFormatter(JsonLines(spans) if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    atexit.register(handler.finish)
    logging.getLogger("tensordeck").setLevel(level.upper())


class _Lines(QueueHandler):
    """Hands entries to a thread that writes them to standard error.

    A pipe that nobody reads takes some 64 KiB and then stops whoever writes to it, and that must
    not be the event loop. An entry becomes text where it is made: the request is known there.
    """

    def __init__(self) -> None:
        self._entries: queue.Queue[logging.LogRecord | None] = queue.Queue(LINES_WAITING)
        super().__init__(self._entries)
        self._left_out = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Leaves an entry out rather than wait."""
        try:
            self._entries.put_nowait(record)
        except queue.Full:
            self._left_out += 1

    def finish(self) -> None:
        """Writes what is left, if somebody reads it."""
        try:
            self._entries.put(None, timeout=FINISH_SECONDS)
        except queue.Full:
            return
        self._thread.join(FINISH_SECONDS)

    def _write(self) -> None:
        while (record := self._entries.get()) is not None:
            if left_out := self._left_out:
                self._left_out -= left_out
                self._put(self.format(_note(left_out)))
            self._put(record.getMessage())

    @staticmethod
    def _put(line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def _note(left_out: int) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": __name__,
            "levelname": "WARNING",
            "msg": f"{left_out} entries before this were left out: nobody read them in time.",
        }
    )
