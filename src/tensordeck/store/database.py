"""The relational database under catalog and points: transactions, read snapshots, group commit.

`open_database` opens the one that the settings name; `store.sqlite_database` and
`store.postgres_database` say what each makes of it.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from concurrent.futures import Future
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection

from tensordeck import errors
from tensordeck.settings import Settings
from tensordeck.telemetry.store_measures import StoreMeasures
from tensordeck.telemetry.tracing import with_commit_span

__all__ = ["Database", "closing", "open_database", "open_unchanged"]

T = TypeVar("T")

POSTGRESQL: Final = ("postgresql://", "postgres://", "postgresql+psycopg://")


class Database(ABC):
    """A database that several threads, and several servers, read and write.

    Attributes:
        where: What it is called in messages: a path, or a URL without password.
        measures: What it and what lies on it count.
        gather_seconds: For how long it pays to wait for another write that could share a commit,
            where several callers write at once.
    """

    where: str
    gather_seconds: float = 0.0005
    measures: StoreMeasures

    @abstractmethod
    def read(self) -> contextlib.AbstractContextManager[Connection]:
        """A connection inside one read transaction: all its queries see the same moment.

        Raises:
            errors.Unavailable: If no connection became free in time, or the database is away.
        """

    def write(self, work: Callable[[Connection], T], runs: Collection[int] | None = None) -> T:
        """Runs `work` in a write transaction; returns its result once that is durable.

        `work` must only use the connection it is given, not this database. Its
        `connection.connection.driver_connection` is the driver's own, for hot paths. It may be
        called again if the group it was in could not be committed.

        Args:
            work: What to do.
            runs: The keys of the runs whose points it writes, if it writes nothing else. None, for
                any other work, lets no such work of another server run at the same time.

        Raises:
            errors.ResourceExhausted: If the disk is full.
            errors.Unavailable: If the database is closed or can't be reached.
        """
        return with_commit_span(lambda watched: self.submit(watched, runs).result(), work)

    @abstractmethod
    def submit(
        self, work: Callable[[Connection], T], runs: Collection[int] | None = None
    ) -> "Future[T]":
        """As `write`, without waiting."""

    @abstractmethod
    def give_back_space(self) -> None:
        """Asks for the space that deletions freed to be given back, soon and in small steps.

        Returns at once; writes go on in between.
        """

    @abstractmethod
    def close(self) -> None:
        """Finishes what is pending and closes every connection."""


def open_database(settings: Settings) -> Database:
    """Opens the settings' database, which is made or brought up to date as needed.

    Raises:
        errors.FailedPrecondition: If it is damaged, can't be opened, was written by a newer
            version, or is another program's.
        errors.InvalidArgument: If the URL names a database that is not spoken.
    """
    from tensordeck.store.migrations import bring_up_to_date  # noqa: PLC0415 -- it imports us

    try:
        database = _opened(settings)
        try:
            bring_up_to_date(database)
            database.give_back_space()  # what a deletion freed shortly before the last stop
        except BaseException:
            database.close()
            raise
    except OSError as error:
        raise errors.FailedPrecondition(
            f"{error.filename} can't be used for data: {error.strerror}."
        ) from error
    except (errors.DataLoss, errors.Internal, errors.Unavailable) as error:
        where = _shown(settings)
        raise errors.FailedPrecondition(f"{where} can't be opened: {error}") from error
    return database


def open_unchanged(settings: Settings) -> Database:
    """Opens the settings' database as it is: no table is made or brought up to date.

    An SQLite file is made when it is missing.

    Raises:
        errors.FailedPrecondition: If it can't be opened.
        errors.InvalidArgument: If the URL names a database that is not spoken.
    """
    try:
        return _opened(settings)
    except OSError as error:
        raise errors.FailedPrecondition(
            f"{error.filename} can't be used for data: {error.strerror}."
        ) from error
    except (errors.DataLoss, errors.Internal, errors.Unavailable) as error:
        raise errors.FailedPrecondition(f"{_shown(settings)} can't be opened: {error}") from error


def closing() -> errors.Unavailable:
    """What work is told that comes while a database is closed."""
    return errors.Unavailable("The store is shutting down; try again.")


def _opened(settings: Settings) -> Database:
    url = settings.database_url
    if url.startswith(POSTGRESQL):
        try:
            from tensordeck.store.postgres_database import PostgresDatabase  # noqa: PLC0415 -- extra
        except ModuleNotFoundError as error:
            raise errors.FailedPrecondition(
                "database-url: PostgreSQL needs one more package; install it with "
                "pip install 'tensordeck[postgresql]'."
            ) from error
        return PostgresDatabase(
            url,
            connections=settings.database_connections,
            statement_seconds=settings.statement_seconds,
        )
    if url and not url.startswith("sqlite:///"):
        scheme = url.partition(":")[0]
        raise errors.InvalidArgument(
            f"database-url: {scheme} is not supported; use postgresql://USER@HOST/DATABASE, or "
            "leave it out to keep the data in an SQLite file in the data directory."
        )
    from tensordeck.store.sqlite_database import SqliteDatabase  # noqa: PLC0415 -- it imports us

    path = _sqlite_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    return SqliteDatabase(path)


def _sqlite_path(settings: Settings) -> Path:
    if settings.database_url:
        return Path(settings.database_url.removeprefix("sqlite:///"))
    return settings.data_dir / "tensordeck.db"


def _shown(settings: Settings) -> str:
    if settings.database_url.startswith(POSTGRESQL):
        from tensordeck.store.postgres_connections import shown  # noqa: PLC0415 -- extra

        return shown(settings.database_url)
    return str(_sqlite_path(settings))
