"""A PostgreSQL server that a test may kill and start again, unlike the one that tests share."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg

from tests.conftest import free_port
from tests.postgres_server import _account, _programs


class DatabaseProcess:
    """A PostgreSQL server, with fsync and synchronous commits as they come.

    Args:
        folder: Where its data lies; a temporary one of its own when None, for pytest's are closed
            to the user that it runs as.
        host: The address it listens on.
        launcher: A command that runs its own arguments somewhere else, in a network namespace.
        options: Further settings, `name=value`.

    Attributes:
        host: The address.
        port: Where it listens; the same after a restart.
        process: The running postmaster.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        host: str = "127.0.0.1",
        launcher: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        self.host = host
        self.port = free_port()
        self._prefix: list[str] = []
        self._own = None
        if folder is None:
            self._own = tempfile.TemporaryDirectory(prefix="tensordeck-pg-")
            folder = Path(self._own.name)
        self._data = folder / "data"
        self._options = options
        self._user = _account()
        self.process: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(folder, self._user["user"])
        self._programs = _programs(str(folder))
        subprocess.run(
            [
                *(
                    str(self._programs / "initdb"),
                    "-D",
                    str(self._data),
                    "-A",
                    "trust",
                    "-U",
                    "postgres",
                ),
                *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--data-checksums"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **self._user,
        )
        with (self._data / "pg_hba.conf").open("a") as access:
            access.write("host all all all trust\n")
        self._folder = folder
        if self._user:
            # Not by `subprocess`, which would fork: clients' gRPC threads do not survive that.
            user, group = self._user["user"], self._user["group"]
            self._prefix = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        self._prefix[:0] = launcher

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{self.host}:{self.port}/postgres"

    def url_by(self, port: int) -> str:
        """The database's URL through another port of this machine, a proxy's."""
        return f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def start(self) -> "DatabaseProcess":
        """Starts it and waits until it answers."""
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self._prefix,
                    *(str(self._programs / "postgres"), "-D", str(self._data)),
                    *("-p", str(self.port), "-k", str(self._folder)),
                    *("-c", f"listen_addresses={self.host}"),
                    *("-c", "max_connections=200"),
                    *(part for option in self._options for part in ("-c", option)),
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self._folder / "log").read_text()[-2000:]
                assert self.process.poll() is None, (self._folder / "log").read_text()[-2000:]
                # Until it listens there is nothing to wait on.
                time.sleep(0.05)
            else:
                return self

    def kill(self) -> None:
        """SIGKILL to all its processes at once."""
        if self.process is not None and self.process.poll() is None:
            pids = [self.process.pid, *_children(self.process.pid)]
            for pid in pids:
                _signal(pid, signal.SIGKILL)
            self.process.wait()
            while any(Path(f"/proc/{pid}").exists() and not _is_zombie(pid) for pid in pids):
                time.sleep(0.01)

    def close(self) -> None:
        """Ends it and removes what it kept."""
        self.kill()
        if self._own is not None:
            self._own.cleanup()

    def stop_immediately(self) -> None:
        """SIGQUIT: it ends without a checkpoint and recovers at the next start."""
        if self.process is not None and self.process.poll() is None:
            _signal(self.process.pid, signal.SIGQUIT)
            self.process.wait()


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
