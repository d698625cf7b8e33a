"""The relational database under catalog and points: transactions, group commit, read snapshots.

SQLite has one writer. `Database.write` hands work to one writer thread, which runs what is
pending in one transaction, each piece in a savepoint of its own, and commits once: a single fsync
serves many callers. A piece that raises is rolled back alone.
"""

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError

from tensordeck import errors

T = TypeVar("T")

GROUP_LIMIT: Final = 128
"""At most this many pieces of work share a commit, so that the first does not wait long."""


class Database:
    """A database that several threads read and write.

    Args:
        path: The SQLite file; made when it is missing. Its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine: Engine = create_engine(
            f"sqlite:///{path}",
            connect_args={"check_same_thread": False, "isolation_level": None, "timeout": 30},
            pool_size=16,
            max_overflow=48,
        )
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "begin", lambda c: c.exec_driver_sql("BEGIN"))
        self._queue: queue.SimpleQueue[tuple[Callable[[Connection], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._closed = False
        self._writer = threading.Thread(target=self._write_groups, name="store-writer", daemon=True)
        self._writer.start()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection inside one read transaction: all its queries see the same moment."""
        with _translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    def write(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in a write transaction; returns its result once that is durable.

        `work` must only use the connection it is given. It may be called again if the group it
        was in could not be committed.

        Raises:
            errors.ResourceExhausted: If the disk is full.
            errors.Unavailable: If the database is closed or can't be reached.
        """
        return self.submit(work).result()

    def submit(self, work: Callable[[Connection], T]) -> "Future[T]":
        """As `write`, without waiting."""
        if self._closed:
            raise errors.Unavailable("The store is shutting down; try again.")
        future: Future[T] = Future()
        self._queue.put((work, future))
        return future

    def close(self) -> None:
        """Finishes what is pending and closes every connection."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._writer.join()
            self.engine.dispose()

    def _write_groups(self) -> None:
        stop = False
        while not stop:
            first = self._queue.get()
            group = [] if first is None else [first]
            stop = first is None
            while group and len(group) < GROUP_LIMIT:
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    stop = True
                    break
                group.append(item)
            if group:
                self._write_group(group)

    def _write_group(self, group: list[tuple[Callable[[Connection], Any], Future[Any]]]) -> None:
        done: list[tuple[Future[Any], Any]] = []
        try:
            with _translated(), self.engine.connect() as connection:
                with connection.begin():
                    for work, future in group:
                        try:
                            with connection.begin_nested():
                                result = work(connection)
                        except OperationalError:
                            raise
                        except Exception as error:  # noqa: BLE001 -- handed to the caller
                            future.set_exception(_translate(error))
                        else:
                            done.append((future, result))
        except Exception as error:  # noqa: BLE001 -- handed to every caller of the group
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
        else:
            for future, result in done:
                future.set_result(result)


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in (
        "auto_vacuum = INCREMENTAL",  # before the first table: lets a deletion give space back
        "journal_mode = WAL",
        "synchronous = FULL",  # NORMAL may lose the last commits when the power goes
        "foreign_keys = ON",
        "busy_timeout = 30000",
        "cache_size = -32768",
        "temp_store = MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turns the driver's errors into ours."""
    try:
        yield
    except DatabaseError as error:
        raise _translate(error) from error


def _translate(error: Exception) -> Exception:
    if not isinstance(error, DatabaseError):
        return error
    text = str(error.orig)
    if "disk is full" in text or "disk I/O error" in text:
        return errors.ResourceExhausted(
            "The disk that holds the store is full; nothing of this request was written. "
            "Free some space and try again."
        )
    if "malformed" in text or "not a database" in text:
        return errors.Internal(
            f"The database is damaged ({text}). Stop the server and restore a backup."
        )
    if isinstance(error, OperationalError):
        return errors.Unavailable(f"The database did not answer ({text}); try again.")
    return error
