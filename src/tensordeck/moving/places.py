"""The two ends of a move: a store that is there, and an empty place that becomes one."""

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from tensordeck import errors
from tensordeck.moving.copying import row_counts
from tensordeck.settings import Settings
from tensordeck.store.blobs import open_blobs
from tensordeck.store.contract import Blobs
from tensordeck.store.database import Database, open_unchanged
from tensordeck.store.migrations import UNFINISHED, bring_up_to_date, head, revision

__all__ = ["Place", "Target", "blobs_of", "open_source", "open_target"]

_SQLITE: Final = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Place:
    """An open store, without what serves it.

    Attributes:
        settings: What led there.
        database: Its rows.
        blobs: Its blobs.
    """

    settings: Settings
    database: Database
    blobs: Blobs

    @property
    def name(self) -> str:
        """What it is called in messages; holds no password."""
        return self.database.where


@dataclass(frozen=True, slots=True)
class Target:
    """A place that is being filled. No server starts on it until `finish`.

    Attributes:
        place: The place.
        resumed: Whether an earlier run has left a part there.
    """

    place: Place
    resumed: bool

    def finish(self) -> None:
        """Says that all is there."""
        self.place.database.write(
            lambda connection: connection.execute(text(f"DROP TABLE {UNFINISHED}"))
        )


def blobs_of(settings: Settings) -> str:
    """Where the blobs of a store lie, as a text that is the same for the same place."""
    store = settings.object_store
    if not store:
        return str((settings.data_dir / "blobs").resolve())
    if store.startswith("file://"):
        return str(Path(store.removeprefix("file://")).resolve())
    return store.rstrip("/")


@contextlib.contextmanager
def open_source(settings: Settings) -> Iterator[Place]:
    """Opens a store that is there. A server may use it meanwhile.

    Raises:
        errors.FailedPrecondition: If there is none, it can't be opened, or another version of
            Tensordeck wrote it.
    """
    file = _sqlite_file(settings)
    if file is not None and not file.is_file():
        raise errors.FailedPrecondition(
            f"There is no store in {file.parent.absolute()}. Name the right directory."
        )
    database = open_unchanged(settings)
    try:
        with database.read() as connection:
            found = revision(connection)
        if not found:
            raise errors.FailedPrecondition(f"{database.where} holds no store.")
        if found > head():
            raise errors.FailedPrecondition(
                f"{database.where} was written by a newer version of Tensordeck (schema {found}; "
                f"this version knows {head()}). Use that version."
            )
        if found < head():
            raise errors.FailedPrecondition(
                f"{database.where} was written by an older version of Tensordeck (schema {found}; "
                f"this version needs {head()}). Start this version's server on it once, which "
                "brings it up to date."
            )
        yield Place(settings, database, open_blobs(settings))
    finally:
        database.close()


@contextlib.contextmanager
def open_target(settings: Settings, origin: str, *, shared_blobs: bool = False) -> Iterator[Target]:
    """Opens an empty place, or one that an interrupted run from the same origin has left.

    Args:
        settings: Where.
        origin: What is copied there, as a text that is the same for the same source.
        shared_blobs: Whether the source's blobs lie in the place's object store already.

    Raises:
        errors.FailedPrecondition: If it can't be opened, a server uses it, or something is there.
    """
    with _locked(settings):
        database = open_unchanged(settings)
        try:
            resumed = _take(database, origin)
            blobs = open_blobs(settings)
            if not resumed:
                if not shared_blobs:
                    _require_no_blobs(blobs, settings)
                _mark(database, origin)
            yield Target(Place(settings, database, blobs), resumed)
        finally:
            database.close()


def _take(database: Database, origin: str) -> bool:
    """Makes sure that a database may be filled; returns whether that had begun already."""
    with database.read() as connection:
        if connection.dialect.has_table(connection, UNFINISHED):
            begun, schema = connection.execute(
                text(f"SELECT origin, schema_version FROM {UNFINISHED}")  # noqa: S608 -- a name of ours
            ).one()
            if begun != origin:
                raise errors.FailedPrecondition(
                    f"{database.where} holds a part of {begun}, whose copy was cut off. Finish "
                    "that first, or name an empty place."
                )
            if schema != head():
                raise errors.FailedPrecondition(
                    f"The copy into {database.where} was begun by another version of Tensordeck "
                    f"(schema {schema}; this version writes {head()}). Go on with that version, or "
                    "name an empty place."
                )
            return True
    bring_up_to_date(database)
    with database.read() as connection:
        counts = {name: count for name, count in row_counts(connection).items() if count}
    if counts:
        shown = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
        raise errors.FailedPrecondition(
            f"{database.where} is not empty: it holds {shown}. Name an empty database or directory."
        )
    return False


def _require_no_blobs(blobs: Blobs, settings: Settings) -> None:
    # Servers sweep what no row refers to: two stores must never share a prefix.
    if next(iter(blobs.keys()), None) is not None:
        raise errors.FailedPrecondition(
            f"{blobs_of(settings)} is not empty: objects lie there already. Name an empty prefix "
            "or directory."
        )


def _mark(database: Database, origin: str) -> None:
    def work(connection: Connection) -> None:
        connection.execute(
            text(f"CREATE TABLE {UNFINISHED} (origin TEXT NOT NULL, schema_version TEXT NOT NULL)")
        )
        connection.execute(
            text(f"INSERT INTO {UNFINISHED} VALUES (:origin, :schema)"),  # noqa: S608 -- a name of ours
            {"origin": origin, "schema": head()},
        )

    database.write(work)


def _sqlite_file(settings: Settings) -> Path | None:
    """The database file of an embedded store; None for a database that is a server."""
    if not settings.database_url:
        return settings.data_dir / "tensordeck.db"
    if settings.database_url.startswith(_SQLITE):
        return Path(settings.database_url.removeprefix(_SQLITE))
    return None


@contextlib.contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Holds the lock that a server on an embedded store would hold."""
    file = _sqlite_file(settings)
    if file is None:
        yield
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = (file.parent / "lock").open("a+")
    except OSError as error:
        raise errors.FailedPrecondition(
            f"The data directory {file.parent} can't be used: {error.strerror}."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise errors.FailedPrecondition(
                f"A Tensordeck server uses the data directory {file.parent}. Stop it, or name "
                "another directory."
            ) from error
        yield
