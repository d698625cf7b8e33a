"""Contexts as they were a moment ago: what a writer had before its eyes that others overtook.

Each change of a context leaves the state that it replaced, for a few minutes. Any server finds it
by the revision, which is all that an etag says; `services.concurrent_writes` tells what for.
"""

from typing import Final

from msgspec.structs import replace
from sqlalchemy import Connection, bindparam, delete, insert, select

from tensordeck.store.driver_statement import DriverStatement
from tensordeck.store.resources import Context
from tensordeck.store.rows import rows_of
from tensordeck.store.schema import contexts, past_contexts

__all__ = ["forget_past", "keep_past", "past_of"]

KEPT_MICROS: Final = 120 * 1_000_000
"""For how long: a client that is refused tries again within seconds."""
_EVERY: Final = 16
"""Old states of a context are removed with every so many of its changes."""
_STATE: Final = ("display_name", "description", "labels", "metadata")

_KEEP: Final = DriverStatement(
    insert(past_contexts).from_select(
        ["context_pk", "revision", "replaced_at", *_STATE],
        select(
            contexts.c.pk,
            contexts.c.revision,
            bindparam("now", type_=past_contexts.c.replaced_at.type),
            *(contexts.c[name] for name in _STATE),
        ).where(contexts.c.pk == bindparam("pk")),
    )
)
_FORGET: Final = delete(past_contexts).where(past_contexts.c.replaced_at < bindparam("before"))
_FORGET_OF: Final = DriverStatement(_FORGET.where(past_contexts.c.context_pk == bindparam("pk")))
_PAST: Final = (
    select(*(past_contexts.c[name] for name in _STATE))
    .join(contexts, contexts.c.pk == past_contexts.c.context_pk)
    .where(contexts.c.name == bindparam("name"), past_contexts.c.revision == bindparam("revision"))
)


def keep_past(connection: Connection, context: Context, now: int) -> None:
    """Keeps the present state of a context that is about to change.

    Args:
        connection: In the transaction that changes it, before it does.
        context: The context.
        now: Microseconds since the epoch.
    """
    _KEEP.run(connection, {"pk": context.pk, "now": now})
    if context.revision % _EVERY == 0:
        _FORGET_OF.run(connection, {"pk": context.pk, "before": now - KEPT_MICROS})


def past_of(connection: Connection, name: str, revision: int) -> Context | None:
    """A context as it was at a revision that was replaced of late; None if that is not kept."""
    row = connection.execute(_PAST, {"name": name, "revision": revision}).one_or_none()
    if row is None:
        return None
    present = rows_of(Context).find(connection, name)
    return present and replace(present, revision=revision, **row._asdict())


def forget_past(connection: Connection, now: int) -> int:
    """Removes what no client asks for any more; returns how many states."""
    return connection.execute(_FORGET, {"before": now - KEPT_MICROS}).rowcount
