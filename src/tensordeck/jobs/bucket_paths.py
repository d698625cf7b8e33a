"""Where a job finds what it names by `/gcs/<bucket>/<object>`.

On the managed service Cloud Storage is mounted there, for the images that users bring. Nobody but
root can mount anything on this host, so that commands, arguments and variables are led to the
folder of the job that stands for it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["BucketPaths"]

_MOUNTED: Final = re.compile(r"(?<![\w./-])/gcs/([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?![\w-])")
"""`/gcs/bucket` where a path starts: not in `/data/gcs/x`, not in `gs://b/gcs/x`."""
_REST: Final = re.compile(r"/((?:(?!:/)[^\s'\"`;|&<>()$*?\[\]{}\\])*)")
"""What follows the bucket, up to what a shell would end a word at, or the next path of a list.

The official client has the time in the names of its packages, and so a colon."""


@dataclass(frozen=True, slots=True)
class BucketPaths:
    """The buckets of one job, as folders.

    Attributes:
        root: The folder that has one folder a bucket.
    """

    root: Path

    def rewritten(self, text: str) -> str:
        """A command, argument or variable with its `/gcs/bucket` paths led to `root`."""
        return _MOUNTED.sub(lambda match: str(self.root / match[1]), text)

    def mentioned(self, text: str) -> Iterator[str]:
        """The `gs://` URIs of what a text has below `/gcs`."""
        for match in _MOUNTED.finditer(text):
            rest = _REST.match(text, match.end())
            yield f"gs://{match[1]}/{rest[1] if rest else ''}"
