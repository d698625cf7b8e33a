"""A PostgreSQL server of the tests' own, in a temporary folder, and empty databases in it."""

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tensordeck.settings import Settings
from tensordeck.store.database import open_database

_NUMBERS = itertools.count(1)


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

    def make_database(self) -> str:
        """Makes a database with the schema and nothing in it; returns its URL."""
        name = f"test_{next(_NUMBERS)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE tensordeck STRATEGY file_copy")
        return self.url(name)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


def _program(name: str) -> str:
    """A program of the newest PostgreSQL server that is installed."""
    found = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4])
    )
    program = str(found[-1]) if found else shutil.which(name)
    if program is None:
        pytest.fail("No PostgreSQL server is installed: `make test-all` does that.")
    return program


@contextlib.contextmanager
def open_postgres() -> Iterator[PostgresServer]:
    """Runs a server; as the user `postgres` where the tests run as root, which it refuses."""
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if not os.getuid() else {}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="tensordeck-pg-") as folder:
        if user:
            shutil.chown(folder, "postgres")
        data = f"{folder}/data"
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c max_connections=400"
        subprocess.run(
            [
                *(_program("initdb"), "-D", data, "-A", "trust", "-U", "postgres"),
                *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **user,
        )
        control = [_program("pg_ctl"), "-D", data, "-w", "-l", f"{folder}/log"]
        subprocess.run(
            [*control, "-o", options, "start"],
            check=True,
            cwd=folder,
            **user,
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
                **user,
                stdout=subprocess.DEVNULL,
            )
