"""How many calls came, how they ended and how long they took."""

from typing import Final

from tensordeck.telemetry.histogram import Histogram

__all__ = ["CallMeasures"]

_VERBS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class CallMeasures:
    """The calls of one server; used on its event loop only, so that nothing is locked.

    Attributes:
        durations: Seconds by transport, method and status. Methods are those of our own tables and
            HTTP's verbs, never what a caller made up: there is a bounded number of them.
        in_flight: Calls that are being answered, by transport.
    """

    def __init__(self) -> None:
        self.durations: dict[tuple[str, str, str], Histogram] = {}
        self.in_flight: dict[str, int] = {}

    def duration(self, transport: str, method: str, status: str) -> Histogram:
        """The histogram that calls of a sort are observed in."""
        key = (transport, method, status)
        found = self.durations.get(key)
        if found is None:
            found = self.durations[key] = Histogram()
        return found

    @staticmethod
    def verb(method: str) -> str:
        """An HTTP request's verb as a label."""
        return method if method in _VERBS else "OTHER"
