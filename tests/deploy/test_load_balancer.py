"""deploy/haproxy before two servers on PostgreSQL and S3, with the official client."""

import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
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

    def wait_until_both_serve(self) -> None:
        """Until new connections have led to each server: their metrics say whose process it is."""
        first = self.servers[0]
        request = urllib.request.Request(
            f"https://localhost:{self.port}/metrics",
            headers={"Authorization": f"Bearer {first.token}"},
        )
        trusted = ssl.create_default_context(cafile=str(first.data_dir / "tls" / "ca.pem"))
        wanted = {server.process.pid for server in self.servers}
        found: set[int] = set()
        deadline = time.monotonic() + 120
        while found != wanted:
            assert time.monotonic() < deadline, f"{found} of {wanted} answered"
            try:
                with urllib.request.urlopen(request, context=trusted) as reply:
                    text = reply.read().decode()
            except urllib.error.URLError:  # the balancer does not listen yet
                time.sleep(0.05)
                continue
            found |= {int(pid) for pid in re.findall(r'build_info{pid="(\d+)"', text)}


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
    cluster.wait_until_both_serve()

    assert cluster.use("both") == "20 points\n100000 bytes"


def test_a_server_that_is_killed_is_not_missed(cluster):
    cluster.wait_until_both_serve()
    cluster.servers[0].kill()
    try:
        assert cluster.use("killed") == "20 points\n100000 bytes"
    finally:
        cluster.servers[0].start()


def test_a_server_that_drains_is_left_without_a_failed_call(cluster):
    cluster.wait_until_both_serve()

    cluster.servers[1].process.terminate()

    assert cluster.use("drained", 60) == "60 points\n100000 bytes"
    assert cluster.servers[1].process.wait(30) == 0
