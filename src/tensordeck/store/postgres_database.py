"""A PostgreSQL database under many servers: locks instead of one writer, and group commit.

What SQLite gives for nothing, one writer at a time, is made with two sorts of advisory locks
(https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS), held until the
commit. Whoever changes the catalog holds its one lock; whoever writes points holds one for each
run, in the order of their keys. So keys and journal numbers are seen in the order in which they
were given out, and what was looked up before a change still holds when it is made, on any number
of servers. Points of different runs never wait for each other.

Each server commits for many callers at once (`store.postgres_writer`). Reads and writes have
connections of their own, so that no number of readers keeps a write waiting.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from typing import Final, TypeVar

from sqlalchemy import Connection, text

from tensordeck import errors
from tensordeck.store.database import Database
from tensordeck.store.database_errors import translated
from tensordeck.store.pool_use import pool_use
from tensordeck.store.postgres_connections import open_engine, shown
from tensordeck.store.postgres_writer import Piece, Writer, listen_for_warnings
from tensordeck.telemetry.store_measures import StoreMeasures

__all__ = ["PostgresDatabase"]

T = TypeVar("T")

POINT_WRITERS: Final = 2
"""Threads that commit points: while one waits for the disk, the other sends."""
WRITE_CONNECTIONS: Final = 1 + POINT_WRITERS


class PostgresDatabase(Database):
    """A PostgreSQL database, version 15 or later. See `Database`.

    Args:
        url: `postgresql://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?OPTION=...`, as libpq's.
        connections: The most that this server holds at a time; `WRITE_CONNECTIONS` of them write.
        statement_seconds: A reading statement that takes longer is ended. Writes are not: they
            are short, or folding, deleting or migrating, where ending them late helps nobody.

    Raises:
        errors.InvalidArgument: If the URL can't be read.
        errors.Unavailable: If the database can't be reached.
    """

    # Each side is woken several times for a commit, which costs more than most statements.
    gather_seconds = 0.002

    def __init__(self, url: str, *, connections: int = 32, statement_seconds: float = 60.0) -> None:
        self.where = shown(url)
        self._engine = open_engine(
            url, name="writes", connections=WRITE_CONNECTIONS, ask_first=False, begins=False
        )
        listen_for_warnings(self._engine)
        self._read_engine = open_engine(
            url,
            name="reads",
            connections=connections - WRITE_CONNECTIONS,
            statement_seconds=statement_seconds,
        )
        self._reader = self._read_engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._closed = False
        with translated(), self._engine.connect() as connection:
            version = connection.execute(text("SHOW server_version_num")).scalar_one()
        if int(version) < 150_000:
            self._engine.dispose()
            raise errors.FailedPrecondition(
                f"{self.where} is PostgreSQL {int(version) // 10_000}; 15 or later is needed."
            )
        self._catalog = Writer(self._engine, "catalog", 1)
        self._points = Writer(self._engine, "points", POINT_WRITERS)
        self.measures = StoreMeasures(
            commits={"catalog": self._catalog.commits, "points": self._points.commits},
            waiting=lambda: {"catalog": self._catalog.waiting(), "points": self._points.waiting()},
            pools=lambda: {
                "reads": pool_use(self._read_engine),
                "writes": pool_use(self._engine),
            },
        )

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """See `Database.read`."""
        began = time.perf_counter()
        with translated(), self._reader.connect() as connection:
            self.measures.connection_wait.observe(time.perf_counter() - began)
            with connection.begin():
                yield connection

    def submit(
        self, work: Callable[[Connection], T], runs: Collection[int] | None = None
    ) -> "Future[T]":
        """See `Database.submit`."""
        future: Future[T] = Future()
        writer = self._catalog if runs is None else self._points
        writer.put(Piece(work, runs or (), future))
        return future

    def give_back_space(self) -> None:
        """Nothing to do: PostgreSQL's own autovacuum does it."""

    def close(self) -> None:
        """See `Database.close`."""
        if not self._closed:
            self._closed = True
            self._catalog.close()
            self._points.close()
            self._engine.dispose()
            self._read_engine.dispose()
