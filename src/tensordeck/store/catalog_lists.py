"""Lists of the catalog: whose children, in which order, from where on."""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, or_, select

from tensordeck import errors, names
from tensordeck.filters import Filter, parse_order_by
from tensordeck.names import ResourceName, shown
from tensordeck.store.contract import Page
from tensordeck.store.document_sql import member_order
from tensordeck.store.fields import field_of
from tensordeck.store.filter_sql import filter_condition
from tensordeck.store.page_token import open_token, seal_token
from tensordeck.store.resources import Resource, StoredObject
from tensordeck.store.rows import KINDS, Rows
from tensordeck.store.schema import TABLES

__all__ = ["list_page"]

R = TypeVar("R", bound=Resource)
SortKey = tuple[ColumnElement[Any], bool]
"""What to sort by, and whether downwards; never NULL."""

PARENTS = {
    "tensorboards": names.TENSORBOARD,
    "experiments": names.EXPERIMENT,
    "runs": names.RUN,
    "metadataStores": names.METADATA_STORE,
    "models": names.MODEL,
}
ANY = "-"
"""The id that stands for every id of its collection: https://google.aip.dev/159."""


def list_page(
    connection: Connection,
    rows: Rows[R],
    parent: str,
    *,
    tree: Filter | None,
    order_by: str,
    page_size: int,
    page_token: str,
    name_prefix: str,
    start_at: str,
) -> Page[R]:
    """Reads one page; arguments and errors as `Catalog.list`."""
    if page_size < 1:
        raise errors.InvalidArgument(f"`page_size` must be positive; it is {page_size}.")
    conditions = _children_of(connection, rows.kind, rows.table, parent)
    if name_prefix:
        conditions += _between(rows.table.c.name, _below(rows.kind, parent, name_prefix))
    if start_at:
        conditions.append(rows.table.c.name >= _below(rows.kind, parent, start_at))
    if tree is not None:
        conditions.append(filter_condition(rows.kind, tree))
    keys = _sort_keys(rows, order_by, by_name=bool(name_prefix) or rows.kind is StoredObject)
    query = (rows.kind.kind, parent, tree, order_by, name_prefix, start_at)
    if page_token:
        conditions.append(_after(keys, open_token(query, page_token)))
    statement: Select[Any] = (
        rows.select.add_columns(*(key.label(f"key_{i}") for i, (key, _) in enumerate(keys)))
        .where(*conditions)
        .order_by(*(key.desc() if downwards else key for key, downwards in keys))
        .limit(page_size + 1)
    )
    found = connection.execute(statement).all()
    next_token = ""
    if len(found) > page_size:
        found = found[:page_size]
        next_token = seal_token(query, list(found[-1][-len(keys) :]))
    return Page(rows.records(found), next_token)


def _children_of(
    connection: Connection, kind: type[Resource], table: Table, parent: str
) -> list[ColumnElement[bool]]:
    if not kind.parent_kind:
        return _in_place(table, parent)
    above = KINDS[kind.parent_kind]
    above_table = TABLES[above.kind]
    if above.kind not in PARENTS or ANY not in parent.split("/"):
        pk = connection.execute(
            select(above_table.c.pk).where(above_table.c.name == parent)
        ).scalar()
        if pk is None:
            raise errors.NotFound(f"{above.__name__} {shown(parent)} was not found.")
        return [table.c.parent_pk == pk]
    pattern = names.parse(parent, PARENTS[above.kind], "parent")
    return [table.c.parent_pk.in_(_matching(connection, pattern))]


def _in_place(table: Table, place: str) -> list[ColumnElement[bool]]:
    if not place:
        return []
    name = names.parse(place, names.LOCATION, "parent")
    column = table.c.place
    conditions: list[ColumnElement[bool]] = []
    if ANY not in name.ids:
        return [column == place]
    if name.project != ANY:
        conditions += _between(column, f"projects/{name.project}/locations/")
    elif name.location != ANY:
        conditions.append(_ends_with(column, f"/locations/{name.location}"))
    return conditions


def _matching(connection: Connection, pattern: ResourceName) -> Select[tuple[int]]:
    """Selects the keys of the resources whose names fit a pattern with wildcards.

    Raises:
        errors.NotFound: If what stands before the first wildcard does not exist.
    """
    fixed = pattern.ids.index(ANY)
    chosen: Select[tuple[int]] | None = None
    for depth in range(2, len(pattern.ids)):
        kind = KINDS[pattern.collections[depth]]
        table = TABLES[kind.kind]
        name = ResourceName(pattern.collections[: depth + 1], pattern.ids[: depth + 1])
        if depth < fixed:
            conditions = [table.c.name == str(name)]
            if (
                depth + 1 == fixed
                and not connection.execute(select(table.c.pk).where(*conditions)).scalar()
            ):
                raise errors.NotFound(f"{kind.__name__} {shown(str(name))} was not found.")
        else:
            conditions = (
                _in_place(table, str(name.up_to("locations")))
                if chosen is None
                else [table.c.parent_pk.in_(chosen)]
            )
            if name.id != ANY:
                conditions.append(_ends_with(table.c.name, f"/{name.kind}/{name.id}"))
        chosen = select(table.c.pk).where(*conditions)
    if chosen is None:
        raise errors.InvalidArgument(f"`parent` {shown(str(pattern))} has no resource in it.")
    return chosen


def _below(kind: type[Resource], parent: str, start: str) -> str:
    """The start of the full names of a parent's children whose own names start so."""
    if not parent:
        return start
    return f"{parent}/{start}" if kind is StoredObject else f"{parent}/{kind.kind}/{start}"


def _between(column: ColumnElement[str], prefix: str) -> list[ColumnElement[bool]]:
    """Texts that start with a prefix, as a range that an index can serve."""
    conditions: list[ColumnElement[bool]] = [column >= prefix]
    while prefix:
        following = ord(prefix[-1]) + 1
        if following <= 0x10FFFF:
            following = 0xE000 if 0xD800 <= following <= 0xDFFF else following
            return [*conditions, column < prefix[:-1] + chr(following)]
        prefix = prefix[:-1]
    return conditions


def _ends_with(column: ColumnElement[str], end: str) -> ColumnElement[bool]:
    return and_(
        func.length(column) >= len(end),
        func.substr(column, func.length(column) - len(end) + 1) == end,
    )


def _sort_keys(rows: Rows[Any], order_by: str, *, by_name: bool) -> list[SortKey]:
    keys: list[SortKey] = []
    for order in parse_order_by(order_by):
        field = field_of(rows.kind, order.path, "order_by")
        if field.sort != "document":
            keys.append((field.column, order.descending))
        elif field.keys:
            typed = field.keys[-1] in {"number_value", "string_value", "bool_value"}
            path = field.keys[:-1] if typed and len(field.keys) > 1 else field.keys
            keys += [(key, order.descending) for key in member_order(field.column, path)]
        else:
            raise errors.InvalidArgument(f"`order_by` needs a key: {'.'.join(order.path)}.KEY.")
    if by_name and not keys:
        return [(rows.table.c.name, False)]
    return [*keys, (rows.table.c.pk, False)]


def _after(keys: Sequence[SortKey], values: Sequence[Any]) -> ColumnElement[bool]:
    """Rows that come after the one with these sort keys."""
    ways: list[ColumnElement[bool]] = []
    same: list[ColumnElement[bool]] = []
    for (key, downwards), value in zip(keys, values, strict=True):
        ways.append(and_(*same, key < value if downwards else key > value))
        same.append(key == value)
    return or_(*ways)
