"""What backups, restores and moves of a store take: time and the most memory a command needs.

    python benchmarks/moving.py [--points 10_000_000] [--blob-mb 1000] [--no-postgresql]

A store of 200 series with as many points each, folded, and objects of 10 MB. Every line is one
command line in a process of its own; MB are those of the database's pages in use and of the
objects. PostgreSQL is a server of the benchmark's own, in a temporary folder, on the same disk.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import numpy as np

from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.blobs import new_key
from tensordeck.store.contract import ScalarColumns, SeriesPoints
from tensordeck.store.resources import (
    Bucket,
    Experiment,
    Run,
    StoredObject,
    Tensorboard,
    TimeSeries,
)

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.postgres_server import open_postgres

BOARD = "projects/p/locations/l/tensorboards/1"
RUNS, SERIES = 10, 20
REQUEST = 5_000
OBJECT_BYTES = 10_000_000


def furnish(place: Settings, points: int, blob_mb: int) -> None:
    store = open_store(place)
    rng = np.random.default_rng(0)
    store.catalog.create(Tensorboard(name=BOARD))
    store.catalog.create(Experiment(name=f"{BOARD}/experiments/e"))
    each = points // (RUNS * SERIES)
    for number in range(RUNS):
        name = f"{BOARD}/experiments/e/runs/{number}"
        run = store.catalog.create(Run(name=name, display_name=str(number)))
        made = store.catalog.create_many(
            [
                TimeSeries(name=f"{name}/timeSeries/{tag}", display_name=f"tag {tag}")
                for tag in range(SERIES)
            ]
        )
        for at in range(0, each, REQUEST):
            steps = np.arange(at, min(at + REQUEST, each))
            wall = (1_760_000_000_000 + steps * 100 + rng.integers(0, 20, len(steps))) * 10**6
            store.points.append(
                [
                    SeriesPoints(
                        one.pk,
                        run.pk,
                        ScalarColumns(
                            steps,
                            wall,
                            rng.normal(0, 1, len(steps)).astype(np.float32).astype(np.float64),
                        ),
                    )
                    for one in made
                ]
            )
        store.points.fold()
    store.catalog.create(Bucket(name="bucket"))
    for number in range(blob_mb * 1_000_000 // OBJECT_BYTES):
        content = rng.bytes(OBJECT_BYTES)
        key = new_key()
        store.blobs.write(key, iter((content,)))
        store.catalog.create(
            StoredObject(
                name=f"bucket/{number}",
                generation=1,
                size=len(content),
                crc32c=google_crc32c.value(content),
                blob_key=key,
            )
        )
    store.close()


def size_of(folder: Path) -> int:
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".db-wal", ".db-shm")
    )


WATCH = """
import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(ended.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""
"""A process that is small itself: Linux counts a parent's memory for its children."""


def measure(what: str, size: int, *arguments: str) -> None:
    began = time.monotonic()
    command = [sys.executable, "-m", "tensordeck", *arguments]
    ended = subprocess.run(
        [sys.executable, "-c", WATCH, *command], stdout=subprocess.PIPE, text=True, check=True
    )
    seconds = time.monotonic() - began
    *output, used = ended.stdout.splitlines()
    status, cpu, memory = used.split()
    if status != "0":
        raise SystemExit(f"{what} failed")
    print(
        f"{what:34}{seconds:8.1f} s{float(cpu):8.1f} s CPU{size / seconds / 1e6:8.0f} MB/s"
        f"{float(memory):8.0f} MB of memory",
        flush=True,
    )
    if output and "Writes were stopped" in output[-1]:
        print(f"{'':34}writes {output[-1].partition('Writes ')[2].partition(' before')[0]}")


@contextlib.contextmanager
def fresh(folder: Path) -> Iterator[str]:
    yield str(folder)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--blob-mb", type=int, default=1000)
    parser.add_argument("--postgresql", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tensordeck-moving-") as name:
        top = Path(name)
        source = top / "source"
        furnish(Settings(data_dir=source), given.points, given.blob_mb)
        size = size_of(source)
        rows = (source / "tensordeck.db").stat().st_size
        print(
            f"{given.points:,} points ({rows / 1e6:.0f} MB), {given.blob_mb} MB of objects; "
            f"load of the machine {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores"
        )
        file = str(top / "x.tar")
        measure("backup to a file", size, "backup", file, "--data-dir", str(source))
        print(f"{'':34}the file has {Path(file).stat().st_size / 1e6:.0f} MB")
        measure("verify the file", size, "verify", file)
        measure("verify the store", size, "verify", "--data-dir", str(source))
        with fresh(top / "restored") as there:
            measure("restore to SQLite", size, "restore", file, "--data-dir", there)
        with fresh(top / "moved") as there:
            measure(
                "migrate SQLite to SQLite", size, "migrate", "--from", str(source), "--to", there
            )
        subprocess.run(
            [sys.executable, "-m", "tensordeck", "migrate", "--from", str(source), "--release"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        if not given.postgresql:
            return
        with open_postgres() as server:
            url = server.make_database()
            objects = top / "objects"
            objects.mkdir()
            stores = ("--object-store", objects.as_uri())
            measure(
                "migrate SQLite to PostgreSQL",
                size,
                *("migrate", "--from", str(source), "--to", url, *stores),
            )
            with fresh(top / "back") as there:
                measure(
                    "migrate PostgreSQL to SQLite",
                    size,
                    *("migrate", "--from", url, "--from-object-store", objects.as_uri()),
                    *("--to", there),
                )
            with fresh(top / "y.tar"):
                measure(
                    "backup of PostgreSQL to a file",
                    size,
                    *("backup", str(top / "y.tar"), "--database-url", url, *stores),
                )


if __name__ == "__main__":
    main()
