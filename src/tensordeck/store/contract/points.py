"""Where time series' points rest. The rules for all of the store stand in `store.contract`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from tensordeck.errors import TensordeckError
from tensordeck.store.resources import (
    Experiment,
    Run,
    Tensorboard,
)

if TYPE_CHECKING:
    pass

__all__ = [
    "NO_WALL_TIME",
    "Floats",
    "Ints",
    "PayloadColumns",
    "PointTotals",
    "Points",
    "RunScalars",
    "ScalarColumns",
    "SeriesPoints",
    "SeriesSummary",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NO_WALL_TIME = -(2**63)
"""The wall time, in nanoseconds, of a point that has none (profile sessions)."""


class ScalarColumns(Struct, frozen=True):
    """Scalar points as columns of one length; never changed once made.

    Attributes:
        steps: int64.
        wall_ns: int64, nanoseconds since the epoch, or `NO_WALL_TIME`.
        values: float64; NaN and infinities keep their bits.
    """

    steps: Ints
    wall_ns: Ints
    values: Floats


class PayloadColumns(Struct, frozen=True):
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


class SeriesPoints(Struct, frozen=True):
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


class RunScalars(Struct, frozen=True):
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


class SeriesSummary(Struct, frozen=True):
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


class PointTotals(Struct, frozen=True):
    """What the points of a run, or of all runs below something, come to.

    Attributes:
        size: Bytes that they take in the store, journal included.
        last_logged: The latest wall time in nanoseconds, for people to see; `NO_WALL_TIME` where
            there are no points. It is behind by what is not folded yet.
    """

    size: int = 0
    last_logged: int = NO_WALL_TIME


Join = Callable[[Callable[[], PayloadColumns], PayloadColumns], PayloadColumns]
"""Given what reads a series' stored points and its new ones, returns those to write."""


class Points(ABC):
    """Time series' points.

    - A repeated step keeps the last written, whatever the number of requests in between.
    - Reads return every acknowledged point, in step order, each step once.
    - An append to a deleted series is dropped or refused; it never comes back to life.

    Attributes:
        gather_seconds: For how long it pays to look away before it is seen whether more requests
            have come that `submit_scalars` could write together.
    """

    gather_seconds: float

    @abstractmethod
    def append(self, batch: Sequence[SeriesPoints], join: Join | None = None) -> None:
        """Adds the points of one request: durable, all or none, when it returns.

        Args:
            batch: The points.
            join: Says what to write of each tensor or blob series, by what is stored of it. No
                other write of the run, by any server, comes between that and the writing; it may
                be asked again.

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
