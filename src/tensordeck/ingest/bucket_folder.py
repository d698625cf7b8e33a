"""Log directories in a bucket of the server: `gs://BUCKET/FOLDER`.

Objects are looked at through the JSON API of Cloud Storage
(https://cloud.google.com/storage/docs/json_api) and read by ranges, so that following a file that
its writer stores anew each time, as TensorFlow does, moves only what was added to it.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Final, Literal
from urllib.parse import quote, urlencode

from tensordeck.errors import InvalidArgument, NotFound, TensordeckError
from tensordeck.ingest.connection import Connection
from tensordeck.ingest.log_directory import FoundFile, found_file

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["BucketFolder"]

_READ_BYTES: Final = 4 << 20
_ROOT: Final = "/storage/v1/b/"


@dataclass
class _Object:
    """An object as it was last listed: a file that `EventFile` reads.

    Attributes:
        connection: Where it is read from.
        bucket: Its bucket.
        name: Its name.
        generation: Which content it has.
        st_size: Bytes.
    """

    connection: Connection
    bucket: str
    name: str
    generation: str = ""
    st_size: int = 0

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.name}"

    def stat(self) -> "_Object":
        return self

    def open(self, _mode: Literal["rb"], /) -> BinaryIO:
        return io.BufferedReader(_Reader(self), _READ_BYTES)


class _Reader(io.RawIOBase):
    """Reads one generation of an object; one that is gone meanwhile is an OSError."""

    def __init__(self, source: _Object) -> None:
        self._connection = source.connection
        query = urlencode({"alt": "media", "generation": source.generation})
        self._path = f"{_ROOT}{_quoted(source.bucket)}/o/{_quoted(source.name)}?{query}"
        self._size = source.st_size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        end = min(self._size, self._position + len(view))
        if end <= self._position:
            return 0
        try:
            content = self._connection.get(
                self._path, {"Range": f"bytes={self._position}-{end - 1}"}
            )
        except TensordeckError as error:
            raise OSError(error.message) from error
        view[: len(content)] = content
        self._position += len(content)
        return len(content)


@dataclass
class BucketFolder:
    """A log directory in a bucket.

    Attributes:
        url: `gs://BUCKET/FOLDER`.
        connection: To the server that has it.

    Raises:
        InvalidArgument: If the URL names no bucket.
    """

    SCHEME: ClassVar[str] = "gs://"

    url: str
    connection: Connection
    _objects: dict[str, _Object] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        bucket, _, folder = self.url.removeprefix(self.SCHEME).partition("/")
        if not bucket:
            raise InvalidArgument(f"{self.url} names no bucket; write gs://BUCKET/FOLDER.")
        self._bucket = bucket
        self._prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""

    def __str__(self) -> str:
        return self.url

    @property
    def key(self) -> str:
        """See `LogFolder.key`."""
        return f"{self.SCHEME}{self._bucket}/{self._prefix}"

    def exists(self) -> bool:
        """Whether there is any object below it: a bucket knows no other folders."""
        return next(self._listed(), None) is not None

    def files(self) -> Iterator[FoundFile]:
        """See `LogFolder.files`; a bucket that is not there is empty."""
        found = sorted(self._listed(), key=lambda one: one.name.rpartition("/")[::2])
        for one in found:
            if log_file := found_file(one.name.removeprefix(self._prefix), one):
                yield log_file

    def _listed(self) -> Iterator[_Object]:
        query = {
            "prefix": self._prefix,
            "fields": "items(name,size,generation),nextPageToken",
        }
        while True:
            path = f"{_ROOT}{_quoted(self._bucket)}/o?{urlencode(query)}"
            try:
                page = json.loads(self.connection.get(path))
            except NotFound:
                return
            for item in page.get("items", ()):
                name = item["name"]
                known = self._objects.get(name)
                if known is None:
                    known = self._objects[name] = _Object(self.connection, self._bucket, name)
                known.generation, known.st_size = item["generation"], int(item["size"])
                yield known
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]


def _quoted(name: str) -> str:
    return quote(name, safe="")
