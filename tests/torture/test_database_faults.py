"""PostgreSQL dies, hangs, or can't be reached: nothing acknowledged is lost, service comes back."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.conftest import Server, make_server
from tests.torture.black_hole import THERE, open_black_hole
from tests.torture.conftest import Tally
from tests.torture.database_process import DatabaseProcess
from tests.torture.load import Load, Reckoning, logged
from tests.torture.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.torture, pytest.mark.timeout(3600)]

BACK_SECONDS = 60
"""Service must be back so soon after the fault's end; the servers are never restarted."""

TOLD_SECONDS = 45
"""A call is answered so soon, also while every packet to the database is lost."""

Rounds = Callable[[int, int], int]


class Link(Protocol):
    """The way from the servers to the database."""

    def cut(self) -> None: ...
    def heal(self) -> None: ...


@pytest.fixture
def database() -> Iterator[DatabaseProcess]:
    database = DatabaseProcess().start()
    yield database
    database.close()


@pytest.fixture
def proxy(database: DatabaseProcess) -> Iterator[TcpProxy]:
    proxy = TcpProxy(database.port)
    yield proxy
    proxy.close()


def start_servers(tmp_path: Path, url: str, count: int) -> list[Server]:
    objects = tmp_path / "objects"
    objects.mkdir()
    options = ["--run-jobs", "false", "--object-store", objects.as_uri(), "--database-url", url]
    return [
        logged(make_server(tmp_path / f"data-{n}", *options), tmp_path).start()
        for n in range(count)
    ]


def wait_until_acknowledged(load: Load, more: int = 5, limit: float = BACK_SECONDS) -> float:
    """Waits until each of some further requests got its answer; returns the seconds."""
    began = time.monotonic()
    goal = load.book.requests + more
    while load.book.requests < goal:
        assert time.monotonic() - began < limit, f"no service: {load.book.faults}"
        assert not load.book.bugs, load.book.bugs[:3]
        time.sleep(0.02)
    return time.monotonic() - began


def hold_to_account(load: Load, servers: list[Server], tally: Tally, what: str) -> None:
    """Stops the clients, reads everything back, and notes the figures."""
    wait_until_acknowledged(load)
    load.stop()
    reckoning = Reckoning(load)
    reckoning.check(servers[-1], everything=True)
    assert all(server.process.poll() is None for server in servers), "a server ended"
    book = load.book
    tally(
        f"{what}; {book.requests} acknowledged requests, {reckoning.points} points read back; "
        f"lost 0, doubled 0, altered 0; longest wait for an answer {book.slowest:.1f} s; "
        f"passing errors {book.faults}"
    )


def test_the_database_is_killed_and_started_again(
    database: DatabaseProcess, tmp_path: Path, rounds: Rounds, tally: Tally
) -> None:
    servers = start_servers(tmp_path, database.url, 2)
    try:
        load = Load(servers, pause=0.02)
        chance = random.Random(1)
        kills = rounds(50, 4)
        slowest = 0.0
        for number in range(kills):
            threading.Event().wait(chance.uniform(0.2, 2))
            (database.kill if number % 2 else database.stop_immediately)()
            threading.Event().wait(chance.uniform(0, 2))
            database.start()
            slowest = max(slowest, wait_until_acknowledged(load))
        hold_to_account(
            load, servers, tally, f"{kills} deaths of PostgreSQL, back within {slowest:.1f} s"
        )
    finally:
        for server in servers:
            server.kill()


def test_a_slow_network_slows_only(
    proxy: TcpProxy, database: DatabaseProcess, tmp_path: Path, rounds: Rounds, tally: Tally
) -> None:
    proxy.delay = 0.05
    servers = start_servers(tmp_path, database.url_by(proxy.port), 1)
    try:
        load = Load(servers)
        wait_until_acknowledged(load, rounds(200, 40), limit=600)
        assert not load.book.faults
        hold_to_account(load, servers, tally, "50 ms of delay in each direction")
    finally:
        servers[0].kill()


def test_connections_are_cut_again_and_again(
    proxy: TcpProxy, database: DatabaseProcess, tmp_path: Path, rounds: Rounds, tally: Tally
) -> None:
    servers = start_servers(tmp_path, database.url_by(proxy.port), 1)
    try:
        load = Load(servers, pause=0.01)
        chance = random.Random(2)
        cuts = rounds(50, 6)
        for _ in range(cuts):
            threading.Event().wait(chance.uniform(0.05, 1))
            proxy.cut()
            threading.Event().wait(chance.uniform(0, 1))
            proxy.heal()
            wait_until_acknowledged(load)
        hold_to_account(load, servers, tally, f"{cuts} cuts with a reset")
    finally:
        servers[0].kill()


def test_the_database_hangs_and_goes_on(
    proxy: TcpProxy, database: DatabaseProcess, tmp_path: Path, rounds: Rounds, tally: Tally
) -> None:
    servers = start_servers(tmp_path, database.url_by(proxy.port), 1)
    try:
        load = Load(servers, pause=0.01)
        hangs = rounds(10, 1)
        for number in range(hangs):
            wait_until_acknowledged(load, 20)
            proxy.hang()
            threading.Event().wait(25 if number % 2 == 0 else 3)
            proxy.heal()
            wait_until_acknowledged(load)
        hold_to_account(load, servers, tally, f"{hangs} hangs of up to 25 s without a reset")
    finally:
        servers[0].kill()


def test_the_network_swallows_every_packet(tmp_path: Path, rounds: Rounds, tally: Tally) -> None:
    with open_black_hole() as network:
        database = DatabaseProcess(host=THERE, launcher=network.launcher).start()
        servers = []
        try:
            servers += start_servers(tmp_path, database.url, 1)
            load = Load(servers, pause=0.01, timeout_seconds=120)
            cuts = rounds(10, 1)
            for number in range(cuts):
                wait_until_acknowledged(load, 20)
                network.cut()
                threading.Event().wait(50 if number % 2 == 0 else 5)
                network.heal()
                wait_until_acknowledged(load)
            assert load.book.faults.keys() <= {"UNAVAILABLE", "503"}
            assert load.book.slowest < TOLD_SECONDS
            hold_to_account(load, servers, tally, f"{cuts} partitions of up to 50 s")
        finally:
            for server in servers:
                server.kill()
            database.close()
