"""Profiles: what TensorFlow's profiler leaves below a run, one file a host and tool.

They lie at `RUN/plugins/profile/SESSION/FILE`, in no event file. As the official uploader has it, a
session is a blob sequence of its run: one point without step and wall time, whose blobs are
called after the files.
"""

import math
from typing import Final

from tensordeck.ingest.event_files import StoredFile
from tensordeck.ingest.summaries import NamedBlob, Point, Series, SummaryDecoder, ValueType
from tensordeck.ingest.tfrecord import LARGEST
from tensordeck.ingest.warn import Warn

__all__ = ["PLUGIN", "ProfileFile", "session_of"]

PLUGIN: Final = "profile"
_FOLDERS: Final = ("plugins", PLUGIN)


def session_of(name: str) -> tuple[str, str] | None:
    """Takes apart the path of a profile's file.

    Args:
        name: The path below the log directory, with slashes.

    Returns:
        The folder of its run (empty for the log directory itself) and the session; None if it is
        no profile's file.
    """
    *run, plugins, profile, session, _ = ["", "", "", *name.split("/")]
    if (plugins, profile) != _FOLDERS:
        return None
    return "/".join(part for part in run if part), session


class ProfileFile:
    """A file of a session. It is read as `EventFile` is, but always whole.

    Attributes:
        path: Where it lies.
        position: How large it was when it was read.
        head: None: it has no part that stays.
    """

    head: Final = None

    def __init__(
        self, path: StoredFile, name: str, session: str, position: int, warn: Warn
    ) -> None:
        self.path = path
        self.position = position
        self._name = name
        self._session = session
        self._warn = warn
        self._told = -1

    def may_have_grown(self) -> bool:
        """Says whether it is another size than when it was read."""
        try:
            size = self.path.stat().st_size
        except OSError:
            return False
        return size not in (self.position, self._told)

    def points(self, _decoder: SummaryDecoder) -> list[Point]:
        """Reads it: one point with one blob."""
        try:
            size = self.path.stat().st_size
            if size > LARGEST:
                self._leave(size, f"it has {size:,} bytes, more than the {LARGEST:,} that are read")
                return []
            with self.path.open("rb") as file:
                content = file.read(LARGEST)
        except OSError as error:
            self._leave(-1, f"{error.strerror or error}")
            return []
        self.position = len(content)
        series = Series(self._session, ValueType.BLOB_SEQUENCE, PLUGIN)
        return [Point(series, 0, math.nan, (NamedBlob(content, self._name),))]

    def _leave(self, size: int, reason: str) -> None:
        self._told = size
        self._warn(f"{self.path} is left out: {reason}.")
