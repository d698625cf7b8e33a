"""Names of buckets and objects, and the names of their rows in the catalog.

Rules: https://cloud.google.com/storage/docs/buckets#naming and .../docs/objects#naming.
"""

import re
from typing import Final

from tensordeck.errors import InvalidArgument
from tensordeck.names import shown
from tensordeck.store.resources import StoredObject

__all__ = [
    "object_name",
    "resource_name",
    "row_name",
    "split_uri",
    "validate_bucket",
    "validate_object",
]

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_ADDRESS: Final = re.compile(r"\d+(\.\d+){3}")


def validate_bucket(name: str) -> str:
    """Checks a bucket's name.

    Raises:
        InvalidArgument: If it breaks the rules; the message holds them.
    """
    labels = name.split(".")
    if (
        not _BUCKET.fullmatch(name)
        or _ADDRESS.fullmatch(name)
        or not all(0 < len(label) <= 63 for label in labels)
    ):
        raise InvalidArgument(
            f"Invalid bucket name: {shown(name)}. It must have 3 to 63 lower-case letters, "
            "digits, dashes, underscores and dots, and start and end with a letter or digit."
        )
    return name


def validate_object(name: str) -> str:
    """Checks an object's name.

    Raises:
        InvalidArgument: If it is empty, longer than 1,024 bytes of UTF-8, `.` or `..`, or holds
            a line break, a NUL or half a character.
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"The object name {shown(name)} is no valid Unicode.") from error
    if not 0 < length <= 1024:
        raise InvalidArgument(f"An object name has 1 to 1024 bytes of UTF-8; this has {length}.")
    if name in (".", "..") or any(char in name for char in "\r\n\0"):
        raise InvalidArgument(
            f"Invalid object name: {shown(name)}. It may not be `.` or `..`, "
            "nor hold line breaks or NUL."
        )
    return name


def row_name(bucket: str, name: str) -> str:
    """The name of an object's row in the catalog."""
    return f"{bucket}/{name}"


def object_name(row: StoredObject | str) -> str:
    """An object's own name, from its row or the row's name."""
    full = row if isinstance(row, str) else row.name
    return full.partition("/")[2]


def resource_name(bucket: str, name: str = "") -> str:
    """What rights are asked for: a bucket's or an object's full resource name."""
    return f"projects/_/buckets/{bucket}" + (f"/objects/{name}" if name else "")


def split_uri(uri: str, field: str = "uri") -> tuple[str, str]:
    """Takes `gs://BUCKET/OBJECT` apart; the object's name may be empty, or end with a slash.

    Args:
        uri: The URI.
        field: What the caller calls it, for the message.

    Raises:
        InvalidArgument: If it has another form, or a name that can't be one.
    """
    scheme, _, rest = uri.partition("://")
    if scheme != "gs" or not rest:
        raise InvalidArgument(f"`{field}` must be gs://BUCKET/OBJECT; it is {shown(uri)}.")
    bucket, _, name = rest.partition("/")
    return validate_bucket(bucket), validate_object(name) if name else ""
