"""The schema's history: one file a step in `versions/`, run by Alembic when a store is opened.

A step that was released is never edited. Its file starts with its number, `0001_catalog.py`, and
the largest number is what this version of Tensordeck needs.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from tensordeck import errors
from tensordeck.store import points_schema
from tensordeck.store.database import Database

__all__ = ["UNFINISHED", "bring_up_to_date", "create", "head", "migrate", "revision"]

FOLDER = Path(__file__).parent
VERSION_TABLE = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
"""As Alembic makes it: https://alembic.sqlalchemy.org/en/latest/api/ddl.html."""
UNFINISHED: Final = "unfinished_copy"
"""A table of this name is in a database that `tensordeck.moving` is not done with."""


def head() -> str:
    """The number of the newest step that this version knows, e.g. `0002`."""
    return max(path.name[:4] for path in (FOLDER / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))


def bring_up_to_date(database: Database) -> None:
    """Makes the tables of a new database; runs the steps that an old one lacks, mostly none.

    Raises:
        errors.FailedPrecondition: If a newer version wrote it, it is no Tensordeck database, or a
            copy into it was cut off.
    """
    newest = head()
    with database.read() as connection:
        stored = revision(connection)
    if stored == newest:
        return
    if stored > newest:
        raise errors.FailedPrecondition(
            f"{database.where} was written by a newer version of Tensordeck (schema {stored}; this "
            f"version knows {newest}). Install that version again, or restore an older backup."
        )

    def work(connection: Connection) -> None:
        found = revision(connection)  # another server may have been faster
        if not found:
            create(connection)
        elif found < newest:
            migrate(connection)

    database.write(work)


def create(connection: Connection) -> None:
    """Makes the newest schema in an empty database, inside the caller's transaction.

    What the steps together would make, in a tenth of the time: Alembic costs more to import than
    all else that a first start does.
    """
    points_schema.journal.metadata.create_all(connection, checkfirst=False)
    connection.execute(text(VERSION_TABLE))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": head()})


def migrate(connection: Connection, target: str = "head") -> None:
    """Runs the missing steps inside the caller's transaction.

    Args:
        connection: In a write transaction.
        target: The step to stop at.
    """
    # Alembic costs more to import than an up-to-date store costs to open.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, target)


def revision(connection: Connection) -> str:
    """The step that a database is at; empty for a new one.

    Raises:
        errors.FailedPrecondition: As `bring_up_to_date`, but for a newer version.
    """
    tables = inspect(connection).get_table_names()
    if UNFINISHED in tables:
        raise errors.FailedPrecondition(
            f"{connection.engine.url.database} holds a part of a store: a migration or a restore "
            "into it was cut off. Run that command again; it goes on where it stopped."
        )
    if "alembic_version" in tables:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())
    if tables:
        raise errors.FailedPrecondition(
            f"{connection.engine.url.database} is a database, but not one of Tensordeck's. "
            "Name another data directory."
        )
    return ""
