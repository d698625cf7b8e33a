"""Where a job finds Cloud Storage on its own disk.

A job's folder has one folder a bucket, `gcs/<bucket>/<object>`: plain paths, which every framework
can write to. On the managed service the same stands under `/gcs`, where custom images look for it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tensordeck.errors import InvalidArgument
from tensordeck.names import shown

__all__ = ["BucketPaths", "parse_uri"]

_URI: Final = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(.*))?", re.DOTALL)
_MOUNTED: Final = re.compile(r"(?<![\w./-])/gcs/([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?![\w-])")
"""`/gcs/bucket` where a path starts: not in `/data/gcs/x`, not in `gs://b/gcs/x`."""
_REST: Final = re.compile(r"/([^\s'\"`;|&<>()$*?\[\]{},:=\\]*)")


def parse_uri(uri: str, field: str) -> tuple[str, str]:
    """Splits `gs://bucket/object` into bucket and object, which may be empty.

    Args:
        uri: The URI.
        field: The field that it came in; errors name it.

    Raises:
        InvalidArgument: If it is none, or its object's name could lead out of the job's folder.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise InvalidArgument(f"`{field}` must look like gs://bucket/folder; it is {shown(uri)}.")
    name = match[2] or ""
    if "\0" in name or any(part in (".", "..") for part in name.split("/")):
        raise InvalidArgument(
            f"`{field}` can't be a folder of a job: {shown(uri)} has a `.` or `..` in it."
        )
    return match[1], name


@dataclass(frozen=True, slots=True)
class BucketPaths:
    """The buckets of one job, as folders.

    Attributes:
        root: The folder that has one folder a bucket.
    """

    root: Path

    def of(self, bucket: str, name: str = "") -> Path:
        """Where an object, or a folder of objects, is kept."""
        return self.root / bucket / name.strip("/") if name.strip("/") else self.root / bucket

    def rewritten(self, text: str) -> str:
        """A command, argument or variable with its `/gcs/bucket` paths led to `root`."""
        return _MOUNTED.sub(lambda match: str(self.root / match[1]), text)

    def mentioned(self, text: str) -> Iterator[tuple[str, str]]:
        """The (bucket, object or folder) pairs that a text has below `/gcs`."""
        for match in _MOUNTED.finditer(text):
            rest = _REST.match(text, match.end())
            name = rest[1].strip("/") if rest else ""
            if not any(part in (".", "..") for part in name.split("/")):
                yield match[1], name
