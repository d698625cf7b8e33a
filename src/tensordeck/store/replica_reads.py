"""Reads from a streaming replica, for whoever may see what was written a moment later.

The replica is asked first; while it is away, or has not got the tables of this version yet, the
primary answers, so that a replica is never needed.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from typing import Final, TypeVar

from sqlalchemy import Connection

from tensordeck import errors
from tensordeck.store.database import Database
from tensordeck.store.database_errors import translated
from tensordeck.store.migrations import head, revision
from tensordeck.store.postgres_connections import open_engine, shown

__all__ = ["ReplicaReads"]

log: Final = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_AGAIN_SECONDS: Final = 10.0
"""How long a replica that did not answer is left alone."""
BEHIND_SECONDS: Final = 1.0
"""How long one that lacks tables is, which a new schema mostly reaches within milliseconds."""


class ReplicaReads(Database):
    """Reads from a replica and writes to the primary. See `Database`.

    Args:
        primary: Where writes go, and reads while the replica is away; stays the caller's.
        url: The replica's, or several replicas' as libpq takes them.
        connections: The most to the replica at a time.
        statement_seconds: A statement that takes longer is ended.

    Raises:
        errors.InvalidArgument: If the URL can't be read.
    """

    def __init__(
        self, primary: Database, url: str, *, connections: int, statement_seconds: float
    ) -> None:
        self.where = shown(url)
        self.measures = primary.measures
        self._primary = primary
        self._engine = open_engine(
            url,
            name="replica reads",
            connections=connections,
            statement_seconds=statement_seconds,
            standby=True,
        )
        self._reader = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._away_until = 0.0
        self._has_tables = False

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """See `Database.read`."""
        connection = self._connect()
        if connection is None:
            with self._primary.read() as primary:
                yield primary
            return
        with translated(), connection, connection.begin():
            yield connection

    def _connect(self) -> Connection | None:
        if time.monotonic() < self._away_until:
            return None
        try:
            with translated():
                connection = self._reader.connect()
                if self._has_tables or self._catches_up(connection):
                    return connection
                self._away_until = time.monotonic() + BEHIND_SECONDS
                connection.close()
                return None
        except errors.TensordeckError as error:
            if time.monotonic() >= self._away_until:  # the first to notice says so
                log.warning("Reads go to the primary, for the replica is away: %s", error.message)
            self._away_until = time.monotonic() + LOOK_AGAIN_SECONDS
            return None

    def _catches_up(self, connection: Connection) -> bool:
        """Whether a replica that lacked tables has them now."""
        with connection.begin():
            self._has_tables = revision(connection) == head()
        return self._has_tables

    def submit(
        self, work: Callable[[Connection], T], runs: Collection[int] | None = None
    ) -> "Future[T]":
        """See `Database.submit`."""
        return self._primary.submit(work, runs)

    def give_back_space(self) -> None:
        """See `Database.give_back_space`."""
        self._primary.give_back_space()

    def close(self) -> None:
        """Closes the connections to the replica."""
        self._engine.dispose()
