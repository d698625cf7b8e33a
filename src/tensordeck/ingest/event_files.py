"""Event files: one writer's log, read from a position and again when it has grown."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, Protocol

import google_crc32c

from tensordeck.ingest.tfrecord import CorruptRecord, read_records
from tensordeck.ingest.warn import Warn, warn_in_log

if TYPE_CHECKING:  # it loads TensorBoard's messages: a second, for whoever only looks for files
    from tensordeck.ingest.summaries import Point, SummaryDecoder

__all__ = ["EventFile", "FileSize", "StoredFile", "is_event_file"]

_HEAD: Final = 64


def is_event_file(name: str) -> bool:
    """Says whether a file's name is an event file's, by TensorBoard's rule.

    Profilers leave an empty `.profile-empty` file to mark a run; it has no events.
    """
    return "tfevents" in name and not name.endswith(".profile-empty")


class FileSize(Protocol):
    """What is asked of a file's status."""

    @property
    def st_size(self) -> int:
        """Bytes."""


class StoredFile(Protocol):
    """A file, wherever it lies; a `pathlib.Path` is one. Its text is how messages name it."""

    def stat(self) -> FileSize:
        """Looks at it. Raises OSError if it is not there."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Opens it for reading, seekable. Raises OSError if it can't be read."""


class EventFile:
    """An event file and how far it was read.

    - A truncated tail ends a reading; the next one continues there once it is whole.
    - A corrupt record ends the file for good (`dead`), with one warning that names the place.
    - A file that was replaced by another of the same name is read from its start.

    Attributes:
        path: Where it lies.
        position: The offset behind the last record whose points were all handed out.
        head: A checksum of the file's first bytes: tells a grown file from a replaced one.
        dead: Whether a corrupt record ended it.
    """

    def __init__(
        self,
        path: StoredFile,
        position: int = 0,
        head: int | None = None,
        *,
        warn: Warn = warn_in_log,
    ) -> None:
        """Starts at a position.

        Args:
            path: Where the file lies.
            position: Where an earlier reading ended.
            head: The checksum that it left.
            warn: Told what can't be read.
        """
        self.path = path
        self.position = position
        self.head = head
        self.dead = False
        self._warn = warn
        self._told = ""
        self._size = -1

    def may_have_grown(self) -> bool:
        """Says whether a reading could bring something new; costs one look at the file's size."""
        try:
            return not self.dead and self.path.stat().st_size != (
                self.position if self._size < 0 else self._size
            )
        except OSError:
            return False

    def points(self, decoder: "SummaryDecoder") -> "Iterator[Point]":
        """Reads what is new since the last reading.

        The position moves behind a record once its last point was taken: a reading that is given
        up in between repeats that record's points the next time.
        """
        try:
            size = self.path.stat().st_size
            if self.dead or size == self._size:
                return
            with self.path.open("rb") as stream:
                head = stream.read(_HEAD)
                self._notice_replacement(size, head)
                for end, record in read_records(stream, self.position):
                    yield from decoder.points(record)
                    self.position = end
            if len(head) == _HEAD:
                self.head = google_crc32c.value(head)
            self._size = size
        except CorruptRecord as error:
            self.dead = True
            self._warn(f"{self.path}: {error}; the rest of this file is ignored.")
        except OSError as error:  # deleted or made unreadable meanwhile: other files go on
            self._tell_once(f"{self.path} can't be read: {error.strerror or error}.")
            self._size = -1

    def _notice_replacement(self, size: int, head: bytes) -> None:
        """Starts again when this is not the file that was read before."""
        same = self.head is None or (len(head) == _HEAD and google_crc32c.value(head) == self.head)
        if size < self.position or not same:
            self._warn(f"{self.path} was replaced; it is read from its start.")
            self.position, self.head = 0, None

    def _tell_once(self, text: str) -> None:
        """Warns, unless that was the last thing said: a follower looks every second."""
        if text != self._told:
            self._told = text
            self._warn(text)
