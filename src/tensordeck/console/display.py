"""Numbers and times as people read them."""

from datetime import UTC, datetime
from typing import Final

__all__ = ["exact_time", "human_bytes", "human_count", "human_time", "iso_time"]

_SPANS: Final = (
    (365 * 86_400, "year"),
    (30 * 86_400, "month"),
    (86_400, "day"),
    (3_600, "hour"),
    (60, "minute"),
)


def human_bytes(size: int) -> str:
    """A size in decimal units with three digits, e.g. `1.25 MB`."""
    if size < 1000:
        return f"{size} B"
    value, unit = size / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        # Rounding must not make 999.9 kB into "1000 kB".
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


def human_count(number: int) -> str:
    """A number with its thousands apart."""
    return f"{number:,}"


def human_time(microseconds: int, now: float) -> str:
    """How long ago a time was, e.g. `3 hours ago`.

    Args:
        microseconds: Since the epoch.
        now: Seconds since the epoch.
    """
    if not microseconds:
        return "never"
    passed = now - microseconds / 1e6
    for length, unit in _SPANS:
        if passed >= length:
            count = int(passed // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    # Clocks of two servers differ a little: a moment in the future is now, too.
    return "just now"


def iso_time(microseconds: int) -> str:
    """A time for a machine: RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def exact_time(microseconds: int) -> str:
    """A time for a tooltip."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%-d %B %Y, %H:%M:%S UTC")
