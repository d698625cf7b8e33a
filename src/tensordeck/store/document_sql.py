"""Conditions and sort keys on a member of a JSON column, e.g. `labels.team`.

Members are found by comparing keys as values, never by putting a key into a JSON path: a key may
hold any character. Both databases have `json_each`, whose rows have a key and a value; what a value
is, as text and as number, is spelled for each of them here and nowhere else.

https://www.sqlite.org/json1.html#jeach
https://www.postgresql.org/docs/current/functions-json.html
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Float,
    FromClause,
    String,
    TableValuedAlias,
    case,
    cast,
    exists,
    func,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

__all__ = [
    "BOOLEANS",
    "NUMBERS",
    "Member",
    "elements",
    "has_member",
    "member_order",
    "members",
    "parsed",
]

NUMBERS: Final = ("integer", "real")
BOOLEANS: Final = ("true", "false")


class Member(Struct, frozen=True):
    """A member of a document.

    Attributes:
        kind: `text`, `integer`, `real`, `true`, `false`, `null`, `array` or `object`.
        text: Its value, if it is a text; in order of code points.
        number: Its value, if it is a number; 1 and 0 for true and false.
        document: Its value, if it is an object; else an empty one.
    """

    kind: ColumnElement[str]
    text: ColumnElement[str]
    number: ColumnElement[float]
    document: ColumnElement[Any]


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
        member = _each(document, f"member_{depth}")
        levels = member if levels is None else levels.join(member, true())
        conditions.append(member.c.key == key)
        document = _Part("object", member, String())
    if levels is None or member is None:
        raise ValueError("A member has a key.")
    return levels, _member(member), conditions


def members(document: ColumnElement[Any], name: str) -> tuple[TableValuedAlias, Member]:
    """The members of a document, to join with.

    Args:
        document: A JSON column, or another member's `document`.
        name: What the rows are called in the query.

    Returns:
        Rows with a `key`, and what the rest of a row is.
    """
    rows = _each(document, name)
    return rows, _member(rows)


def parsed(document: str) -> ColumnElement[Any]:
    """A document that is no column, as one."""
    return _Parsed(literal(document, String))


def elements(values: str, kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """The elements of a JSON list, for `IN (SELECT ...)`, which takes lists of any length.

    Args:
        values: The list, as JSON.
        kind: What the elements are: texts, or numbers.
    """
    rows = _Elements(parsed(values)).table_valued("value", name="elements")
    return cast(rows.c.value, kind)


def _each(document: ColumnElement[Any], name: str) -> TableValuedAlias:
    return func.json_each(document).table_valued("key", "value", name=name)


def _member(rows: TableValuedAlias) -> Member:
    return Member(
        kind=_Part("kind", rows, String()),
        text=_Part("text", rows, String()),
        number=_Part("number", rows, Float()),
        document=_Part("object", rows, String()),
    )


class _Parsed(ColumnElement[Any]):
    """A text taken for a document."""

    inherit_cache = False  # made anew for each query, as the others here

    def __init__(self, document: ColumnElement[Any]) -> None:
        self.document = document
        self.type = String()


@compiles(_Parsed, "sqlite")
def _parsed_in_sqlite(parsed: _Parsed, compiler: SQLCompiler, **options: Any) -> str:
    return str(compiler.process(parsed.document, **options))


@compiles(_Parsed, "postgresql")
def _parsed_in_postgresql(parsed: _Parsed, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(parsed.document, **options)} AS json)"


class _Elements(FunctionElement[Any]):
    """The rows of a list's elements."""

    name = "elements"
    inherit_cache = False


@compiles(_Elements, "sqlite")
def _elements_in_sqlite(call: _Elements, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(call.clauses, **options)})"


@compiles(_Elements, "postgresql")
def _elements_in_postgresql(call: _Elements, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_elements_text({compiler.process(call.clauses, **options)})"


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
