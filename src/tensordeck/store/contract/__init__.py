"""The store's contract: what any backend must do. `tests/store/` is the suite it must pass.

Rules for all of it:

- **Durable.** A method that changes something returns after the change is safe from `kill -9` and
  power loss. A method that raises has changed nothing.
- **Thread-safe.** Any method may be called from any thread.
- **Several processes.** What one server acknowledged, every other server on the same store sees.
  Nothing that another process needs is kept in memory only; caches here are hints.
- **Errors.** The types of `tensordeck.errors`, with messages that name the resource: `NotFound`,
  `AlreadyExists`, `Aborted` (stale revision), `InvalidArgument` (bad filter, order or page token),
  `ResourceExhausted` (disk full: writes fail, reads go on, and it recovers by itself),
  `Unavailable` (the database is away). No SQLAlchemy, SQLite or operating system error gets out.
"""

from collections.abc import Callable

from msgspec import Struct, field

from tensordeck.store.contract.blobs import Blobs
from tensordeck.store.contract.catalog import Catalog, Link, Links, MonthlyViews, Page, Tell
from tensordeck.store.contract.points import (
    NO_WALL_TIME,
    Floats,
    Ints,
    Join,
    PayloadColumns,
    Points,
    PointTotals,
    RunScalars,
    ScalarColumns,
    SeriesPoints,
    SeriesSummary,
)
from tensordeck.store.resources import ValueType
from tensordeck.telemetry.store_measures import StoreMeasures


class Store(Struct, frozen=True):
    """The three together, as services use them, and what the store tells about itself.

    Attributes:
        catalog: Resources.
        points: Time series' points.
        blobs: Objects' content.
        close: Ends it.
        measures: What it tells about itself.
        replica: The same, but read from a replica, which may be a moment behind; None without one.
    """

    catalog: Catalog
    points: Points
    blobs: Blobs
    close: Callable[[], None]
    measures: StoreMeasures = field(default_factory=StoreMeasures)
    replica: "Store | None" = None

    @property
    def lagging(self) -> "Store":
        """For reads that may be a moment behind: the replica, if there is one."""
        return self.replica or self


__all__ = [
    "NO_WALL_TIME",
    "Blobs",
    "Catalog",
    "Floats",
    "Ints",
    "Join",
    "Link",
    "Links",
    "MonthlyViews",
    "Page",
    "PayloadColumns",
    "PointTotals",
    "Points",
    "RunScalars",
    "ScalarColumns",
    "SeriesPoints",
    "SeriesSummary",
    "Store",
    "Tell",
    "ValueType",
]
