"""Conditions and sort keys on a member of a JSON column, e.g. `labels.team`.

Members are found by comparing keys as values, never by putting a key into a JSON path: a key may
hold any character. Both databases have `json_each`, whose rows have a key and a value; what a value
is, as text and as number, is spelled for each of them here and nowhere else.

https://www.sqlite.org/json1.html#jeach
https://www.postgresql.org/docs/current/functions-json.html
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

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
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

__all__ = ["BOOLEANS", "NUMBERS", "Member", "has_member", "member_order"]

NUMBERS: Final = ("integer", "real")
BOOLEANS: Final = ("true", "false")


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a document.

    Attributes:
        kind: `text`, `integer`, `real`, `true`, `false`, `null`, `array` or `object`.
        text: Its value, if it is a text; in order of code points.
        number: Its value, if it is a number; 1 and 0 for true and false.
    """

    kind: ColumnElement[str]
    text: ColumnElement[str]
    number: ColumnElement[float]


def has_member(
    column: ColumnElement[Any],
    keys: Sequence[str],
    test: Callable[[Member], ColumnElement[bool]] | None = None,
) -> ColumnElement[bool]:
    """True where a document has a member that passes a test.

    Args:
        column: The JSON column.
        keys: The way to the member, outermost key first.
        test: Makes the condition; any member passes without one.
    """
    levels, member, conditions = _levels(column, keys)
    if test is not None:
        conditions.append(test(member))
    return exists(select(literal_column("1")).select_from(levels).where(*conditions))


def member_order(column: ColumnElement[Any], keys: Sequence[str]) -> list[ColumnElement[Any]]:
    """Sort keys, never NULL: numbers first by size, then texts, then what has no such member."""
    levels, member, conditions = _levels(column, keys)
    is_number, is_text = member.kind.in_((*NUMBERS, *BOOLEANS)), member.kind == "text"

    def of_member(value: ColumnElement[Any]) -> ColumnElement[Any]:
        return select(value).select_from(levels).where(*conditions).limit(1).scalar_subquery()

    return [
        func.coalesce(of_member(case((is_number, 0), (is_text, 1), else_=2)), 3),
        func.coalesce(of_member(case((is_number, member.number), else_=0.0)), literal(0.0, Float)),
        func.coalesce(of_member(case((is_text, member.text), else_="")), literal("", String)),
    ]


def _levels(
    column: ColumnElement[Any], keys: Sequence[str]
) -> tuple[FromClause, Member, list[ColumnElement[bool]]]:
    """The chain of members below a document, with the conditions that pick the keys."""
    levels: FromClause | None = None
    member: TableValuedAlias | None = None
    conditions: list[ColumnElement[bool]] = []
    document: Any = column
    for depth, key in enumerate(keys):
        member = func.json_each(document).table_valued("key", "value", name=f"member_{depth}")
        levels = member if levels is None else levels.join(member, true())
        conditions.append(member.c.key == key)
        document = _Part("object", member, String())
    if levels is None or member is None:
        raise ValueError("A member has a key.")
    found = Member(
        _Part("kind", member, String()),
        _Part("text", member, String()),
        _Part("number", member, Float()),
    )
    return levels, found, conditions


class _Part(ColumnElement[Any]):
    """Something of a row of `json_each`: its `kind`, its `text`, its `number`, or its `object`."""

    inherit_cache = False  # made anew for each filter, whose keys differ anyway

    def __init__(self, part: str, member: TableValuedAlias, kind: Any) -> None:
        self.part = part
        self.member = member
        self.type = kind


_SQLITE: Final = {
    "kind": "{m}.type",
    "text": "{m}.atom",
    "number": "{m}.atom",
    "object": "CASE WHEN {m}.type = 'object' THEN {m}.value ELSE '{{}}' END",
}
_POSTGRESQL: Final = {
    "kind": (
        "CASE json_typeof({m}.value) WHEN 'string' THEN 'text' WHEN 'number' THEN 'real' "
        "WHEN 'boolean' THEN {m}.value::text ELSE json_typeof({m}.value) END"
    ),
    "text": "({m}.value #>> '{{}}') COLLATE \"C\"",
    "number": (
        "CASE json_typeof({m}.value) WHEN 'number' THEN ({m}.value #>> '{{}}')::double precision "
        "WHEN 'boolean' THEN ({m}.value::text = 'true')::int ELSE 0 END"
    ),
    "object": ("CASE WHEN json_typeof({m}.value) = 'object' THEN {m}.value ELSE '{{}}'::json END"),
}


@compiles(_Part, "sqlite")
def _in_sqlite(part: _Part, _compiler: SQLCompiler, **_options: Any) -> str:
    return _SQLITE[part.part].format(m=part.member.name)


@compiles(_Part, "postgresql")
def _in_postgresql(part: _Part, _compiler: SQLCompiler, **_options: Any) -> str:
    return f"({_POSTGRESQL[part.part].format(m=part.member.name)})"
