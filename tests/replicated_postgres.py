"""A PostgreSQL primary and a synchronous streaming standby, on loopback, both of the test's own."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import free_port

SYNCHRONOUS = "synchronous_standby_names=*"


def program(name: str) -> str:
    """A program of the newest PostgreSQL server that is installed."""
    installed = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    found = max(installed, key=lambda path: int(path.parts[4]), default=None)
    path = str(found) if found else shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed: `make test-all` does that.")
    return path


class Cluster:
    """One PostgreSQL server, in a folder of its own.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        process: The postmaster, while it runs.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        self._user: dict[str, Any] = {}
        if not os.getuid():  # PostgreSQL refuses to run as root
            self._user = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(folder, "postgres")

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def init(self) -> None:
        self._run(
            *("initdb", "-D", str(self._folder / "data"), "-A", "trust", "-U", "postgres"),
            *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
        )

    def copy(self, primary: "Cluster") -> None:
        """Becomes a standby of a running server."""
        self._run(
            *("pg_basebackup", "-D", str(self._folder / "data"), "-R", "-X", "stream"),
            *("-c", "fast", "-d", primary.url),
        )

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [program(name), *arguments],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._user,
        )

    def start(self, *options: str) -> None:
        """Starts it and waits until it answers."""
        given = [part for option in options for part in ("-c", option)]
        self.process = subprocess.Popen(
            [
                *(program("postgres"), "-D", str(self._folder / "data"), "-p", str(self.port)),
                *("-k", str(self._folder), "-c", "listen_addresses=127.0.0.1", *given),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            **self._user,
        )
        wait_until(self.answers)

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement).fetchall()

    def kill(self) -> None:
        """SIGKILL to the postmaster and all its children, as when a machine goes away."""
        if self.process is None or self.process.poll() is not None:
            return
        parent = self.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for pid in (parent, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def replicated() -> Iterator[tuple[Cluster, Cluster]]:
    """Yields a primary, whose commits wait for the standby, and the standby."""
    with tempfile.TemporaryDirectory(prefix="tensordeck-pg-") as name:
        Path(name).chmod(0o755)
        folders = [Path(name) / "one", Path(name) / "two"]
        for folder in folders:
            folder.mkdir()
        primary, standby = map(Cluster, folders)
        try:
            primary.init()
            primary.start()
            standby.copy(primary)
            primary.kill()
            primary.start(SYNCHRONOUS)
            standby.start()
            wait_until(lambda: _synchronous(primary))
            yield primary, standby
        finally:
            standby.kill()
            primary.kill()


def _synchronous(primary: Cluster) -> bool:
    return bool(primary.ask("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"))


def wait_until(condition: Any, seconds: float = 60.0) -> None:
    """Polls, for another program's state has nothing to wait on."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
