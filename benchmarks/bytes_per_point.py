"""What a scalar point takes on disk once it is folded, indexes included.

    python benchmarks/bytes_per_point.py

Series of 5,000 and 100,000 points, written as a training loop does (100 ms apart, millisecond
times), with three kinds of values: float32 as frameworks compute them, float64 noise (which nothing
compresses), and a schedule that changes rarely. The size is that of the pages in use, every table
and index, less what the empty store takes.
"""

import contextlib
import sqlite3
import tempfile
import time
from pathlib import Path

import numpy as np

from tensordeck.settings import Settings
from tensordeck.store.catalog import SqlCatalog
from tensordeck.store.contract import ScalarColumns, SeriesPoints
from tensordeck.store.database import open_database
from tensordeck.store.points import SqlPoints
from tensordeck.store.resources import Experiment, Run, Tensorboard, TimeSeries, ValueType

BOARD = "projects/p/locations/l/tensorboards/1"
REQUEST = 10
"""Points of a series in one request."""


def values_of(kind: str, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    steps = np.arange(count)
    noisy = np.exp(-steps / 1e4) + rng.normal(0, 0.05, count)
    if kind == "float32":
        return noisy.astype(np.float32).astype(np.float64)
    if kind == "schedule":
        return 1e-3 * 0.5 ** (steps // 1000)
    return noisy


def used(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(folder / "tensordeck.db")) as database:
        pages, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


def measure(kind: str, series: int, count: int) -> None:
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = open_database(Settings(data_dir=folder))
        catalog, points = SqlCatalog(database), SqlPoints(database)
        catalog.create(Tensorboard(name=BOARD))
        catalog.create(Experiment(name=f"{BOARD}/experiments/e"))
        run = catalog.create(Run(name=f"{BOARD}/experiments/e/runs/r", display_name="r"))
        made = catalog.create_many(
            [
                TimeSeries(
                    name=f"{run.name}/timeSeries/{number}",
                    display_name=str(number),
                    value_type=ValueType.SCALAR,
                )
                for number in range(series)
            ]
        )
        empty = used(folder)
        values = values_of(kind, count)
        began = time.process_time()
        for at in range(0, count, REQUEST):
            steps = np.arange(at, at + REQUEST)
            wall_ms = 1_760_000_000_000 + steps * 100 + rng.integers(0, 20, REQUEST)
            columns = ScalarColumns(steps, wall_ms * 10**6, values[at : at + REQUEST])
            points.append([SeriesPoints(one.pk, run.pk, columns) for one in made])
        points.fold()
        cpu = time.process_time() - began
        key = (run.pk, made[0].pk)
        points.read_scalars([key])
        before = time.perf_counter()
        points.read_scalars([key])
        read = time.perf_counter() - before
        points.close()
        database.close()
        size = used(folder) - empty
        print(
            f"  {kind:<9} {series:4} series x {count:7,} points: "
            f"{size / (series * count):5.2f} bytes/point, "
            f"{cpu / (series * count) * 1e6:5.2f} CPU-s/M points, "
            f"one series read in {read * 1e3:.1f} ms",
            flush=True,
        )


def main() -> None:
    print("On disk after folding, indexes included:")
    for kind in ("float32", "float64", "schedule"):
        measure(kind, 100, 5_000)
        measure(kind, 5, 100_000)


if __name__ == "__main__":
    main()
