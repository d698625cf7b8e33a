"""Adding resources: parents, uniqueness, times; a few statements however many they are."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace
from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from tensordeck import errors
from tensordeck.names import shown
from tensordeck.store import schema
from tensordeck.store.batches import batches
from tensordeck.store.database_errors import refused
from tensordeck.store.resources import Resource, Run, Tensorboard, TimeSeries
from tensordeck.store.rows import KINDS, Rows, parent_of, place_of

__all__ = [
    "UNIQUE_TITLES",
    "add_resources",
    "clear_other_defaults",
    "microseconds",
    "require_free_titles",
]

R = TypeVar("R", bound=Resource)

UNIQUE_TITLES: tuple[type[Resource], ...] = (Run, TimeSeries)
"""The kinds whose display names are unique below one parent."""


def microseconds() -> int:
    """The time now, since the epoch."""
    return time.time_ns() // 1000


def add_resources(connection: Connection, rows: Rows[R], resources: Sequence[R]) -> list[R]:
    """Adds resources of one kind; errors as `Catalog.create`."""
    parents = _parent_keys(connection, rows, resources)
    _require_free_names(connection, rows, resources)
    if rows.kind in UNIQUE_TITLES:
        require_free_titles(
            connection,
            rows,
            [
                (parents[parent_of(rows.kind, resource.name)], _title(resource))
                for resource in resources
            ],
        )
    now = microseconds()
    values: list[dict[str, Any]] = []
    for resource in resources:
        row = rows.values(resource)
        row["revision"] = 1
        row["create_time"] = resource.create_time or now
        row["update_time"] = resource.update_time or row["create_time"]
        if rows.kind.parent_kind:
            row["parent_pk"] = parents[parent_of(rows.kind, resource.name)]
        else:
            row["place"] = place_of(resource.name)
        values.append(row)
    defaults: dict[str, str] = {}  # of several in one place the last wins, as if made in turn
    if rows.kind is Tensorboard:
        defaults = {row["place"]: row["name"] for row in values if row["is_default"]}
        for row in values:
            row["is_default"] = defaults.get(row["place"]) == row["name"]
    statement = insert(rows.table).returning(rows.table.c.name, rows.table.c.pk)
    try:
        keys = {row[0]: row[1] for row in connection.execute(statement, values)}
    except IntegrityError as error:
        if isinstance(stopped := refused(error), errors.Unavailable):  # the store was moved
            raise stopped from error
        # Another server wrote between our look and our insert.
        raise errors.AlreadyExists(
            f"{rows.kind.__name__} {shown(resources[0].name)} or one like it already exists."
        ) from error
    for name in defaults.values():
        clear_other_defaults(connection, name)
    return [
        _created(resource, row, keys[row["name"]])
        for resource, row in zip(resources, values, strict=True)
    ]


def clear_other_defaults(connection: Connection, name: str) -> None:
    """Makes an instance the only default one of its place."""
    table = schema.tensorboards
    connection.execute(
        update(table)
        .where(table.c.place == place_of(name), table.c.is_default.is_(True), table.c.name != name)
        .values(is_default=False, revision=table.c.revision + 1, update_time=microseconds())
    )


def require_free_titles(
    connection: Connection, rows: Rows[Any], titles: Sequence[tuple[int, str]]
) -> None:
    """Checks that display names are free below their parents.

    Args:
        connection: In the transaction that will write them.
        rows: Runs or time series.
        titles: (parent's key, display name) pairs.

    Raises:
        errors.AlreadyExists: If one is taken, or there twice; the message holds it.
    """
    table = rows.table
    by_parent: dict[int, list[str]] = {}
    for parent_pk, title in titles:
        by_parent.setdefault(parent_pk, []).append(title)
    for parent_pk, wanted in by_parent.items():
        statement = select(table.c.display_name).where(
            table.c.parent_pk == parent_pk,
            table.c.display_name.in_(bindparam("titles", expanding=True)),
        )

        def taken(group: Sequence[str], statement: Any = statement) -> set[str]:
            return set(connection.scalars(statement, {"titles": list(group)}))

        double = _first_taken(wanted, taken)
        if double is not None:
            raise errors.AlreadyExists(
                f"{rows.kind.__name__} with display name {shown(double)} already exists "
                "below the same parent."
            )


def _require_free_names(connection: Connection, rows: Rows[R], resources: Sequence[R]) -> None:
    table = rows.table
    statement = select(table.c.name).where(table.c.name.in_(bindparam("names", expanding=True)))
    double = _first_taken(
        [resource.name for resource in resources],
        lambda group: set(connection.scalars(statement, {"names": list(group)})),
    )
    if double is not None:
        raise errors.AlreadyExists(f"{rows.kind.__name__} {shown(double)} already exists.")


def _first_taken(wanted: Sequence[str], taken: Callable[[Sequence[str]], set[str]]) -> str | None:
    """The first of some texts that is taken already or there twice."""
    seen: set[str] = set()
    for group in batches(wanted):
        seen_before = taken(group)
        for text in group:
            if text in seen_before or text in seen:
                return text
            seen.add(text)
    return None


def _parent_keys(connection: Connection, rows: Rows[R], resources: Sequence[R]) -> dict[str, int]:
    """The keys of the resources' parents, by name; empty for a kind that has none."""
    if not rows.kind.parent_kind:
        return {}
    kind = KINDS[rows.kind.parent_kind]
    table = schema.TABLES[kind.kind]
    names = list(dict.fromkeys(parent_of(rows.kind, resource.name) for resource in resources))
    statement = select(table.c.name, table.c.pk).where(
        table.c.name.in_(bindparam("names", expanding=True))
    )
    keys: dict[str, int] = {}
    for group in batches(names):
        keys.update((row[0], row[1]) for row in connection.execute(statement, {"names": group}))
    for name in names:
        if name not in keys:
            raise errors.NotFound(f"{kind.__name__} {shown(name)} was not found.")
    return keys


def _title(resource: Resource) -> str:
    return resource.display_name if isinstance(resource, Run | TimeSeries) else ""


def _created(resource: R, row: dict[str, Any], pk: int) -> R:
    """The record of what was added."""
    filled: dict[str, Any] = {
        field: row[field] for field in ("revision", "create_time", "update_time")
    }
    if isinstance(resource, TimeSeries):
        filled["run_pk"] = row["parent_pk"]
    if isinstance(resource, Tensorboard):
        filled["is_default"] = row["is_default"]
    return replace(resource, pk=pk, **filled)
