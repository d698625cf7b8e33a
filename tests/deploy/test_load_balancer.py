"""deploy/haproxy before two servers on PostgreSQL and S3, with the official client."""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Server, free_port, make_server, tensordeck
from tests.postgres_server import open_postgres

pytestmark = pytest.mark.heavy

HERE = Path(__file__).parent
CONFIGURATION = HERE.parents[1] / "deploy" / "haproxy" / "haproxy.cfg"


@dataclass
class Cluster:
    """What runs.

    Attributes:
        servers: Both of them.
        port: The balancer's.
    """

    servers: list[Server]
    port: int

    def use(self, name: str, calls: int = 20) -> str:
        """Runs the official client against the balancer; returns the last that it printed."""
        first = self.servers[0].data_dir
        done = subprocess.run(
            [
                *(*tensordeck("exec"), "--url", f"https://localhost:{self.port}"),
                *("--credentials", first / "credentials" / "owner.json"),
                *("--ca", first / "tls" / "ca.pem", "--"),
                *(sys.executable, HERE / "official_client.py", name, str(calls)),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
            env={k: v for k, v in os.environ.items() if not k.startswith("TENSORDECK_")},
        )
        assert done.returncode == 0, done.stderr
        return "\n".join(done.stdout.splitlines()[-2:])

    def calls(self) -> list[int]:
        """How many calls each server has answered, probes and our own not counted."""
        counts = []
        for server in self.servers:
            request = urllib.request.Request(
                f"{server.url}/metrics", headers={"Authorization": f"Bearer {server.token}"}
            )
            with urllib.request.urlopen(request) as reply:
                lines = reply.read().decode().splitlines()
            counts.append(
                sum(
                    float(line.split()[-1])
                    for line in lines
                    if line.startswith("tensordeck_request_duration_seconds_count")
                    and not re.search('transport="(health|metrics|token)"', line)
                )
            )
        return counts


@pytest.fixture(scope="module")
def cluster(s3, tmp_path_factory) -> Iterator[Cluster]:
    haproxy = shutil.which("haproxy") or pytest.skip("haproxy is not installed")
    folder = tmp_path_factory.mktemp("cluster")
    with open_postgres() as postgres:
        options = (
            *("--database-url", postgres.make_database()),
            *("--object-store", f"s3://{s3.make_bucket()}/objects"),
            *("--run-jobs", "false", "--drain-delay-seconds", "5", "--drain-seconds", "10"),
        )
        servers = [make_server(folder / name, *options) for name in ("first", "second")]
        for server in servers:
            server.variables = {**s3.environ(), "AWS_ALLOW_HTTP": "true"}
        first, second = (server.data_dir for server in servers)
        servers[0].start()
        (second / "tls").mkdir(parents=True)
        for file in ("ca.pem", "ca-key.pem"):
            shutil.copy(first / "tls" / file, second / "tls")
        shutil.copytree(first / "credentials", second / "credentials")
        servers[1].start()
        port = free_port()
        balancer = subprocess.Popen(
            [haproxy, "-db", "-f", CONFIGURATION],
            env={
                "DECK_BIND": f"127.0.0.1:{port}",
                "DECK_CA": str(first / "tls" / "ca.pem"),
                **{f"DECK_{n}": f"127.0.0.1:{s.port}" for n, s in enumerate(servers, 1)},
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield Cluster(servers, port)
        finally:
            balancer.kill()
            balancer.wait()
            for server in servers:
                server.kill()


def test_both_servers_serve_the_official_client_through_one_address(cluster):
    assert cluster.use("both") == "20 points\n100000 bytes"

    wait_until_both_serve(cluster)


def test_a_server_that_is_killed_is_not_missed(cluster):
    cluster.servers[0].kill()

    assert cluster.use("killed") == "20 points\n100000 bytes"

    cluster.servers[0].start()


def test_a_server_that_drains_is_left_without_a_failed_call(cluster):
    wait_until_both_serve(cluster)

    cluster.servers[1].process.terminate()

    assert cluster.use("drained", 60) == "60 points\n100000 bytes"
    assert cluster.servers[1].process.wait(30) == 0


def wait_until_both_serve(cluster: Cluster) -> None:
    """Until the balancer has seen that a server is back: its own checks come every two seconds."""
    before = cluster.calls()
    deadline = time.monotonic() + 60
    number = 0
    while not all(now > then for now, then in zip(cluster.calls(), before, strict=True)):
        assert time.monotonic() < deadline
        number += 1
        cluster.use(f"again-{number}", 5)
