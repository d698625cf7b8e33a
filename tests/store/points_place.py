"""A store in a folder with runs and series to write to, for the tests of the points."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tensordeck.settings import Settings
from tensordeck.store.catalog import SqlCatalog
from tensordeck.store.contract import PayloadColumns, ScalarColumns, SeriesPoints
from tensordeck.store.database import open_database
from tensordeck.store.folder import Schedule
from tensordeck.store.points import SqlPoints
from tensordeck.store.resources import Experiment, Run, Tensorboard, TimeSeries, ValueType

BOARD = "projects/p/locations/l/tensorboards/1"
EXPERIMENT = f"{BOARD}/experiments/e"

NEVER = Schedule(pause_seconds=3600, soft_bytes=2**40, hard_bytes=2**40)
"""Folds only when told to."""
EAGER = Schedule(pause_seconds=0.01, run_rows=1, run_bytes=1, age_seconds=0)
"""Folds all the time."""

Key = tuple[int, int]


@dataclass
class Place:
    """An open store.

    Attributes:
        catalog: The resources.
        points: The points.
    """

    catalog: SqlCatalog
    points: SqlPoints

    def make_experiment(self) -> None:
        self.catalog.create(Tensorboard(name=BOARD))
        self.catalog.create(Experiment(name=EXPERIMENT))

    def make_run(
        self, run_id: str, series: int, value_type: ValueType = ValueType.SCALAR
    ) -> list[Key]:
        """Makes a run with series; returns their (run_pk, series_pk)."""
        run = self.catalog.create(Run(name=f"{EXPERIMENT}/runs/{run_id}", display_name=run_id))
        made = self.catalog.create_many(
            [
                TimeSeries(
                    name=f"{run.name}/timeSeries/{number}",
                    display_name=f"tag {number}",
                    value_type=value_type,
                )
                for number in range(series)
            ]
        )
        return [(run.pk, one.pk) for one in made]

    def write(self, key: Key, steps: Sequence[int], values: Sequence[float], wall: int = 0) -> None:
        """Appends scalars; point i has the wall time `wall + step`."""
        self.points.append([scalars(key, steps, values, wall)])

    def read(self, key: Key) -> list[tuple[int, float]]:
        """One series' (step, value)."""
        columns = self.points.read_scalars([key])[key[1]]
        return list(zip(columns.steps.tolist(), columns.values.tolist(), strict=True))


@contextlib.contextmanager
def open_place(
    where: Path | Settings, schedule: Schedule = NEVER, segment_points: int = 8
) -> Iterator[Place]:
    """Opens the store in a folder, or of some settings; a test fills many of its small segments."""
    database = open_database(Settings(data_dir=where) if isinstance(where, Path) else where)
    points = SqlPoints(database, schedule=schedule, segment_points=segment_points)
    try:
        yield Place(SqlCatalog(database), points)
    finally:
        points.close()
        database.close()


def scalars(key: Key, steps: Sequence[int], values: Sequence[float], wall: int = 0) -> SeriesPoints:
    array = np.array(steps, np.int64)
    with np.errstate(over="ignore"):
        walls = array + np.int64(wall)
    return SeriesPoints(key[1], key[0], ScalarColumns(array, walls, np.array(values, np.float64)))


def payloads(key: Key, points: dict[int, bytes], lengths: int = 0) -> SeriesPoints:
    steps = np.array(list(points), np.int64)
    return SeriesPoints(
        key[1],
        key[0],
        PayloadColumns(
            steps, steps * 10, list(points.values()), [7] * len(points), [lengths] * len(points)
        ),
    )
