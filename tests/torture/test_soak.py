"""Hours of work do not make the server grow."""

import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import make_server
from tests.torture.conftest import Tally
from tests.torture.load import GroupClient, Load, ObjectClient, Reckoning, RunClient, logged

pytestmark = [pytest.mark.torture, pytest.mark.timeout(7200)]

SHARE = 0.7
"""Of the rate that the same clients reach when they never pause."""
GROWTH = 12 * 2**20
"""Bytes that the last quarter's memory may be above the second quarter's."""


class Passing(RunClient):
    """Deletes nearly all of its runs, so that only what is kept by mistake can grow."""

    deletes = 0.95


class PassingGroup(GroupClient):
    deletes = 0.95
    deletes_whole_groups = True


class PassingObjects(ObjectClient):
    """Else the database grew all the time, and with it what SQLite keeps of it, 64 MiB at most."""

    deletes = 0.95


CLIENTS = (Passing, Passing, Passing, PassingGroup, PassingObjects)


def rate(load: Load, seconds: float) -> float:
    before, began = load.book.requests, time.monotonic()
    threading.Event().wait(seconds)
    return (load.book.requests - before) / (time.monotonic() - began)


def test_memory_stays_flat(tmp_path: Path, rounds: Callable[[int, int], int], tally: Tally) -> None:
    server = logged(make_server(tmp_path / "data", "--run-jobs", "false"), tmp_path).start()
    try:
        seconds = int(os.environ.get("TORTURE_SOAK_SECONDS") or rounds(30 * 60, 100))
        load = Load([server], CLIENTS)
        rate(load, 5)
        peak = rate(load, 15)
        load.pace(len(CLIENTS) / peak * (1 / SHARE - 1))
        process = psutil.Process(server.process.pid)
        samples: list[int] = []
        end = time.monotonic() + seconds
        before = load.book.requests
        while time.monotonic() < end:
            threading.Event().wait(1)
            samples.append(process.memory_info().rss)
        reached = (load.book.requests - before) / seconds
        load.stop()
        Reckoning(load).check(server, everything=True)
        quarter = len(samples) // 4
        early, late = (
            statistics.median(samples[quarter : 2 * quarter]),
            statistics.median(samples[3 * quarter :]),
        )
        tally(
            f"{seconds} s at {reached:.0f} requests/s, {reached / peak:.0%} of {peak:.0f}; "
            f"{load.book.requests} acknowledged, memory {early / 2**20:.0f} MiB in the second "
            f"quarter, {late / 2**20:.0f} MiB in the last, {max(samples) / 2**20:.0f} MiB at most; "
            "lost 0"
        )
        assert not load.book.faults
        assert late - early < GROWTH, [f"{s / 2**20:.0f}" for s in samples[:: max(1, quarter // 8)]]
    finally:
        server.kill()
