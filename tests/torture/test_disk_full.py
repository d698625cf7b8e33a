"""The disk under the store is full for a while, under load."""

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, make_server
from tests.torture.conftest import Tally
from tests.torture.database_process import DatabaseProcess
from tests.torture.load import GroupClient, Load, Reckoning, RunClient, logged
from tests.torture.test_database_faults import wait_until_acknowledged

pytestmark = [pytest.mark.torture, pytest.mark.timeout(3600)]

ROOM = {"sqlite": 32, "postgresql": 160}
"""MiB of the small disk: PostgreSQL takes 60 when it is empty."""
LEFT = 512 * 1024
"""Bytes that are left of it while it is full."""


@pytest.fixture(params=ROOM)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def disk(kind: str) -> Iterator[Path]:
    """A small file system of its own."""
    folder = Path(f"/tmp/tensordeck-disk-{os.getpid()}")
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM[kind]}m", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("file systems can't be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


@pytest.fixture
def database(kind: str, disk: Path) -> Iterator[DatabaseProcess | None]:
    if kind == "sqlite":
        yield None
        return
    place = disk / "database"
    place.mkdir()
    options = ("max_wal_size=64MB", "min_wal_size=32MB", "wal_recycle=off")
    database = DatabaseProcess(place, options=options).start()
    yield database
    database.close()


@pytest.fixture
def server(database: DatabaseProcess | None, disk: Path, tmp_path: Path) -> Iterator[Server]:
    options = ["--run-jobs", "false"]
    place = disk / "data"
    if database is not None:
        options += ["--database-url", database.url]
        place = tmp_path / "data"
    server = logged(make_server(place, *options), tmp_path).start()
    yield server
    server.kill()


def test_a_full_disk_refuses_and_recovers(
    kind: str,
    server: Server,
    database: DatabaseProcess | None,
    disk: Path,
    rounds: Callable[[int, int], int],
    tally: Tally,
) -> None:
    load = Load([server], (RunClient, RunClient, GroupClient), pause=0.01)
    times = rounds(10, 2)
    restarts = 0
    ballast = disk / "ballast"
    for _ in range(times):
        wait_until_acknowledged(load, 30)
        fill(ballast)
        failures = sum(load.book.faults.values())
        deadline = time.monotonic() + 120
        while sum(load.book.faults.values()) < failures + 5:
            assert time.monotonic() < deadline, "the disk is full and nobody was told"
            assert not load.book.bugs, load.book.bugs[:3]
            threading.Event().wait(0.05)
        ballast.unlink()
        if database is not None and database.process.poll() is not None:
            restarts += 1  # PostgreSQL ends itself where its own log has no room
            database.start()
        wait_until_acknowledged(load)
    load.stop()
    reckoning = Reckoning(load)
    reckoning.check(server, everything=True)
    book = load.book
    assert book.faults.keys() <= {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
    assert server.process.poll() is None, "the server ended"
    tally(
        f"{times} times full, {book.requests} acknowledged requests, {reckoning.points} points "
        f"read back; lost 0, doubled 0, altered 0; {restarts} ends of PostgreSQL itself; "
        f"told {book.faults}: {book.texts}"
    )


def fill(ballast: Path) -> None:
    """Takes all room but a little, again and again while the store frees some."""
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while shutil.disk_usage(ballast.parent).free > LEFT:
            file.write(bytes(256 * 1024))
