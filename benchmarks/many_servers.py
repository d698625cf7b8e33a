"""What more workers, and more servers, bring: points a second through gRPC, 1,000 a call.

    python benchmarks/many_servers.py [--seconds N] [--clients N] [--workers N] [--servers N]
                                      [--database-url URL]

One server with one worker and with several, on SQLite; then one server and several on PostgreSQL,
if a URL of an empty database is given. Clients, servers and PostgreSQL share the machine, so that
the figures say how the load is shared, not how far it scales. CPU time is that of all servers'
processes, the database's not counted.
"""

import argparse
import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil

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


def rate(servers: Any, clients: int, seconds: float, name: str) -> float:
    runs = make_runs(servers.servers[0], clients, SERIES, name.replace(" ", "-"))
    prepared = [requests_of(run, SERIES, POINTS, CALLS, seed) for seed, run in enumerate(runs)]
    before = servers.cpu_seconds()
    calls, took = send(servers, prepared, seconds)
    cpu = servers.cpu_seconds() - before
    points = calls * SERIES * POINTS
    print(
        f"  {name:<24} {points / took:10,.0f} points/s {cpu / points * 1e6:6.2f} CPU-s/M points",
        flush=True,
    )
    return points / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--database-url", default="")
    given = parser.parse_args()
    rates = []
    for workers in (1, given.workers):
        with running(1, "--workers", str(workers)) as servers:
            name = f"sqlite workers {workers}"
            rates.append(rate(servers, given.clients, given.seconds, name))
    print(f"  {given.workers} workers / 1 worker: {rates[1] / rates[0]:.2f}")
    if given.database_url:
        more = []
        for count in (1, given.servers):
            with running(count, "--database-url", given.database_url) as servers:
                name = f"postgresql servers {count}"
                more.append(rate(servers, given.clients, given.seconds, name))
        print(f"  {given.servers} servers / 1 server: {more[1] / more[0]:.2f}")
        print(f"  1 server on PostgreSQL / on SQLite: {more[0] / rates[0]:.2f}")


if __name__ == "__main__":
    main()
