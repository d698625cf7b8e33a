"""A source that is being moved, or was moved, takes no writes: triggers of its database say no.

So every server on it refuses, also one that is started later, without anybody telling it; what was
acknowledged before is in the tables by then. Reads go on.
"""

from typing import Final, LiteralString

from sqlalchemy import Connection, text

from tensordeck.moving.tables import TABLES
from tensordeck.store.database import Database
from tensordeck.store.database_errors import WRITE_STOPPED

__all__ = ["is_stopped", "release_writes", "stop_writes"]

_PREFIX: Final = "tensordeck_moved"
_EVENTS: Final[tuple[LiteralString, ...]] = ("insert", "update", "delete")


def stop_writes(database: Database, reason: str) -> None:
    """Lets every write fail from now on; a stop that is there already gets the new reason.

    Returns once no write is under way any more.

    Args:
        database: The source.
        reason: A sentence that callers get, as `Unavailable`.
    """

    def work(connection: Connection) -> None:
        _release(connection)
        quoted = "'" + reason.replace("'", "''") + "'"
        if connection.dialect.name == "sqlite":
            for table in TABLES:
                for event in _EVENTS:
                    connection.execute(
                        text(
                            f"CREATE TRIGGER {_PREFIX}_{table.name}_{event} BEFORE {event} "
                            f"ON {table.name} BEGIN SELECT RAISE(ABORT, {_literal(quoted)}); END"
                        )
                    )
            return
        names = ", ".join(table.name for table in TABLES)
        # All at once, so that we hold none while we wait for another.
        connection.execute(text(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"))
        connection.execute(
            text(
                f"CREATE FUNCTION {_PREFIX}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"RAISE EXCEPTION USING MESSAGE = {_literal(quoted)}, "
                f"ERRCODE = '{WRITE_STOPPED}'; END $$"
            )
        )
        for table in TABLES:
            connection.execute(
                text(
                    f"CREATE TRIGGER {_PREFIX} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE "
                    f"ON {table.name} FOR EACH STATEMENT EXECUTE FUNCTION {_PREFIX}()"
                )
            )

    database.write(work)


def release_writes(database: Database) -> bool:
    """Lets writes through again; returns whether they were stopped."""
    return database.write(_release)


def is_stopped(connection: Connection) -> bool:
    """Whether writes are stopped."""
    if connection.dialect.name == "sqlite":
        triggers = connection.scalars(text("SELECT name FROM sqlite_schema WHERE type = 'trigger'"))
        return any(name.startswith(_PREFIX) for name in triggers)
    found = connection.execute(
        text(
            "SELECT 1 FROM pg_proc WHERE proname = :name "
            "AND pronamespace = CAST(current_schema() AS regnamespace)"
        ),
        {"name": _PREFIX},
    )
    return found.first() is not None


def _release(connection: Connection) -> bool:
    stopped = is_stopped(connection)
    if not stopped:
        return False
    if connection.dialect.name == "sqlite":
        for table in TABLES:
            for event in _EVENTS:
                connection.execute(text(f"DROP TRIGGER IF EXISTS {_PREFIX}_{table.name}_{event}"))
    else:
        connection.execute(text(f"DROP FUNCTION {_PREFIX}() CASCADE"))
    return True


def _literal(quoted: str) -> str:
    """A quoted text inside SQLAlchemy's `text`, to which a colon is the start of a parameter."""
    return quoted.replace(":", r"\:")
