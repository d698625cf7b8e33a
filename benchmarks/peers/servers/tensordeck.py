"""Tensordeck: embedded, and one or two servers on one PostgreSQL, all on this machine."""

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import psycopg
from benchmarks.peers.client import Client
from benchmarks.peers.peer import Peer, Session, blocks
from benchmarks.peers.process_tree import ProcessTree, free_port

from tests.postgres_server import open_postgres

CLIENT_PATH = (
    "Google's generated client, 5,000 points a request, TLS; the server is named as `api_endpoint`"
)


class TensordeckSession(Session):
    """Servers that share a database and a folder of objects.

    Args:
        folder: Of this session.
        servers: How many.
        url: The database's; empty for embedded.
        postgres: Process id of the database's server; 0 for embedded.
    """

    def __init__(self, folder: Path, servers: int, url: str = "", postgres: int = 0) -> None:
        self._folder, self._url, self._postgres = folder, url, postgres
        self._ports = [free_port() for _ in range(servers)]
        self._trees: list[ProcessTree] = []
        self._data = [folder / f"data-{number}" for number in range(servers)]
        self.restart()
        exec_ = [sys.executable, "-m", "tensordeck", "exec"]
        exec_ += ["--data-dir", str(self._data[0]), "--port", str(self._ports[0]), "--"]
        bundle = self._bundle()
        self.client = Client(
            [*exec_, "env", f"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH={bundle}", sys.executable],
            "tensordeck_client.py",
            folder / "client.log",
            always={"urls": [f"http://127.0.0.1:{port}" for port in self._ports]},
        )

    @contextlib.contextmanager
    def reference(self, points: int) -> Iterator[str]:
        """Runs the server that only decodes and encodes; yields its address."""
        port, tls = free_port(), self._data[0] / "tls"
        module = "benchmarks.peers.reference_server"
        pair = [tls / "server-key.pem", tls / "server.pem"]
        server = subprocess.Popen(
            [sys.executable, "-m", module, str(port), *pair, str(points)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
        )
        try:
            assert server.stdout is not None
            server.stdout.readline()
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()
            server.wait()

    def _bundle(self) -> Path:
        """The authorities of all servers: each has its own."""
        path = self._folder / "authorities.pem"
        path.write_bytes(b"\n".join((d / "tls" / "ca.pem").read_bytes() for d in self._data))
        return path

    def restart(self) -> None:
        began = time.monotonic()
        for data, port in zip(self._data, self._ports, strict=True):
            command: list[str | Path] = [sys.executable, "-m", "tensordeck", "serve"]
            command += ["--data-dir", data, "--port", str(port)]
            if self._url:
                objects = self._folder / "objects"
                objects.mkdir(exist_ok=True)
                command += ["--database-url", self._url, "--object-store", f"file://{objects}"]
            self._trees.append(ProcessTree(command, self._folder))
        for tree, port in zip(self._trees, self._ports, strict=True):
            tree.wait_until(f"http://127.0.0.1:{port}/healthz")
        self.start_seconds = time.monotonic() - began

    def pids(self) -> list[int]:
        return [tree.pid for tree in self._trees]

    def database_pids(self) -> list[int]:
        return [self._postgres] if self._postgres else []

    def settle(self) -> None:
        """Waits until the journal is folded, over one connection: each costs PostgreSQL 10 ms."""
        with self._connected() as ask:
            while ask("SELECT count(*) FROM journal"):
                time.sleep(0.2)

    def bytes_on_disk(self) -> int:
        if self._url:
            with psycopg.connect(self._url, autocommit=True) as connection:
                connection.execute("VACUUM")  # as autovacuum does, only now
            size = self._ask("SELECT pg_database_size(current_database())")
            return size + blocks(*self._data, self._folder / "objects")
        # Pages that folding has freed are used again before the file grows; the log's pages count.
        pages = self._ask(
            "SELECT (page_count - freelist_count) * page_size"
            " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
        )
        return pages + blocks(self._data[0] / "blobs")

    def _ask(self, query: str) -> int:
        with self._connected() as ask:
            return ask(query)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Callable[[str], int]]:
        """Yields what answers a query with one number."""
        connection: sqlite3.Connection | psycopg.Connection[Any]
        if self._url:
            connection = psycopg.connect(self._url, autocommit=True)
        else:
            file = f"file:{self._data[0] / 'tensordeck.db'}?mode=ro"
            connection = sqlite3.connect(file, uri=True, timeout=30)
        with contextlib.closing(connection):
            yield lambda query: int(connection.execute(query).fetchone()[0])

    def kill(self) -> None:
        while self._trees:
            self._trees.pop().kill()

    def close(self) -> None:
        self.client.close()
        while self._trees:
            self._trees.pop().stop()


class Embedded(Peer):
    """One process, one SQLite file."""

    name, title = "tensordeck", "Tensordeck, embedded"
    durability = "synced to disk before every answer"
    client_path = CLIENT_PATH

    def versions(self) -> dict[str, str]:
        packages = ("tensordeck", "google-cloud-aiplatform", "grpcio")
        return {name: version(name) for name in packages} | {"sqlite": sqlite3.sqlite_version}

    def open(self, folder: Path) -> Session:
        return TensordeckSession(folder, 1)


class OnPostgresql(Peer):
    """A server on a PostgreSQL of the benchmark's own, with its default settings."""

    name, title = "tensordeck-postgresql", "Tensordeck, PostgreSQL, 1 server"
    durability = Embedded.durability
    client_path = CLIENT_PATH
    servers = 1

    def prepare(self) -> None:
        self._stack = contextlib.ExitStack()
        self._postgres = self._stack.enter_context(open_postgres(durable=True))

    def versions(self) -> dict[str, str]:
        return {"postgresql": self._ask("SHOW server_version"), "psycopg": version("psycopg")}

    def open(self, folder: Path) -> Session:
        return TensordeckSession(folder, self.servers, self._postgres.make_database(), self._pid())

    def _pid(self) -> int:
        """The database server's process, which a connection's is a child of while it is open."""
        with psycopg.connect(self._postgres.url("postgres")) as connection:
            return psutil.Process(connection.info.backend_pid).ppid()

    def _ask(self, query: str) -> Any:
        with psycopg.connect(self._postgres.url("postgres")) as connection:
            return connection.execute(query).fetchone()[0]

    def close(self) -> None:
        self._stack.close()


class TwoOnPostgresql(OnPostgresql):
    """Two servers on one PostgreSQL; half the clients on each."""

    name, title = "tensordeck-postgresql-2", "Tensordeck, PostgreSQL, 2 servers"
    servers = 2
