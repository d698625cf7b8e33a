"""What the drivers' errors mean to a caller.

SQLite's result codes: https://www.sqlite.org/rescode.html; PostgreSQL's:
https://www.postgresql.org/docs/current/errcodes-appendix.html.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Final

import sqlalchemy.exc

from tensordeck import errors

__all__ = ["WRITE_STOPPED", "refused", "translated"]

DISK_FULL: Final = frozenset(
    {
        "SQLITE_FULL",
        # A quota or a file size limit, which the operating system does not call "full".
        "SQLITE_IOERR_WRITE",
        "SQLITE_IOERR_FSYNC",
        "SQLITE_IOERR_DIR_FSYNC",
        "SQLITE_IOERR_TRUNCATE",
        "SQLITE_IOERR_SHMSIZE",
        "SQLITE_IOERR_SHMMAP",
    }
)
DAMAGED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
AWAY: Final = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_INTERRUPT", "SQLITE_NOMEM")
DENIED: Final = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")

POSTGRESQL_AWAY: Final = ("08", "25P03", "25006", "40", "53300", "55P03", "57", "58030")
POSTGRESQL_FULL: Final = ("53100", "53200", "53400")
POSTGRESQL_DAMAGED: Final = ("XX001", "XX002")
POSTGRESQL_GONE: Final = "23503"  # a foreign key that points nowhere
POSTGRESQL_VALUE: Final = ("22", "54")
WRITE_STOPPED: Final = "TD001"
"""The SQLSTATE of our own that a store which was moved elsewhere answers writes with."""


def refused(error: BaseException) -> errors.TensordeckError | None:
    """Turns an error of SQLAlchemy or its driver into one of ours; None for any other error."""
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return errors.Unavailable("Too many requests read the database at once; try again.")
    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    if cause is not None and hasattr(cause, "sqlstate"):
        return _refused_by_postgresql(cause.sqlstate, cause)
    if isinstance(cause, UnicodeDecodeError):
        # The driver can't read SQLite's message, which cites a definition of a damaged table.
        return errors.DataLoss("The database is damaged. Stop the server and restore a backup.")
    if not isinstance(cause, sqlite3.Error):
        if isinstance(error, sqlalchemy.exc.SQLAlchemyError):
            return errors.Internal(f"The database layer failed ({type(error).__name__}).")
        return None
    name = getattr(cause, "sqlite_errorname", None) or ""
    if name == "SQLITE_CONSTRAINT_TRIGGER":  # `tensordeck.moving.write_stop` has the only ones
        return errors.Unavailable(str(cause))
    if name in DISK_FULL:
        return errors.ResourceExhausted(
            "The disk that holds the store is full; nothing of this request was written. "
            "Free some space and try again."
        )
    if name.startswith(DAMAGED):
        return errors.DataLoss(
            f"The database is damaged ({cause}). Stop the server and restore a backup."
        )
    if name == "SQLITE_TOOBIG" or isinstance(cause, sqlite3.DataError):
        return errors.InvalidArgument("A value of this request is too big to store.")
    if name.startswith(DENIED):
        return errors.Unavailable(
            f"The database file can't be used ({cause}). Check that it and its folder can be "
            "written."
        )
    if name.startswith(AWAY):
        return errors.Unavailable(f"The database did not answer ({cause}); try again.")
    return errors.Internal(f"The database refused a statement ({name or type(cause).__name__}).")


def _refused_by_postgresql(state: str | None, cause: object) -> errors.TensordeckError:
    """The error of an SQLSTATE; a connection that broke, or was never made, has none."""
    if state == WRITE_STOPPED:
        return errors.Unavailable(str(cause).strip().partition("\n")[0])
    if state is None and type(cause).__name__ == "DataError":
        # psycopg itself refuses the value, for instance a text with a NUL.
        return errors.InvalidArgument(f"A value of this request can't be looked up ({cause}).")
    if state is None or state.startswith(POSTGRESQL_AWAY):
        reason = str(cause).strip().partition("\n")[0]
        return errors.Unavailable(f"The database did not answer ({reason}); try again.")
    if state.startswith(POSTGRESQL_FULL):
        return errors.ResourceExhausted(
            "The disk that holds the database is full; nothing of this request was written. "
            "Free some space and try again."
        )
    if state.startswith(POSTGRESQL_DAMAGED):
        return errors.DataLoss(f"The database is damaged ({cause}). Restore a backup.")
    if state == POSTGRESQL_GONE:
        return errors.NotFound(
            "What this request writes to was deleted meanwhile; nothing was written."
        )
    if state.startswith(POSTGRESQL_VALUE):
        return errors.InvalidArgument("A value of this request can't be stored.")
    return errors.Internal(f"The database refused a statement ({state}).")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Lets no error of the driver out as such."""
    try:
        yield
    except Exception as error:
        if (ours := refused(error)) is None:
            raise
        raise ours from error
