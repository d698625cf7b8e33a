"""What more workers, and more servers, bring: points a second through gRPC, 1,000 a call.

    python benchmarks/many_servers.py [--seconds N] [--clients N] [--workers N] [--servers N]
                                      [--rounds N] [--database-url URL]

One server with one worker and with several, on SQLite; then one server and several on PostgreSQL,
if a URL of an empty database on this machine is given, which must sync its commits as SQLite does.
Clients, servers and PostgreSQL share the machine, so that the figures say how the load is shared,
not how far it scales. CPU time is that of the servers' processes and, beside it, of all of
PostgreSQL's, until all is folded. The rounds' order is always the same, one after the other: what
else the machine does meanwhile falls on all alike.
"""

import argparse
import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import psutil
import psycopg
from peers.process_tree import cpu_seconds

from ingest import Server, make_runs, requests_of, send

SERIES, POINTS, CALLS = 100, 10, 400


class Servers:
    """Several servers as one: each new channel leads to the next of them."""

    def __init__(self, servers: list[Server]) -> None:
        self.servers = servers
        self.metadata = servers[0].metadata
        self._turns = itertools.cycle(servers)

    def channel(self) -> grpc.Channel:
        return next(self._turns).channel()

    def cpu_seconds(self) -> float:
        total = 0.0
        for server in self.servers:
            process = psutil.Process(server.process.pid)
            for one in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = one.cpu_times()
                    total += times.user + times.system
        return total


@contextlib.contextmanager
def running(count: int, *options: str) -> Iterator[Servers]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        servers = [
            Server(Path(folder) / f"data-{number}", "--run-jobs", "false", *options)
            for number in range(count)
        ]
        time.sleep(3)  # what a start leaves for later is done by then
        try:
            yield Servers(servers)
        finally:
            for server in servers:
                server.stop()


class Postgresql:
    """The database's processes, which must run on this machine."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._process = psutil.Process(psutil.Process(self._connection.info.backend_pid).ppid())

    def cpu_seconds(self) -> float:
        return cpu_seconds([self._process.pid])

    def wait_until_folded(self) -> None:
        while self._connection.execute("SELECT count(*) FROM journal").fetchone() != (0,):
            time.sleep(0.5)


class Rate(NamedTuple):
    """Points, and what they cost.

    Attributes:
        points: A second.
        cpu: Seconds of all processors a million points, database and folding included.
    """

    points: float
    cpu: float


def rate(
    servers: Any, clients: int, seconds: float, name: str, database: Postgresql | None = None
) -> Rate:
    runs = make_runs(servers.servers[0], clients, SERIES, name.replace(" ", "-"))
    prepared = [requests_of(run, SERIES, POINTS, CALLS, seed) for seed, run in enumerate(runs)]
    ours, its = servers.cpu_seconds(), database.cpu_seconds() if database else 0.0
    calls, took = send(servers, prepared, seconds)
    (database or servers.servers[0]).wait_until_folded()
    millions = calls * SERIES * POINTS / 1e6
    ours = (servers.cpu_seconds() - ours) / millions
    its = ((database.cpu_seconds() if database else 0.0) - its) / millions
    print(
        f"  {name:<26} {millions / took * 1e6:10,.0f} points/s, CPU-s/M points: "
        f"{ours + its:6.2f} ({ours:.2f} servers, {its:.2f} database)",
        flush=True,
    )
    return Rate(millions / took * 1e6, ours + its)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database-url", default="")
    given = parser.parse_args()
    of_sqlite, of_postgresql = [], []
    for number in range(1, given.rounds + 1):
        rates = []
        for workers in (1, given.workers):
            with running(1, "--workers", str(workers)) as servers:
                name = f"sqlite workers {workers} round {number}"
                rates.append(rate(servers, given.clients, given.seconds, name))
        print(f"  {given.workers} workers / 1 worker: {rates[1].points / rates[0].points:.2f}")
        if given.database_url:
            more = []
            for count in (1, given.servers):
                with running(count, "--database-url", given.database_url) as servers:
                    database = Postgresql(given.database_url)
                    name = f"postgresql servers {count} round {number}"
                    more.append(rate(servers, given.clients, given.seconds, name, database))
            print(f"  {given.servers} servers / 1 server: {more[1].points / more[0].points:.2f}")
            print(f"  1 server on PostgreSQL / on SQLite: {more[0].points / rates[0].points:.2f}")
            of_sqlite.append(rates[0].cpu)
            of_postgresql.append(more[1].cpu)
    if of_postgresql:
        ratios = [a / b for a, b in zip(of_sqlite, of_postgresql, strict=True)]
        print(
            f"  points a CPU-second, {given.servers} servers on PostgreSQL with it / SQLite: "
            f"{sum(of_sqlite) / sum(of_postgresql):.2f} "
            f"(rounds: {', '.join(f'{ratio:.2f}' for ratio in ratios)})"
        )


if __name__ == "__main__":
    main()
