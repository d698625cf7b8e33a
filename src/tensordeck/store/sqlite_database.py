"""The embedded database: SQLite, with one writer thread and group commit.

SQLite has one writer. `write` hands work to one writer thread, which runs what is pending in one
transaction, each piece in a savepoint of its own, and commits once: a single fsync serves many
callers. A piece that raises is rolled back alone, and when the common commit fails every piece is
tried again by itself.
"""

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, InvalidStateError
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy.exc
import tenacity
from sqlalchemy import URL, Connection, Engine, create_engine, event

from tensordeck import errors
from tensordeck.store import documents
from tensordeck.store.database import Database, closing
from tensordeck.store.database_errors import refused, translated
from tensordeck.store.pool_use import pool_use
from tensordeck.telemetry.store_measures import CommitMeasures, StoreMeasures

__all__ = ["SqliteDatabase"]

T = TypeVar("T")
Piece = tuple[Callable[[Connection], Any], "Future[Any]"]
Outcome = tuple["Future[Any]", Any, BaseException | None]

GROUP_LIMIT: Final = 128
"""At most this many pieces of work share a commit, so that the first does not wait long."""
BUSY_MS: Final = 30_000
"""How long a statement waits for another process's lock."""
RETRY_SECONDS: Final = 0.5
"""When to try again to give space back that a reader or a full disk holds up."""
VACUUM_PAGES: Final = 1024
"""Free pages that one step gives back: 4 MiB, some milliseconds in which no write starts."""


class SqliteDatabase(Database):
    """An SQLite file. See `Database`.

    Args:
        path: The file; made when it is missing. Its folder must exist.

    Raises:
        errors.TensordeckError: If the file can't be opened or is no database.
    """

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self.engine: Engine = create_engine(
            URL.create("sqlite", database=str(path)),
            connect_args={
                "check_same_thread": False,
                "isolation_level": None,  # transactions are begun and ended by us alone
                "timeout": 30,
                # Some 5 KB each, on every connection. About a hundred texts come again and again.
                "cached_statements": 128,
            },
            json_serializer=documents.dumps,
            json_deserializer=documents.loads,
            pool_size=8,
            max_overflow=56,
            pool_use_lifo=True,  # few connections, and so few page caches, stay in use
        )
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "begin", _begin)
        self._queue: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._commits = CommitMeasures()
        self.measures = StoreMeasures(
            commits={"all": self._commits},
            waiting=lambda: {"all": self._queue.qsize()},
            pools=lambda: {"all": pool_use(self.engine)},
        )
        self._closed = False
        self._finished = False
        self._reclaim = threading.Event()
        self._next_step = 0.0
        try:
            with translated():
                self._connection = self.engine.connect().execution_options(begin="")
                self._connection.begin()  # for SQLAlchemy only: `_commit_group` runs the real ones
                driver = self._connection.connection.driver_connection
        except BaseException:
            self.engine.dispose()
            raise
        if not isinstance(driver, sqlite3.Connection):
            raise TypeError("Only SQLite is spoken here.")
        self._driver = driver
        self._driver.execute("PRAGMA cache_size = -65536")
        self._writer = threading.Thread(target=self._write_groups, name="store-writer", daemon=True)
        self._writer.start()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """See `Database.read`."""
        began = time.perf_counter()
        with translated(), self._connect() as connection:
            self.measures.connection_wait.observe(time.perf_counter() - began)
            with connection.begin():
                yield connection

    def _connect(self) -> Connection:
        with translated():
            try:
                return self.engine.connect()
            except sqlalchemy.exc.OperationalError as error:
                if not isinstance(refused(error), errors.ResourceExhausted):
                    raise
        return self._connect_to_full()

    @tenacity.retry(
        # While a write fails for want of space, a new connection can't be made.
        retry=tenacity.retry_if_exception_type(errors.ResourceExhausted),
        wait=tenacity.wait_fixed(0.05),
        stop=tenacity.stop_after_delay(BUSY_MS / 1000),
        reraise=True,
    )
    def _connect_to_full(self) -> Connection:
        """As `_connect`, patiently, which by itself costs more than most reads."""
        with translated():
            return self.engine.connect()

    def submit(
        self,
        work: Callable[[Connection], T],
        runs: Collection[int] | None = None,  # noqa: ARG002 -- one writer needs no locks
    ) -> "Future[T]":
        """See `Database.submit`."""
        if threading.current_thread() is self._writer:
            raise RuntimeError("A write was asked for inside a write, which would never end.")
        future: Future[T] = Future()
        if self._closed:
            future.set_exception(closing())
            return future
        self._queue.put((work, future))
        if self._finished:  # closed in between: nobody else empties the queue now
            self._refuse_pending()
        return future

    def give_back_space(self) -> None:
        """See `Database.give_back_space`."""
        if not self._closed and not self._reclaim.is_set():
            self._reclaim.set()
            self._queue.put((_nothing, Future()))  # wakes an idle writer

    def close(self) -> None:
        """See `Database.close`."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._writer.join()
            self._finished = True
            self._refuse_pending()
            self._connection.close()
            self.engine.dispose()

    def _refuse_pending(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                if (piece := self._queue.get_nowait()) is not None:
                    piece[1].set_exception(closing())

    def _write_groups(self) -> None:
        """The writer thread's life: take what is pending, commit it, again."""
        take, take_now = self._queue.get, self._queue.get_nowait
        while True:
            try:
                piece = take(timeout=self._give_back() if self._reclaim.is_set() else None)
            except queue.Empty:  # nothing came while space was given back
                continue
            group: list[Piece] = []
            while piece is not None:
                group.append(piece)
                if len(group) == GROUP_LIMIT:
                    break
                try:
                    piece = take_now()
                except queue.Empty:
                    break
            if group:
                self._write_group(group)
            if piece is None:
                return

    def _write_group(self, group: list[Piece]) -> None:
        began = time.perf_counter()
        try:
            outcomes = self._commit_group(group)
            self._commits.committed(len(group), began)
        except BaseException as error:  # noqa: BLE001 -- handed to the callers; the writer lives on
            if len(group) > 1:  # one of them may be too big for the disk: the rest need not fail
                for piece in group:
                    self._write_group([piece])
                return
            self._commits.failed()
            outcomes = [(group[0][1], None, refused(error) or error)]
            if isinstance(outcomes[0][2], errors.ResourceExhausted):
                with contextlib.suppress(sqlite3.Error):
                    self._shrink_log()  # the log's own space may be what the next write needs
        for future, result, failure in outcomes:
            with contextlib.suppress(InvalidStateError):  # its caller gave up waiting
                if failure is None:
                    future.set_result(result)
                else:
                    future.set_exception(failure)

    def _commit_group(self, group: list[Piece]) -> list[Outcome]:
        """Runs pieces in one transaction.

        Outcomes are told after the commit only: a piece may have failed because of what another
        one wrote, which counts only if it stays.
        """
        execute, connection = self._driver.execute, self._connection
        outcomes: list[Outcome] = []
        alone = len(group) == 1
        self._roll_back()  # nothing, unless the last group's own roll-back failed
        execute("BEGIN IMMEDIATE")
        try:
            for work, future in group:
                if not alone:
                    execute("SAVEPOINT piece")
                try:
                    outcomes.append((future, work(connection), None))
                except BaseException as error:
                    if alone or not self._driver.in_transaction:
                        raise
                    execute("ROLLBACK TO piece")
                    outcomes.append((future, None, refused(error) or error))
                if not alone:
                    execute("RELEASE piece")
            execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        return outcomes

    def _roll_back(self) -> None:
        if self._driver.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._driver.execute("ROLLBACK")

    def _give_back(self) -> float | None:
        """One step of giving free pages back.

        Returns:
            Seconds to wait for work before the next step; None when all is done.
        """
        now = time.monotonic()
        if now < self._next_step:
            return self._next_step - now
        with contextlib.suppress(sqlite3.Error):  # a full disk: the next step may find room
            if self._driver.execute("PRAGMA freelist_count").fetchone()[0]:
                # Not `execute`, which steps once and so frees one page.
                self._driver.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
                return 0
            if self._shrink_log():
                self._reclaim.clear()
                return None
        self._next_step = now + RETRY_SECONDS
        return RETRY_SECONDS

    def _shrink_log(self) -> bool:
        """Moves the write-ahead log into the database and cuts it; False if a reader needs it."""
        execute = self._driver.execute
        execute("PRAGMA busy_timeout = 0")
        try:
            busy: int = execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        return not busy


def _nothing(_connection: Connection) -> None:
    """The work that only wakes the writer."""


def _begin(connection: Connection) -> None:
    statement = connection.get_execution_options().get("begin", "BEGIN")
    if statement:
        # By the driver itself: SQLAlchemy takes longer over this word than SQLite over a query.
        connection.connection.driver_connection.execute(statement)  # type: ignore[union-attr]  # open


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    if not cursor.execute("PRAGMA page_count").fetchone()[0]:
        # Lets a deletion give space back. Only a new file can be told; and it is a write, so that
        # every new reader of an old one would stand in line with the writers of all processes.
        cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # NORMAL may lose the last commits when the power goes
        "foreign_keys = ON",
        "cache_size = -4096",
        "temp_store = MEMORY",
        "journal_size_limit = 16777216",  # a log that a long read made grow is cut again
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
