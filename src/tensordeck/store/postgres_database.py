"""A PostgreSQL database under many servers: locks instead of one writer, and group commit.

What SQLite gives for nothing, one writer at a time, is made with two sorts of advisory locks
(https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS), held until the
commit. Whoever changes the catalog holds its one lock; whoever writes points holds one for each
run, in the order of their keys. So keys and journal numbers are seen in the order in which they
were given out, and what was looked up before a change still holds when it is made, on any number
of servers. Points of different runs never wait for each other.

Each server commits for many callers at once: what is pending runs in one transaction, each piece
in a savepoint of its own.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, InvalidStateError
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg import errors as pg
from sqlalchemy import Connection, Engine, create_engine, make_url, text

from tensordeck import errors
from tensordeck.store import documents
from tensordeck.store.database import Database, closing
from tensordeck.store.database_errors import refused, translated
from tensordeck.store.pool_use import pool_use
from tensordeck.telemetry.store_measures import CommitMeasures, StoreMeasures

__all__ = ["PostgresDatabase"]

T = TypeVar("T")

GROUP_LIMIT: Final = 128
"""At most this many pieces of work share a commit, so that the first does not wait long."""
POINT_WRITERS: Final = 2
"""Threads that commit points: while one waits for the disk, the other sends."""
STATEMENT_MS: Final = 120_000
"""A statement that takes longer is ended: something is wrong with it or with the database."""
IDLE_MS: Final = 60_000
"""A transaction that lies idle for longer is ended: it would hold up every other server."""
CONNECT_SECONDS: Final = 10
ATTEMPTS: Final = 3
"""How often a group is tried that the database gave up for the sake of another transaction."""

_CATALOG_LOCK: Final = text("SELECT pg_advisory_xact_lock(1414812756, 1)")  # "TDCT": ours alone
_RUN_LOCKS: Final = text(
    "SELECT pg_advisory_xact_lock(run_pk) FROM "
    "(SELECT unnest(CAST(:runs AS bigint[])) AS run_pk ORDER BY 1) AS locked"
)


class _Piece(NamedTuple):
    work: Callable[[Connection], Any]
    runs: Collection[int]
    future: "Future[Any]"


_Outcome = tuple["Future[Any]", Any, BaseException | None]


class PostgresDatabase(Database):
    """A PostgreSQL database, version 15 or later. See `Database`.

    Args:
        url: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=...`; options as libpq's, such as
            `sslmode` and `target_session_attrs`, and several hosts to fail over to.

    Raises:
        errors.Unavailable: If it can't be reached.
    """

    def __init__(self, url: str) -> None:
        address = make_url(url).set(drivername="postgresql+psycopg")
        self.where = address.render_as_string(hide_password=True)
        self._engine: Engine = create_engine(
            address,
            json_serializer=documents.dumps,
            json_deserializer=documents.loads,
            pool_size=8,
            max_overflow=24,
            pool_pre_ping=True,  # a database that failed over has closed all connections
            pool_use_lifo=True,
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "application_name": "tensordeck",
                "options": f"-c statement_timeout={STATEMENT_MS} "
                f"-c idle_in_transaction_session_timeout={IDLE_MS}",
            },
        )
        self._reader = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._closed = False
        try:
            with translated(), self._engine.connect() as connection:
                version = connection.execute(text("SHOW server_version_num")).scalar_one()
        except BaseException:
            self._engine.dispose()
            raise
        if int(version) < 150_000:
            self._engine.dispose()
            raise errors.FailedPrecondition(
                f"{self.where} is PostgreSQL {int(version) // 10_000}; 15 or later is needed."
            )
        self._catalog = _Writer(self._engine, "catalog", 1)
        self._points = _Writer(self._engine, "points", POINT_WRITERS)
        self.measures = StoreMeasures(
            commits={"catalog": self._catalog.commits, "points": self._points.commits},
            waiting=lambda: {"catalog": self._catalog.waiting(), "points": self._points.waiting()},
            pools=lambda: {"all": pool_use(self._engine)},
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
        writer.put(_Piece(work, runs or (), future))
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


class _Writer:
    """Threads that commit pieces of work of one sort, in groups."""

    def __init__(self, engine: Engine, name: str, threads: int) -> None:
        self._engine = engine
        self._takes_catalog = name == "catalog"
        self._queue: queue.SimpleQueue[_Piece | None] = queue.SimpleQueue()
        self.waiting = self._queue.qsize
        self.commits = CommitMeasures()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"store-{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, piece: _Piece) -> None:
        if threading.current_thread() in self._threads:
            raise RuntimeError("A write was asked for inside a write, which would never end.")
        if self._closed:
            piece.future.set_exception(closing())
            return
        self._queue.put(piece)

    def close(self) -> None:
        """Commits what is pending and ends the threads."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        with contextlib.suppress(queue.Empty):  # put between the look at `_closed` and the end
            while True:
                if (piece := self._queue.get_nowait()) is not None:
                    piece.future.set_exception(closing())

    def _run(self) -> None:
        take, take_now = self._queue.get, self._queue.get_nowait
        last = False
        while not last:
            group: list[_Piece] = []
            with contextlib.suppress(queue.Empty):
                piece = take()
                while piece is not None:
                    group.append(piece)
                    if len(group) == GROUP_LIMIT:
                        break
                    piece = take_now()
                last = piece is None
            if group:
                self._write(group)

    def _write(self, group: list[_Piece]) -> None:
        for outcome in self._committed(group):
            future, result, failure = outcome
            with contextlib.suppress(InvalidStateError):  # its caller gave up waiting
                if failure is None:
                    future.set_result(result)
                else:
                    future.set_exception(failure)

    def _committed(self, group: list[_Piece]) -> list[_Outcome]:
        """Commits a group, if need be each piece by itself."""
        for attempt in range(1, ATTEMPTS + 1):
            began = time.perf_counter()
            try:
                outcomes = self._commit(group)
            except BaseException as error:  # noqa: BLE001 -- handed to the callers; the writer lives on
                if _gave_way(error) and attempt < ATTEMPTS:
                    continue
                if len(group) > 1:  # one of them may be what the commit failed for
                    return [outcome for piece in group for outcome in self._committed([piece])]
                self.commits.failed()
                return [(group[0].future, None, refused(error) or error)]
            self.commits.committed(len(group), began)
            return outcomes
        raise AssertionError("the last attempt returns")

    def _commit(self, group: list[_Piece]) -> list[_Outcome]:
        """Runs pieces in one transaction; outcomes are told after the commit only."""
        outcomes: list[_Outcome] = []
        with self._engine.connect() as connection, connection.begin():
            self._lock(connection, group)
            if len(group) == 1:
                return [(group[0].future, group[0].work(connection), None)]
            for piece in group:
                try:
                    with connection.begin_nested():
                        result = piece.work(connection)
                except BaseException as error:
                    if _gave_way(error) or connection.invalidated:
                        raise
                    outcomes.append((piece.future, None, refused(error) or error))
                else:
                    outcomes.append((piece.future, result, None))
        return outcomes

    def _lock(self, connection: Connection, group: list[_Piece]) -> None:
        if self._takes_catalog:
            connection.execute(_CATALOG_LOCK)
        else:
            runs = sorted({run_pk for piece in group for run_pk in piece.runs})
            connection.execute(_RUN_LOCKS, {"runs": runs})


def _gave_way(error: BaseException) -> bool:
    """Whether the database ended a transaction for another one's sake; it may be tried again."""
    cause = getattr(error, "orig", error)
    return isinstance(cause, psycopg.Error) and isinstance(
        cause, pg.DeadlockDetected | pg.SerializationFailure
    )
