"""Counts by size, kept as plain numbers that are read only when somebody asks."""

import threading
from bisect import bisect_left
from typing import Final

__all__ = ["COUNT_BOUNDS", "SECONDS_BOUNDS", "Histogram", "SharedHistogram"]

SECONDS_BOUNDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Upper bounds for durations."""

COUNT_BOUNDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
"""Upper bounds for the sizes of groups."""


class Histogram:
    """How many observations fell below each of some bounds, and their sum.

    `observe` is for one thread at a time; any thread may read. It takes no lock, because it stands
    on the way of every call.

    Args:
        bounds: Upper bounds, each included, ascending.

    Attributes:
        bounds: As given.
        counts: Observations between a bound and the one before it; the last is of those above all.
        total: The sum of all observations.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS_BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Adds an observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """The number of observations."""
        return sum(self.counts)


class SharedHistogram(Histogram):
    """A histogram that several threads add to."""

    __slots__ = ("_lock",)

    def __init__(self, bounds: tuple[float, ...] = SECONDS_BOUNDS) -> None:
        super().__init__(bounds)
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Adds an observation, from any thread."""
        place = bisect_left(self.bounds, value)
        with self._lock:
            self.counts[place] += 1
            self.total += value
