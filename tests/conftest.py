"""Fixtures that any test may use: a real server in a process of its own.

With `TENSORDECK_TEST_DATABASE=postgresql` the shared one keeps its store in PostgreSQL.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from tests.s3_server import S3Server, open_s3

START_SECONDS = 60

# A shell that starts a command with `&` lets it ignore Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Server:
    """A `tensordeck serve` process.

    Attributes:
        data_dir: Its data directory.
        port: Its port; the same after a restart.
        options: Further options of `serve`.
        variables: Further variables of its environment.
        output: The file for what it writes; None for a pipe.
    """

    data_dir: Path
    port: int
    options: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    output: IO[str] | None = None
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The address, plain HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """The environment of `tensordeck exec` for child processes."""
        out = subprocess.run(
            [
                *tensordeck("env"),
                "--data-dir",
                str(self.data_dir),
                "--port",
                str(self.port),
                "--format",
                "json",
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return {**os.environ, **json.loads(out)}

    @property
    def token(self) -> str:
        """A fresh access token of the owner."""
        owner = json.loads((self.data_dir / "credentials" / "owner.json").read_text())
        form = "&".join(
            f"{key}={value}"
            for key, value in {
                "grant_type": "refresh_token",
                "client_id": owner["client_id"],
                "client_secret": owner["client_secret"],
                "refresh_token": owner["refresh_token"],
            }.items()
        )
        with urllib.request.urlopen(f"{self.url}/token", data=form.encode()) as reply:
            return json.load(reply)["access_token"]

    def start(self) -> "Server":
        """Starts the process and waits until it takes calls."""
        self.process = subprocess.Popen(
            [
                *tensordeck("serve"),
                "--data-dir",
                str(self.data_dir),
                "--port",
                str(self.port),
                *self.options,
            ],
            stdout=self.output or subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("TENSORDECK_")}
            | self.variables,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended: {self.process.stdout.read()}")
            try:
                with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as reply:
                    if reply.status == 200:
                        return self
            except OSError:
                # Wait for either output or a moment; the poll above sees an early death.
                select.select([self.process.stdout] if self.process.stdout else [], [], [], 0.05)
        raise RuntimeError("the server did not take calls in time")

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout=20)
        finally:
            self.kill()

    def exec(self, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Runs a command under `tensordeck exec`."""
        return subprocess.run(
            [
                *tensordeck("exec"),
                "--data-dir",
                str(self.data_dir),
                "--port",
                str(self.port),
                "--",
                *command,
            ],
            check=False,
            capture_output=True,
            text=True,
            **{"timeout": 280, **options},
        )


def tensordeck(command: str) -> list[str]:
    """The command line of a Tensordeck command in this environment."""
    return [sys.executable, "-m", "tensordeck", command]


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_server(data_dir: Path, *options: str) -> Server:
    """A server that is not started yet."""
    return Server(data_dir, free_port(), options)


@pytest.fixture
def fresh_server(tmp_path: Path) -> Iterator[Server]:
    """A server of this test's own, which it may kill and restart."""
    server = make_server(tmp_path / "data").start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that tests share; each uses projects or instances of its own."""
    with database_options() as options:
        server = make_server(tmp_path_factory.mktemp("server") / "data", *options).start()
        yield server
        server.kill()


@contextlib.contextmanager
def database_options() -> Iterator[tuple[str, ...]]:
    """The options of a server on the database that the tests are to run with."""
    if os.environ.get("TENSORDECK_TEST_DATABASE", "sqlite") != "postgresql":
        yield ()
        return
    from tests.postgres_server import open_postgres  # its driver is an extra

    with open_postgres() as postgres:
        yield ("--database-url", postgres.make_database())


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server that tests share; each makes buckets of its own."""
    with open_s3() as server:
        yield server
