"""Whole servers, killed at random moments under load: nothing acknowledged is lost or doubled."""

import logging
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, make_server
from tests.torture.conftest import Tally
from tests.torture.database_process import DatabaseProcess
from tests.torture.load import Load, Reckoning, logged

log = logging.getLogger(__name__)

SERVERS = {"sqlite": 1, "postgresql": 2}


@pytest.fixture(params=SERVERS)
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Server]]:
    """Running servers of one store."""
    count = SERVERS[request.param]
    options: list[str] = ["--run-jobs", "false"]
    database = None
    if request.param == "postgresql":
        database = DatabaseProcess().start()
        objects = tmp_path / "objects"
        objects.mkdir()
        options += ["--database-url", database.url, "--object-store", objects.as_uri()]
    servers = [make_server(tmp_path / f"data-{number}", *options) for number in range(count)]
    for server in servers:
        logged(server, tmp_path).start()
    yield servers
    for server in servers:
        server.kill()
    if database is not None:
        database.close()


@pytest.mark.torture
@pytest.mark.timeout(7200)
def test_what_was_acknowledged_survives_kills(
    servers: list[Server], rounds: Callable[[int, int], int], tally: Tally
) -> None:
    kills = int(os.environ.get("TORTURE_KILLS") or rounds(300, 12))
    chance = random.Random(20261123)
    load = Load(servers, pause=0.03 if len(servers) == 1 else 0.12)
    reckoning = Reckoning(load)
    moment = threading.Event()
    for number in range(kills):
        moment.wait(chance.uniform(0.05, 1.0))
        victim = chance.choice(servers)
        victim.kill()
        if len(servers) > 1 and chance.random() < 0.3:  # what another server says meanwhile
            others = [server for server in servers if server is not victim]
            reckoning.check(chance.choice(others))
        victim.start()
        if number % 5 == 4:
            reckoning.check(chance.choice(servers))
            log.info("%d kills, %d requests", number + 1, load.book.requests)
    load.stop()
    for server in servers:
        server.kill()
        server.start()
    reckoning.check(servers[-1], everything=True)
    book = load.book
    tally(
        f"{kills} kills of {len(servers)} server(s), {book.requests} acknowledged requests, "
        f"{len(book.runs)} runs, {sum(r.acknowledged for r in book.runs.values()) * 3} "
        f"acknowledged points, {len(book.objects)} objects; lost 0, doubled 0, altered 0; "
        f"passing errors {book.faults}"
    )
    assert book.requests > kills
