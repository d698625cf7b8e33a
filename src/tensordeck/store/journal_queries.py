"""The SQL of the journal and of the runs whose points it holds, as functions over a connection."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Connection, text

from tensordeck.store import postgres_rows
from tensordeck.store.keyed_queries import select, select_bytes, with_keys
from tensordeck.store.locked_runs import locked_runs
from tensordeck.store.postgres_rows import is_postgresql

_INSERT_JOURNAL_ROW: Final = "INSERT INTO journal (run_pk, payload) VALUES (?, ?)"
_INSERT_JOURNAL: Final = text(
    "INSERT INTO journal (run_pk, payload) VALUES (:run_pk, :payload) RETURNING seq"
)
_UPSERT_RUN: Final = text(
    "INSERT INTO run_points (run_pk, version) VALUES (:run_pk, :version) "
    "ON CONFLICT (run_pk) DO UPDATE SET version = excluded.version"
)


def _driver(connection: Connection) -> Any:
    """The driver's own connection, for the two statements of an append.

    SQLAlchemy's part of their cost is larger than the database's.
    """
    return connection.connection.driver_connection


def journal_rows(
    connection: Connection, run_pks: Iterable[int], through: int | None = None
) -> list[tuple[int, bytes]]:
    """Returns (seq, payload) of the runs' journal rows, in order."""
    limit = "" if through is None else f" AND seq <= {through:d}"
    statement = f"SELECT seq, payload FROM journal WHERE run_pk IN (%s){limit}"  # noqa: S608
    rows = select_bytes(connection, statement, run_pks)
    return sorted((seq, bytes(payload)) for seq, payload in rows)


def journal_sizes(connection: Connection, run_pk: int) -> list[tuple[int, int]]:
    """Returns (seq, bytes) of a run's journal rows, in order."""
    rows = connection.exec_driver_sql(
        f"SELECT seq, length(payload) FROM journal WHERE run_pk = {run_pk:d} ORDER BY seq"  # noqa: S608
    )
    return [(seq, size) for seq, size in rows]


class Pending(Struct, frozen=True):
    """What of a run is not folded yet.

    Attributes:
        run_pk: The run.
        oldest: The smallest `seq`.
        rows: The number of journal rows.
        size: Their bytes.
    """

    run_pk: int
    oldest: int
    rows: int
    size: int


def pending_runs(connection: Connection) -> list[Pending]:
    """Returns the runs that have journal rows."""
    rows = connection.exec_driver_sql(
        "SELECT run_pk, min(seq), count(*), sum(length(payload)) FROM journal GROUP BY run_pk"
    )
    return [Pending(run_pk, oldest, count, int(size)) for run_pk, oldest, count, size in rows]


def insert_journal(connection: Connection, run_pk: int, payload: bytes) -> int:
    """Appends a journal row; returns its `seq`."""
    values = {"run_pk": run_pk, "payload": payload}
    return int(connection.execute(_INSERT_JOURNAL, values).scalar_one())


def insert_journal_rows(connection: Connection, rows: Sequence[tuple[int, bytes]]) -> None:
    """Appends several journal rows: (run_pk, payload)."""
    if not is_postgresql(connection):
        _driver(connection).executemany(_INSERT_JOURNAL_ROW, rows)
    elif rows:
        postgres_rows.insert_journal(connection, rows)


def delete_journal(connection: Connection, run_pk: int, through: int) -> int:
    """Deletes a run's journal rows up to a `seq`; returns how many there were."""
    return connection.exec_driver_sql(
        f"DELETE FROM journal WHERE run_pk = {run_pk:d} AND seq <= {through:d}"  # noqa: S608
    ).rowcount


def existing_runs(connection: Connection, run_pks: Iterable[int]) -> dict[int, int]:
    """Returns the revisions of those runs that exist, and will until the transaction's end.

    In PostgreSQL the transaction must have been begun for these runs (`Database.write`).
    """
    if (locked := locked_runs(connection)) is not None:
        return {run_pk: locked[run_pk] for run_pk in run_pks if run_pk in locked}
    execute = _driver(connection).execute
    statement = "SELECT pk, revision FROM runs WHERE pk IN (%s)"
    if is_postgresql(connection):
        statement += " ORDER BY pk FOR KEY SHARE"
    found: dict[int, int] = {}
    for query, parameters in with_keys(connection, statement, run_pks):
        found.update(execute(query, *([parameters] if parameters else [])).fetchall())
    return found


def claim_run(connection: Connection, run_pk: int) -> bool:
    """Keeps other servers from preparing a run's folding until the transaction's end.

    Returns:
        False if another one is at it. In SQLite there are no others worth the asking.
    """
    if not is_postgresql(connection):
        return True
    return bool(
        connection.exec_driver_sql(
            # "TDFO": ours alone. Two runs with one number only wait for each other's next turn.
            f"SELECT pg_try_advisory_xact_lock(1413760591, {run_pk % 2**31:d})"
        ).scalar_one()
    )


def put_run_version(connection: Connection, run_pk: int, version: int) -> None:
    """Records the last folded `seq` of a run."""
    connection.execute(_UPSERT_RUN, {"run_pk": run_pk, "version": version})


def run_versions(connection: Connection, run_pks: Sequence[int]) -> dict[int, int]:
    """Returns the last `seq` that wrote each run."""
    result = dict.fromkeys(run_pks, 0)
    for statement in (
        "SELECT run_pk, version FROM run_points WHERE run_pk IN (%s)",
        "SELECT run_pk, max(seq) FROM journal WHERE run_pk IN (%s) GROUP BY run_pk",
    ):
        for run_pk, version in select(connection, statement, result):
            result[run_pk] = max(result[run_pk], version)
    return result
