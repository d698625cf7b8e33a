"""Links between metadata resources, and views of boards: the catalog's rows without a name."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select

from tensordeck import errors
from tensordeck.names import shown
from tensordeck.store import schema
from tensordeck.store.batches import batches
from tensordeck.store.contract import Link, Links
from tensordeck.store.resources import Json
from tensordeck.store.rows import KINDS

__all__ = ["add_links", "find_links", "remove_links"]


def add_links(
    connection: Connection, kind: str, source: str, targets: Sequence[str], note: Json
) -> None:
    """Adds links; arguments and errors as `Catalog.add_links`."""
    source_pk = _keys(connection, _kind_of(source), [source])[source]
    for target_kind, group in _by_kind(targets).items():
        table = _table(kind, _kind_of(source), target_kind)
        keys = _keys(connection, target_kind, group)
        if kind == "child":
            _require_no_circle(connection, source, source_pk, keys)
        known: set[int] = set()
        for some in batches(list(keys.values())):
            ends = select(table.c.target_pk).where(
                table.c.source_pk == source_pk, table.c.target_pk.in_(some)
            )
            known.update(connection.scalars(ends))
        new = [
            {"source_pk": source_pk, "target_pk": pk, "note": note}
            for pk in dict.fromkeys(keys[name] for name in group)
            if pk not in known
        ]
        if new:
            connection.execute(insert(table), new)


def _require_no_circle(
    connection: Connection, source: str, source_pk: int, children: Mapping[str, int]
) -> None:
    """Refuses children that a context is below, in the transaction that would add them."""
    links = schema.LINKS["child", "contexts", "contexts"]
    above = (
        select(links.c.source_pk.label("pk"))
        .where(links.c.target_pk == source_pk)
        .cte("above", recursive=True)
    )
    above = above.union(select(links.c.source_pk).join(above, links.c.target_pk == above.c.pk))
    refused = {source_pk, *connection.scalars(select(above.c.pk))}
    for child, pk in children.items():
        if pk in refused:
            raise errors.InvalidArgument(
                f"{shown(child, 1024)} can't be a child of {shown(source, 1024)}: it is that "
                "context or above it, and contexts may not form a circle."
            )


def remove_links(connection: Connection, kind: str, source: str, targets: Sequence[str]) -> None:
    """Removes links; arguments as `Catalog.remove_links`."""
    for target_kind, group in _by_kind(targets).items():
        table = _table(kind, _kind_of(source), target_kind)
        sources, ends = schema.TABLES[_kind_of(source)], schema.TABLES[target_kind]
        for names in batches(group):
            connection.execute(
                delete(table).where(
                    table.c.source_pk.in_(select(sources.c.pk).where(sources.c.name == source)),
                    table.c.target_pk.in_(select(ends.c.pk).where(ends.c.name.in_(names))),
                )
            )


def find_links(connection: Connection, kind: str, source: str, target: str) -> Links:
    """Finds links, oldest targets first; arguments as `Catalog.links`."""
    if not source and not target:
        raise errors.InvalidArgument("Links are looked up by their source, their target or both.")
    found: Links = []
    sorts = [ends for ends in schema.LINKS if ends[0] == kind]
    if not sorts:
        raise errors.InvalidArgument(f"There are no links of kind {shown(kind)}.")
    for sort in sorts:
        table = schema.LINKS[sort]
        near, far = schema.TABLES[sort[1]].alias("near"), schema.TABLES[sort[2]].alias("far")
        statement = (
            select(near.c.name, far.c.name, table.c.note)
            .select_from(table)
            .join(near, near.c.pk == table.c.source_pk)
            .join(far, far.c.pk == table.c.target_pk)
            .order_by(table.c.source_pk, table.c.target_pk)
        )
        if source:
            statement = statement.where(near.c.name == source)
        if target:
            statement = statement.where(far.c.name == target)
        found += [Link(*row) for row in connection.execute(statement)]
    return found


def _kind_of(name: str) -> str:
    parts = name.rsplit("/", 2)
    return parts[-2] if len(parts) == 3 else ""


def _by_kind(targets: Sequence[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in targets:
        groups.setdefault(_kind_of(name), []).append(name)
    return groups


def _table(kind: str, source: str, target: str) -> Table:
    table = schema.LINKS.get((kind, source, target))
    if table is None:
        raise errors.InvalidArgument(
            f"A link {shown(kind)} can't go from {source or 'this'} to {target or 'this'}."
        )
    return table


def _keys(connection: Connection, kind: str, names: Sequence[str]) -> dict[str, int]:
    """The keys of named resources, every one of which must exist."""
    table = schema.TABLES.get(kind)
    if table is None:
        raise errors.InvalidArgument(f"{shown(names[0])} is no metadata resource.")
    keys: dict[str, Any] = {}
    for group in batches(names):
        keys.update(
            (row[0], row[1])
            for row in connection.execute(
                select(table.c.name, table.c.pk).where(table.c.name.in_(group))
            )
        )
    for name in names:
        if name not in keys:
            raise errors.NotFound(f"{KINDS[kind].__name__} {shown(name)} was not found.")
    return keys
