"""Times between the store's integers and the API's Timestamps."""

import re
from typing import Any, Final

from tensordeck import protos
from tensordeck.errors import InvalidArgument

_MICRO: Final = 1_000_000
_NANO: Final = 1_000_000_000
_OFFSET: Final = re.compile(r"(?<=\d)([+-]\d\d)(\d\d)$")


def set_micros(timestamp: Any, micros: int) -> None:
    """Writes microseconds since the epoch into a Timestamp."""
    timestamp.seconds, rest = divmod(micros, _MICRO)
    timestamp.nanos = rest * 1000


def set_nanos(timestamp: Any, nanos: int) -> None:
    """Writes nanoseconds since the epoch into a Timestamp."""
    timestamp.seconds, timestamp.nanos = divmod(nanos, _NANO)


def parse_nanos(text: str, where: str) -> int:
    """Reads an RFC 3339 time, or a number of seconds, as nanoseconds since the epoch.

    Args:
        text: The time.
        where: What the text is, for the error.

    Raises:
        InvalidArgument: If it is neither.
    """
    moment = protos.message("google.protobuf.Timestamp")()
    try:
        # Cloud Logging's own client writes offsets without their colon.
        moment.FromJsonString(_OFFSET.sub(r"\1:\2", text))
    except ValueError:
        try:
            return round(float(text) * _NANO)
        except (ValueError, OverflowError):
            raise InvalidArgument(
                f'{where} must be a time like "2026-01-31T12:00:00Z"; it is "{text[:64]}".'
            ) from None
    return int(moment.ToNanoseconds())
