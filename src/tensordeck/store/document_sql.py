"""Conditions and sort keys on a member of a JSON column, e.g. `labels.team`.

Members are found by comparing keys as values, never by putting a key into a JSON path: a key may
hold any character. The spelling is SQLite's `json_each`; PostgreSQL's `json_each` and
`json_typeof` say the same, and this module is all that would differ.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    FromClause,
    String,
    TableValuedAlias,
    case,
    exists,
    func,
    literal,
    literal_column,
    select,
    true,
)

__all__ = ["has_member", "member_order"]

NUMBERS = ("integer", "real")
BOOLEANS = ("true", "false")


def has_member(
    column: ColumnElement[Any],
    keys: Sequence[str],
    test: Callable[[ColumnElement[Any], ColumnElement[str]], ColumnElement[bool]] | None = None,
) -> ColumnElement[bool]:
    """True where a document has a member that passes a test.

    Args:
        column: The JSON column.
        keys: The way to the member, outermost key first.
        test: Makes the condition of the member's (value, type); any member passes without one.
    """
    levels, member, conditions = _levels(column, keys)
    if test is not None:
        conditions.append(test(member.c.atom, member.c.type))
    return exists(select(literal_column("1")).select_from(levels).where(*conditions))


def member_order(column: ColumnElement[Any], keys: Sequence[str]) -> list[ColumnElement[Any]]:
    """Sort keys, never NULL: numbers first by size, then texts, then what has no such member."""
    levels, member, conditions = _levels(column, keys)
    atom, kind = member.c.atom, member.c.type

    def of_member(value: ColumnElement[Any]) -> ColumnElement[Any]:
        return select(value).select_from(levels).where(*conditions).limit(1).scalar_subquery()

    number = kind.in_((*NUMBERS, *BOOLEANS))
    return [
        func.coalesce(of_member(case((number, 0), (kind == "text", 1), else_=2)), 3),
        func.coalesce(of_member(case((number, atom), else_=0.0)), literal(0.0, Float)),
        func.coalesce(of_member(case((kind == "text", atom), else_="")), literal("", String)),
    ]


def _levels(
    column: ColumnElement[Any], keys: Sequence[str]
) -> tuple[FromClause, TableValuedAlias, list[ColumnElement[bool]]]:
    """The chain of members below a document, with the conditions that pick the keys."""
    levels: FromClause | None = None
    member: TableValuedAlias | None = None
    conditions: list[ColumnElement[bool]] = []
    document: Any = column
    for depth, key in enumerate(keys):
        member = func.json_each(document).table_valued(
            "key", "value", "type", "atom", name=f"member_{depth}"
        )
        levels = member if levels is None else levels.join(member, true())
        conditions.append(member.c.key == key)
        document = case((member.c.type == "object", member.c.value), else_="{}")
    if levels is None or member is None:
        raise ValueError("A member has a key.")
    return levels, member, conditions
