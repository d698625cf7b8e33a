"""A backup's table of contents, `manifest.json`: what is in it, and what that must hash to."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from tensordeck import errors

__all__ = ["FORMAT", "Manifest", "Part"]

FORMAT: Final = 1
"""The format that this version writes; it reads this one and older ones."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of bytes of a backup.

    Attributes:
        name: Its path in the backup.
        size: Bytes.
        sha256: What they hash to, hexadecimal.
        position: Where they begin in a tar file; 0 in an object store.
    """

    name: str
    size: int
    sha256: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The contents.

    Attributes:
        schema: The schema's step that the rows are in, e.g. `0004`.
        version: The version of Tensordeck that wrote it.
        time: When its moment was: RFC 3339, UTC.
        source: What was backed up.
        rows: How many rows there are, by table.
        blobs: How many blobs.
        blob_bytes: How many bytes those have.
        database: The rows: an SQLite file, zstd.
        files: Small files of the data directory, below `files/`.
        lost: What of the blobs the store had lost before, in a sentence; empty for nothing.
        without_credentials: Whether credentials were left out.
    """

    schema: str
    version: str
    time: str
    source: str
    rows: dict[str, int]
    blobs: int
    blob_bytes: int
    database: Part
    files: list[Part] = field(default_factory=list)
    lost: str = ""
    without_credentials: bool = False

    def to_json(self) -> bytes:
        """The file's bytes."""
        content = {"format": FORMAT, **asdict(self)}
        return json.dumps({**content, "sha256": _digest(content)}, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Self:
        """Reads the file.

        Args:
            data: Its bytes; spaces may follow.
            where: The backup, for messages.

        Raises:
            errors.FailedPrecondition: If a newer version wrote it, or it is no such file.
            errors.DataLoss: If it was altered.
        """
        try:
            content = json.loads(data)
            stated = content.pop("sha256")
            number = int(content["format"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise errors.FailedPrecondition(
                f"{where} is no backup of Tensordeck, or its beginning is damaged."
            ) from error
        if stated != _digest(content):
            raise errors.DataLoss(f"{where} is damaged: its manifest is not as it was written.")
        if number > FORMAT:
            raise errors.FailedPrecondition(
                f"{where} was written by a newer version of Tensordeck ({content.get('version')}). "
                "Restore it with that version or a later one."
            )
        del content["format"]
        return cls(
            **{
                **content,
                "database": Part(**content["database"]),
                "files": [Part(**part) for part in content["files"]],
            }
        )


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
