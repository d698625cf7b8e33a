"""Threads that commit pieces of work in PostgreSQL, in groups.

What is pending runs in one transaction, each piece in a savepoint of its own. A round trip costs
both sides more than most statements, so one of them begins the transaction, takes the locks and
looks up the runs. Callers are told after the commit only, and only what is known:

- A connection that breaks before the commit has changed nothing; the group is tried again.
- One that breaks while it commits leaves it open whether the group was written. All callers are
  told so, and nothing is tried again: what they send again is theirs to know.
- A commit that the database makes without waiting for its synchronous standby, because somebody
  cancelled the waiting, is no acknowledgement: a failover might lose it. PostgreSQL says so in a
  warning and nowhere else
  (https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION).
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, InvalidStateError
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import errors as pg
from sqlalchemy import Connection, Engine, event

from tensordeck import errors
from tensordeck.store.database import closing
from tensordeck.store.database_errors import refused
from tensordeck.store.locked_runs import forget_locked_runs, remember_locked_runs
from tensordeck.store.postgres_connections import is_lost
from tensordeck.telemetry.store_measures import CommitMeasures

__all__ = ["Piece", "Writer"]

GROUP_LIMIT: Final = 128
"""At most this many pieces of work share a commit, so that the first does not wait long."""
ATTEMPTS: Final = 3
"""How often a group is tried that the database gave up for the sake of another transaction."""

_BEGIN_CATALOG: Final = "BEGIN; SELECT pg_advisory_xact_lock(1414812756, 1)"  # "TDCT": ours alone
_BEGIN_POINTS: Final = (
    "BEGIN; SELECT pg_advisory_xact_lock(run_pk) FROM "
    "(SELECT unnest(ARRAY[{0}]::bigint[]) AS run_pk ORDER BY 1) AS locked; "
    # After the locks, in a snapshot of its own: what is there stays until the commit.
    "SELECT pk, revision FROM runs WHERE pk = ANY (ARRAY[{0}]::bigint[]) ORDER BY pk FOR KEY SHARE"
)
_WARNINGS: Final = "warnings"


class Piece(NamedTuple):
    """Work, the runs whose points it writes, and who waits for it."""

    work: Callable[[Connection], Any]
    runs: Collection[int]
    future: "Future[Any]"


_Outcome = tuple["Future[Any]", Any, BaseException | None]


class Writer:
    """Threads that commit work of one sort.

    Args:
        engine: Connections of the writers' own.
        name: `catalog`, whose work holds the catalog's lock, or `points`, with locks by run.
        threads: How many.
    """

    def __init__(self, engine: Engine, name: str, threads: int) -> None:
        self._engine = engine
        self._takes_catalog = name == "catalog"
        self._queue: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self.waiting = self._queue.qsize
        self.commits = CommitMeasures()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"store-{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, piece: Piece) -> None:
        """Takes a piece of work on."""
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
        self._refuse_pending(closing())  # put between the look at `_closed` and the end

    def _refuse_pending(self, error: errors.TensordeckError) -> None:
        """Refuses what is pending now."""
        ends = 0
        with contextlib.suppress(queue.Empty):
            for _ in range(self._queue.qsize()):
                if (piece := self._queue.get_nowait()) is None:
                    ends += 1
                else:
                    _tell(piece.future, None, error)
        for _ in range(ends):  # another thread's sign to end
            self._queue.put(None)

    def _run(self) -> None:
        take, take_now = self._queue.get, self._queue.get_nowait
        last = False
        while not last:
            group: list[Piece] = []
            with contextlib.suppress(queue.Empty):
                piece = take()
                while piece is not None:
                    group.append(piece)
                    if len(group) == GROUP_LIMIT:
                        break
                    piece = take_now()
                last = piece is None
            if group:
                for outcome in self._committed(group):
                    _tell(*outcome)

    def _committed(self, group: list[Piece]) -> list[_Outcome]:
        """Commits a group, if need be each piece by itself."""
        for attempt in range(1, ATTEMPTS + 1):
            began = time.perf_counter()
            try:
                outcomes = self._commit(group)
            except BaseException as error:  # noqa: BLE001 -- handed to the callers; the writer lives on
                if (_gave_way(error) or is_lost(error)) and attempt < ATTEMPTS:
                    continue
                if is_lost(error):
                    # Each of those that wait would wait for the same connection in vain.
                    self._refuse_pending(_ours(error))
                elif len(group) > 1 and not isinstance(error, _Uncertain):
                    # One of them may be what the commit failed for.
                    return [outcome for piece in group for outcome in self._committed([piece])]
                self.commits.failed()
                return [(piece.future, None, refused(error) or error) for piece in group]
            self.commits.committed(len(group), began)
            return outcomes
        raise AssertionError("the last attempt returns")

    def _commit(self, group: list[Piece]) -> list[_Outcome]:
        """Runs pieces in one transaction; outcomes are told after the commit only."""
        with self._engine.connect() as connection, connection.begin() as transaction:
            self._begin(connection, group)
            outcomes = self._work(connection, group)
            warnings: list[str] = connection.info[_WARNINGS]
            warnings.clear()
            try:
                transaction.commit()
            except Exception as error:
                if is_lost(error):
                    raise _Uncertain(str(error).strip().partition("\n")[0]) from error
                raise
            if warnings:
                raise _Uncertain(warnings[0])
        return outcomes

    def _work(self, connection: Connection, group: list[Piece]) -> list[_Outcome]:
        if len(group) == 1:
            return [(group[0].future, group[0].work(connection), None)]
        outcomes: list[_Outcome] = []
        for piece in group:
            try:
                with connection.begin_nested():
                    result = piece.work(connection)
            except BaseException as error:
                if _gave_way(error) or is_lost(error) or connection.invalidated:
                    raise
                outcomes.append((piece.future, None, refused(error) or error))
            else:
                outcomes.append((piece.future, result, None))
        return outcomes

    def _begin(self, connection: Connection, group: list[Piece]) -> None:
        """Begins the transaction and takes its locks, in one message."""
        driver: Any = connection.connection.driver_connection
        runs = ",".join(str(int(pk)) for pk in sorted({pk for piece in group for pk in piece.runs}))
        statements = _BEGIN_CATALOG if self._takes_catalog else _BEGIN_POINTS.format(runs)
        try:
            cursor = driver.execute(statements, prepare=False)
        except psycopg.Error as error:
            if is_lost(error):  # all the others broke with it: the next attempt finds none of them
                connection.invalidate(error)
                self._engine.dispose()
            raise
        if self._takes_catalog:
            forget_locked_runs(connection)
        else:
            while cursor.nextset():  # the last of the results is the runs
                pass
            remember_locked_runs(connection, dict(cursor.fetchall()))


class _Uncertain(errors.Unavailable):
    """Nobody knows whether, or how safely, a group was written."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The database did not say that this is written ({reason}); it may be. Try again."
        )


def listen_for_warnings(engine: Engine) -> None:
    """Keeps what the database warns of, in each connection's `info`."""

    def listen(connection: psycopg.Connection[Any], record: Any) -> None:
        warnings: list[str] = []
        record.info[_WARNINGS] = warnings

        def note(diagnostic: Any) -> None:
            if diagnostic.severity_nonlocalized == "WARNING":
                warnings.append(str(diagnostic.message_primary))

        connection.add_notice_handler(note)

    event.listen(engine, "connect", listen)


def _tell(future: "Future[Any]", result: Any, failure: BaseException | None) -> None:
    with contextlib.suppress(InvalidStateError):  # its caller gave up waiting
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)


def _ours(error: BaseException) -> errors.TensordeckError:
    return refused(error) or errors.Unavailable(str(error))


def _gave_way(error: BaseException) -> bool:
    """Whether the database ended a transaction for another one's sake; it may be tried again."""
    cause = getattr(error, "orig", error)
    return isinstance(cause, psycopg.Error) and isinstance(
        cause, pg.DeadlockDetected | pg.SerializationFailure
    )
