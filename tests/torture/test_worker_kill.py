"""Workers of one server, killed at random moments under load, while they write one SQLite file."""

import random
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import make_server
from tests.torture.conftest import Tally
from tests.torture.load import Load, Reckoning
from tests.workers.worker_house import wait_until, workers_of

WORKERS = 2


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_what_was_acknowledged_survives_kills_of_workers(
    tmp_path: Path, rounds: Callable[[int, int], int], tally: Tally
) -> None:
    kills = rounds(100, 12)
    server = make_server(
        tmp_path / "data", "--workers", str(WORKERS), "--run-jobs", "false"
    ).start()
    chance = random.Random(20261123)
    load = Load([server], pause=0.03)
    reckoning = Reckoning(load)
    moment = threading.Event()
    for number in range(kills):
        moment.wait(chance.uniform(0.05, 1.0))
        if number % 6 == 5:
            server.kill()
            server.start()
            reckoning.check(server)
        else:
            victim: psutil.Process = chance.choice(workers_of(server))
            victim.kill()
            wait_until(lambda: len(workers_of(server)) == WORKERS)
    load.stop()
    reckoning.check(server, everything=True)
    book = load.book
    tally(
        f"{kills} kills of one of {WORKERS} workers or of all, {book.requests} acknowledged "
        f"requests, {sum(run.acknowledged for run in book.runs.values()) * 3} acknowledged points, "
        f"{len(book.objects)} objects; lost 0, doubled 0, altered 0; passing errors {book.faults}"
    )
    assert book.requests > kills
    assert server.stop() == 0
