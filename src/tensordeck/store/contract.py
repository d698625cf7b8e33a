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

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from tensordeck.errors import TensordeckError
from tensordeck.store.logged_runs import LoggedRun, ParameterFilter, ParameterOrder, Scalar
from tensordeck.store.resources import (
    Context,
    Experiment,
    Json,
    Resource,
    Run,
    Tensorboard,
    ValueType,
)
from tensordeck.telemetry.store_measures import StoreMeasures

if TYPE_CHECKING:
    from tensordeck.filters import Filter

R = TypeVar("R", bound=Resource)
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MonthlyViews = dict[str, list[tuple[str, int]]]
"""(username, number of views) pairs by month `YYYYMM`."""

NO_WALL_TIME = -(2**63)
"""The wall time, in nanoseconds, of a point that has none (profile sessions)."""


class Link(NamedTuple):
    """A link between metadata resources.

    Attributes:
        source: The full name it goes out from.
        target: The full name it goes to.
        note: What is kept with it.
    """

    source: str
    target: str
    note: Json


Links = list[Link]
"""An alias because `Catalog.list` hides the type inside the class."""


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """One page of a list.

    Attributes:
        items: The records.
        next_token: Opaque; empty on the last page.
    """

    items: list[R]
    next_token: str


class Catalog(ABC):
    """Resources: records of `store.resources`, by full name.

    - Names are unique in a kind. `display_name` is unique among the runs of an experiment and
      among the time series of a run.
    - A child needs its parent; deleting a parent deletes all below it, points included, in the
      same transaction.
    - `pk` values are never reused.
    - Making an instance the default clears the flag on the others of its project and region.
    - Deleting a time series changes its run's revision: who remembers keys of a run's series, in
      whatever process, can tell by it that they may not hold any more.
    - Lists page by key, not by offset: a row added or removed between two pages neither repeats
      nor hides another. A token only fits the query that made it.
    - No list costs time in proportion to the points ever logged.
    """

    @abstractmethod
    def create(self, resource: R) -> R:
        """Adds one resource; returns it with `pk` and times filled in.

        Raises:
            NotFound: If the parent does not exist.
            AlreadyExists: If the name is taken, or the display name where that must be unique.
                The message holds `already exists`.
        """

    @abstractmethod
    def create_many(self, resources: Sequence[R]) -> list[R]:
        """Adds several in one transaction: all or none, parents first. Raises as `create`.

        They may be of several kinds; many of one kind in a row are added together.
        """

    @abstractmethod
    def find(self, kind: type[R], name: str) -> R | None:
        """Returns a resource, or None."""

    @abstractmethod
    def get(self, kind: type[R], name: str) -> R:
        """Returns a resource.

        Raises:
            NotFound: If it does not exist; the message holds its kind and name.
        """

    @abstractmethod
    def find_many(self, kind: type[R], names: Sequence[str]) -> dict[str, R]:
        """Returns those of the named resources that exist, by name."""

    @abstractmethod
    def update(self, kind: type[R], name: str, change: Callable[[R], R]) -> R:
        """Reads a resource, applies `change`, and writes the result, in one transaction.

        `change` may raise (nothing is written), and may be called more than once. `revision` and
        `update_time` are set by the store; `pk`, `name`, `create_time` and read-only fields stay.

        Raises:
            NotFound: If it does not exist.
            AlreadyExists: If a new display name is taken.
        """

    @abstractmethod
    def past_context(self, name: str, revision: int) -> Context | None:
        """Returns a context as it was at an earlier revision.

        Returns:
            None if that was not replaced within the last minutes, or never was.
        """

    @abstractmethod
    def forget_past_contexts(self) -> int:
        """Removes states of contexts that were replaced long ago; returns how many."""

    @abstractmethod
    def list(
        self,
        kind: type[R],
        parent: str,
        *,
        filter: "Filter | None" = None,  # noqa: A002 -- the API's own word
        order_by: str = "",
        page_size: int = 50,
        page_token: str = "",
        name_prefix: str = "",
        start_at: str = "",
    ) -> Page[R]:
        """Lists the children of a resource, in order of creation unless told otherwise.

        Args:
            kind: What to list.
            parent: The parent's full name. For kinds without a parent kind: the
                `projects/P/locations/L` that names start with, or empty for all.
                `tensorboards/-`, `experiments/-` and `runs/-` are wildcards.
            filter: A parsed AIP-160 filter.
            order_by: `field [desc], ...`, snake_case or camelCase.
            page_size: At most this many.
            page_token: From the last page.
            name_prefix: Only names that start with this, below the parent (objects); ordered
                by name when given. Always so for objects, also with an empty prefix. The order
                is that of code points (SQLite BINARY, PostgreSQL COLLATE "C"), and it and the
                prefix are taken literally (no LIKE wildcards, case counts).
            start_at: Only names not before this one, below the parent (objects): a listing with
                a delimiter jumps past a whole folder with it. An index seek, not a scan.

        Raises:
            NotFound: If the parent does not exist.
            InvalidArgument: If the filter or the order names an unknown field, or the token is
                not ours or belongs to another query.
        """

    @abstractmethod
    def count_children(self, kind: type[Resource], parents: Sequence[str]) -> dict[str, int]:
        """Counts the direct children of some kind, by the parent's name; 0 where none."""

    @abstractmethod
    def count_values(
        self, kind: type[Resource], field: str, values: Collection[int]
    ) -> dict[int, int]:
        """Counts a kind's resources by a field that is a number.

        Args:
            kind: The kind, anywhere.
            field: The field; one with an index of its own.
            values: The values to look for.

        Returns:
            How many have each value; a value that none has may be missing.
        """

    @abstractmethod
    def stamps(self, experiments: Sequence[str]) -> dict[str, str]:
        """Tells whether what was read of experiments still holds, without reading it again.

        Returns:
            For each experiment that exists a text that changes whenever the experiment, one of its
            runs or one of their time series is added, changed or removed.
        """

    @abstractmethod
    def logged_stamps(self, experiments: Sequence[str]) -> dict[str, str]:
        """As `stamps`, of what `logged_runs` returns; empty where there is no such context."""

    @abstractmethod
    def logged_runs(self, experiment: str) -> dict[int, LoggedRun]:
        """Returns what the official client logged for the runs of a TensorBoard experiment.

        Returns:
            By the run's pk; runs that no context belongs to are left out.
        """

    @abstractmethod
    def ranked_runs(
        self,
        experiments: Sequence[str],
        *,
        given: Mapping[int, Mapping[str, Scalar]],
        filters: Sequence[ParameterFilter],
        order: Sequence[ParameterOrder],
    ) -> dict[int, tuple[int, ...]]:
        """Chooses and ranks the runs of TensorBoard experiments by their parameters.

        Args:
            experiments: The experiments' full names.
            given: Parameters that the catalog can't read, by run pk and name: those in event
                files. What the official client logged goes before them.
            filters: All of them must hold.
            order: What to rank by.

        Returns:
            The pk of each run that passes, with its rank by each order: 1 for the first, the
            same for equal values.
        """

    @abstractmethod
    def delete(self, kind: type[R], name: str, *, check: Callable[[R], None] | None = None) -> None:
        """Removes a resource and all below it; returns when the deletion is durable.

        The disk space of what was deleted is given back before the return or soon after it.

        Args:
            kind: What it is.
            name: Its full name.
            check: Called with the resource in the same transaction; when it raises, nothing is
                deleted and the caller gets what it raised (preconditions of objects).

        Raises:
            NotFound: If it does not exist.
        """

    @abstractmethod
    def delete_many(self, kind: type[Resource], names: Sequence[str]) -> int:
        """Removes several resources of a kind with all below them, in one transaction.

        Returns:
            How many there were; a name that does not exist is no error.
        """

    @abstractmethod
    def add_links(
        self, kind: str, source: str, targets: Sequence[str], note: Json | None = None
    ) -> None:
        """Adds links between metadata resources; one that exists stays as it is.

        Args:
            kind: `child` (context to child context), `member` (context to artifact or execution),
                `input` (artifact to execution) or `output` (execution to artifact).
            source: The full name it goes out from.
            targets: The full names it goes to. Links die with either end.
            note: What to keep with each of them; nothing when None.

        Raises:
            NotFound: If an end does not exist.
            InvalidArgument: If contexts would form a circle of children.
        """

    @abstractmethod
    def remove_links(self, kind: str, source: str, targets: Sequence[str]) -> None:
        """Removes links; one that is not there is no error."""

    @abstractmethod
    def links(self, kind: str, *, source: str = "", target: str = "") -> Links:
        """Returns the links out of, or into, a resource, oldest targets first."""

    @abstractmethod
    def record_view(self, tensorboard: str, username: str) -> None:
        """Counts one view of a board of this instance, in the present month (UTC)."""

    @abstractmethod
    def views(self, tensorboard: str) -> MonthlyViews:
        """Returns, for each month `YYYYMM`, the users and their numbers of views."""


@dataclass(slots=True)  # not frozen: a write makes hundreds, and freezing costs six times as much
class ScalarColumns:
    """Scalar points as columns of one length; never changed once made.

    Attributes:
        steps: int64.
        wall_ns: int64, nanoseconds since the epoch, or `NO_WALL_TIME`.
        values: float64; NaN and infinities keep their bits.
    """

    steps: Ints
    wall_ns: Ints
    values: Floats


@dataclass(frozen=True, slots=True)
class PayloadColumns:
    """Tensor or blob-sequence points as columns of one length.

    Attributes:
        steps: int64.
        wall_ns: int64, as above.
        payloads: For TENSOR the serialized TensorProto; for BLOB_SEQUENCE the point's
            `TensorboardBlobSequence` bytes, without the blobs' data.
        versions: TensorboardTensor.version_number of each point; 0 for blob sequences.
        lengths: Number of blobs of each point; 0 for tensors.
    """

    steps: Ints
    wall_ns: Ints
    payloads: list[bytes]
    versions: list[int]
    lengths: list[int]


@dataclass(slots=True)  # not frozen: see ScalarColumns
class SeriesPoints:
    """Points to append to one series; never changed once made.

    Attributes:
        series_pk: The series.
        run_pk: Its run.
        columns: The points in the order they came: of a repeated step the last one counts.
        run_revision: The run's when the series was looked up; another one by now means that the
            series may be gone. 0 where that was in the same breath.
    """

    series_pk: int
    run_pk: int
    columns: ScalarColumns | PayloadColumns
    run_revision: int = 0


@dataclass(slots=True)  # not frozen, as SeriesPoints
class RunScalars:
    """Scalar points to append to several series of one run; never changed once made.

    Attributes:
        run_pk: The run.
        series_pks: Its series; one may come more than once.
        counts: How many of the points belong to each, at least one.
        columns: The points, series after series.
        run_revision: As `SeriesPoints` has it.
    """

    run_pk: int
    series_pks: Sequence[int]
    counts: Sequence[int]
    columns: ScalarColumns
    run_revision: int = 0


@dataclass(slots=True)  # not frozen: see ScalarColumns
class SeriesSummary:
    """What is known of a series without reading its points; never changed once made.

    Attributes:
        count: Number of points (distinct steps).
        max_step: The largest step.
        max_wall_ns: The latest wall time, nanoseconds.
        max_blob_length: The longest blob sequence.
        last: The value at the largest step; NaN for tensors and blobs.
        minimum: The smallest finite value ever written; NaN when there is none.
        maximum: The largest finite value ever written; NaN when there is none.
        version: Grows whenever a point of this series is written: an ETag's raw material.
    """

    count: int = 0
    max_step: int = 0
    max_wall_ns: int = NO_WALL_TIME
    max_blob_length: int = 0
    last: float = float("nan")
    minimum: float = float("nan")
    maximum: float = float("nan")
    version: int = 0


@dataclass(frozen=True, slots=True)
class PointTotals:
    """What the points of a run, or of all runs below something, come to.

    Attributes:
        size: Bytes that they take in the store, journal included.
        last_logged: The latest wall time in nanoseconds, for people to see; `NO_WALL_TIME` where
            there are no points. It is behind by what is not folded yet.
    """

    size: int = 0
    last_logged: int = NO_WALL_TIME


class Points(ABC):
    """Time series' points.

    - A repeated step keeps the last written, whatever the number of requests in between.
    - Reads return every acknowledged point, in step order, each step once.
    - An append to a deleted series is dropped or refused; it never comes back to life.
    """

    @abstractmethod
    def append(self, batch: Sequence[SeriesPoints]) -> None:
        """Adds the points of one request: durable, all or none, when it returns.

        Raises:
            NotFound: If one of the runs was deleted, or has changed since its series were looked
                up: look them up again.
            ResourceExhausted: If the disk is full.
        """

    @abstractmethod
    def submit_scalars(
        self, requests: Sequence[Sequence[RunScalars]]
    ) -> "Future[list[TensordeckError | None]]":
        """As `append` for several requests at once, without waiting.

        Each request is written whole or not at all, whatever becomes of the others.

        Returns:
            A future that is done when the points are durable: what `append` would raise for each
            request, or None where it was written. It fails with what stopped them all.
        """

    @abstractmethod
    def read_scalars(self, series: Sequence[tuple[int, int]]) -> dict[int, ScalarColumns]:
        """Reads series whole.

        Args:
            series: (run_pk, series_pk) pairs.

        Returns:
            Columns by series_pk; a series without points has empty columns.
        """

    @abstractmethod
    def sample_scalars(
        self, series: Sequence[tuple[int, int]], least: int
    ) -> dict[int, ScalarColumns]:
        """Reads series, evenly thinned where they are long.

        A series of a million points takes no longer than one of a hundred thousand.

        Args:
            series: (run_pk, series_pk) pairs.
            least: How many points of a series are enough.

        Returns:
            Columns by series_pk: all points of a series, or at least so many of them, among these
            the first and the last, evenly spaced but for the last.
        """

    @abstractmethod
    def read_payloads(
        self, series: Sequence[tuple[int, int]], *, limit: int | None = None
    ) -> dict[int, PayloadColumns]:
        """Reads tensor or blob series: all points, or `limit` evenly spaced ones with both ends."""

    @abstractmethod
    def summaries(self, series: Sequence[tuple[int, int]]) -> dict[int, SeriesSummary]:
        """Returns summaries by series_pk, with what is not folded yet; all that were asked for."""

    @abstractmethod
    def run_versions(self, run_pks: Sequence[int]) -> dict[int, int]:
        """Returns, for each run, a number that grows whenever points of the run are written."""

    @abstractmethod
    def totals(
        self, kind: type[Run] | type[Experiment] | type[Tensorboard], pks: Sequence[int]
    ) -> dict[int, PointTotals]:
        """Adds up the points of runs, experiments or instances; all that were asked for.

        Costs as much as there are series in them, however many points those have.
        """

    @abstractmethod
    def fold(self) -> int:
        """Folds journal rows into segments now; returns how many rows. Idempotent, crash-safe."""


class Blobs(ABC):
    """Immutable byte strings under opaque keys: the content of Cloud Storage objects."""

    @abstractmethod
    def write(self, key: str, chunks: Iterator[bytes]) -> int:
        """Stores bytes under a new key, atomically and durably; returns their number."""

    @abstractmethod
    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Streams bytes [start, end).

        Raises:
            NotFound: If there is no such key.
        """

    @abstractmethod
    def delete(self, keys: Sequence[str]) -> None:
        """Removes keys; one that is not there is no error, nor is one that is `held`."""

    @abstractmethod
    def keys(self) -> Iterator[tuple[str, int]]:
        """Lists (key, age in seconds) of all that is stored, to find orphans."""

    def held(self) -> AbstractContextManager[None]:
        """Lets nothing be deleted while the block runs, by whatever server: for backups.

        A deletion meanwhile does nothing; what it was to remove is an orphan, for the next sweep.
        """
        return nullcontext()

    def discard_unfinished(self, older_than_s: float) -> int:  # noqa: ARG002 -- for backends
        """Removes what writes that were cut off left behind; returns how many pieces.

        Args:
            older_than_s: Seconds since the last byte came: a write under way is younger.
        """
        return 0


@dataclass(frozen=True, slots=True)
class Store:
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
    "Link",
    "Links",
    "Page",
    "PayloadColumns",
    "PointTotals",
    "Points",
    "RunScalars",
    "ScalarColumns",
    "SeriesPoints",
    "SeriesSummary",
    "Store",
    "ValueType",
]
