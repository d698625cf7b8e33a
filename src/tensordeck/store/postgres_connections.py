"""Connections to PostgreSQL: what each is told, how many there are, when one is given up.

The URL goes to libpq as it is
(https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING): it may name several
hosts, of which the one that takes writes is looked for at every new connection. That is all of a
failover: the connections to the old primary break, and the next ones lead to the new.
"""

from typing import Any, Final

import psycopg
from psycopg import conninfo
from sqlalchemy import Engine, ExceptionContext, create_engine, event

from tensordeck.errors import InvalidArgument
from tensordeck.store import documents

__all__ = ["is_lost", "open_engine", "shown"]

CONNECT_SECONDS: Final = 5
"""How long each host of the URL may take to answer."""
SILENCE_SECONDS: Final = 15
"""A connection whose other end has not taken what was sent for so long is given up: between here
and there the network is cut, and nobody says so."""
POOL_SECONDS: Final = 10.0
"""How long a call waits for a free connection."""
IDLE_SECONDS: Final = 60
"""A transaction that lies idle for longer is ended: it would hold up every other server."""
_ALWAYS_OPEN: Final = 8

_THEIRS: Final = (
    # The database gives up a server that is gone without a word, and with it the locks it holds.
    "-c tcp_keepalives_idle=20 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=4 "
    f"-c idle_in_transaction_session_timeout={IDLE_SECONDS * 1000}"
)
_READ_ONLY: Final = "25006"


def open_engine(
    url: str,
    *,
    name: str,
    connections: int,
    statement_seconds: float = 0.0,
    standby: bool = False,
    ask_first: bool = True,
    begins: bool = True,
) -> Engine:
    """A pool of connections; none is made yet.

    Args:
        url: As libpq takes it.
        name: What the connections are for, as `pg_stat_activity` shows it.
        connections: The most there may be at a time.
        statement_seconds: A statement that takes longer is ended; 0 for no limit.
        standby: Whether a server that takes no writes will do.
        ask_first: Whether a connection that was idle is asked whether it still holds, which costs
            a round trip; those who can begin again on another one need not ask.
        begins: Whether a connection begins a transaction by itself at its first statement; else
            its user says BEGIN, together with what comes first in it.

    Raises:
        InvalidArgument: If the URL can't be read.
    """
    given = _parsed(url)
    options = f"{given.get('options') or ''} {_THEIRS}"
    options += f" -c statement_timeout={round(statement_seconds * 1000)}"
    parameters: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": SILENCE_SECONDS * 1000,
        "target_session_attrs": "any" if standby else "read-write",
        **given,
        "application_name": f"tensordeck {name}",
        "options": options.strip(),
    }
    kept = min(_ALWAYS_OPEN, connections)
    engine = create_engine(
        "postgresql+psycopg://",
        json_serializer=documents.dumps,
        json_deserializer=documents.loads,
        pool_size=kept,
        max_overflow=connections - kept,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=ask_first,  # a database that failed over has closed all connections
        pool_use_lifo=True,
        isolation_level="READ COMMITTED" if begins else "AUTOCOMMIT",
    )
    event.listen(engine, "handle_error", _give_up_read_only)

    def connect(_dialect: object, _record: object, _args: object, given: dict[str, Any]) -> None:
        given.update(parameters)  # beside SQLAlchemy's own, by which documents are written and read

    event.listen(engine, "do_connect", connect)
    return engine


def shown(url: str) -> str:
    """A URL as people may see it: without password and options."""
    try:
        given = _parsed(url)
    except InvalidArgument:
        return "the database"
    hosts = str(given.get("host") or given.get("hostaddr") or "").split(",")
    ports = str(given.get("port") or "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    places = [f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=False)]
    user = f"{given['user']}@" if given.get("user") else ""
    return f"postgresql://{user}{','.join(places)}/{given.get('dbname') or ''}"


def is_lost(error: BaseException) -> bool:
    """Whether an error says that the connection broke, or could not be made."""
    cause = getattr(error, "orig", error)
    if not isinstance(cause, psycopg.OperationalError):
        return False
    state = cause.sqlstate
    return state is None or state.startswith("08") or state in ("57P01", "57P02", "57P03")


def _parsed(url: str) -> dict[str, Any]:
    _, _, rest = url.partition("://")
    try:
        return conninfo.conninfo_to_dict(f"postgresql://{rest}")
    except psycopg.ProgrammingError as error:
        reason = str(error).strip().partition("\n")[0]
        raise InvalidArgument(f"database-url can't be read: {reason}") from error


def _give_up_read_only(context: ExceptionContext) -> None:
    """Gives up connections to a primary that became a standby: writes would fail there for ever."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True
