"""Who looked at an instance's boards, by month: the figures of `ReadTensorboardUsage`."""

from datetime import UTC, datetime

from sqlalchemy import Connection, select, text

from tensordeck import errors
from tensordeck.names import shown
from tensordeck.store import schema
from tensordeck.store.contract import MonthlyViews

__all__ = ["count_view", "monthly_views"]

# The same on SQLite and PostgreSQL, which SQLAlchemy has two spellings for.
COUNT = text(
    "INSERT INTO board_views (tensorboard_pk, month, username, view_count)"
    " VALUES (:tensorboard_pk, :month, :username, 1)"
    " ON CONFLICT (tensorboard_pk, month, username)"
    " DO UPDATE SET view_count = board_views.view_count + 1"
)


def count_view(connection: Connection, tensorboard: str, username: str) -> None:
    """Counts a view; arguments and errors as `Catalog.record_view`."""
    values = {
        "tensorboard_pk": _key(connection, tensorboard),
        "month": datetime.now(UTC).strftime("%Y%m"),
        "username": username,
    }
    connection.execute(COUNT, values)


def monthly_views(connection: Connection, tensorboard: str) -> MonthlyViews:
    """Reads the counts; arguments and errors as `Catalog.views`."""
    table = schema.board_views
    statement = (
        select(table.c.month, table.c.username, table.c.view_count)
        .where(table.c.tensorboard_pk == _key(connection, tensorboard))
        .order_by(table.c.month, table.c.username)
    )
    views: MonthlyViews = {}
    for month, username, count in connection.execute(statement):
        views.setdefault(month, []).append((username, count))
    return views


def _key(connection: Connection, tensorboard: str) -> int:
    table = schema.tensorboards
    pk = connection.execute(select(table.c.pk).where(table.c.name == tensorboard)).scalar()
    if pk is None:
        raise errors.NotFound(f"Tensorboard {shown(tensorboard)} was not found.")
    return int(pk)
