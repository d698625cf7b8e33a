"""Compiles a parsed filter to one SQL condition; every value is a bound parameter.

A condition is true or false, never NULL, so that NOT means what it says: a member that is missing
makes every comparison false but `!=`, which is the opposite of `=`.
"""

import operator
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Text,
    and_,
    cast,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)

from tensordeck import errors
from tensordeck.filters import All, Any_, Comparison, Filter, Function, Not
from tensordeck.names import shown
from tensordeck.store import schema
from tensordeck.store.document_sql import BOOLEANS, NUMBERS, Member, has_member
from tensordeck.store.fields import CONTEXT_LINKS, Field, field_of
from tensordeck.store.resources import Resource

__all__ = ["filter_condition"]

ORDERINGS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
TYPED_MEMBERS: Final = ("number_value", "string_value", "bool_value")
RFC_3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)"
)


def filter_condition(kind: type[Resource], tree: Filter) -> ColumnElement[bool]:
    """The condition, on the kind's table, of a filter.

    Raises:
        errors.InvalidArgument: If it names an unknown field or function, or a value does not fit
            its field; the message has the position.
    """
    match tree:
        case All(operands):
            return and_(true(), *(filter_condition(kind, operand) for operand in operands))
        case Any_(operands):
            return or_(false(), *(filter_condition(kind, operand) for operand in operands))
        case Not(operand):
            return not_(filter_condition(kind, operand))
        case Function():
            return _function(kind, tree)
        case Comparison():
            return _comparison(kind, tree)


def _function(kind: type[Resource], call: Function) -> ColumnElement[bool]:
    if call.name != "in_context":
        raise _bad(call.position, f"there is no function {shown(call.name)}; only in_context")
    links = schema.LINKS.get(("member", "contexts", kind.kind))
    if links is None:
        raise _bad(call.position, f"in_context works for artifacts and executions, not {kind.kind}")
    if not call.arguments:
        raise _bad(call.position, "in_context needs the full name of a context")
    table = schema.TABLES[kind.kind]
    return table.c.pk.in_(
        select(links.c.target_pk)
        .join(schema.contexts, schema.contexts.c.pk == links.c.source_pk)
        .where(schema.contexts.c.name.in_(call.arguments))
    )


def _comparison(kind: type[Resource], comparison: Comparison) -> ColumnElement[bool]:
    if kind.kind == "contexts" and comparison.path[0] in CONTEXT_LINKS:
        return _linked_contexts(comparison)
    field = field_of(kind, comparison.path, "filter", comparison.position)
    compare = COMPARISONS[field.sort]
    if comparison.op == "!=":
        return not_(compare(field, "=", comparison.value[0], comparison))
    if comparison.op == ":":
        return or_(false(), *(compare(field, ":", value, comparison) for value in comparison.value))
    return compare(field, comparison.op, comparison.value[0], comparison)


def _linked_contexts(comparison: Comparison) -> ColumnElement[bool]:
    """`parent_contexts:"a","b"`: contexts with one of these above (or below) them."""
    links = schema.LINKS["child", "contexts", "contexts"]
    own, other = links.c.target_pk, links.c.source_pk
    if comparison.path[0] == "child_contexts":
        own, other = other, own
    if len(comparison.path) > 1 or comparison.op not in {":", "=", "!="}:
        raise _bad(comparison.position, f'write {comparison.path[0]}:"FULL CONTEXT NAME"')
    linked = select(own)
    if comparison.value != ("*",):
        above = schema.contexts.alias("linked")
        linked = linked.join(above, above.c.pk == other).where(above.c.name.in_(comparison.value))
    condition = schema.contexts.c.pk.in_(linked)
    return not_(condition) if comparison.op == "!=" else condition


def _text(field: Field, op: str, value: str, comparison: Comparison) -> ColumnElement[bool]:
    if op == ":":
        if value == "*":
            return field.column != ""
        if comparison.wildcard and "*" in value:
            return _equals(field.column, value, wildcard=True)
        return _contains(field.column, value)
    if op == "=":
        return _equals(field.column, value, wildcard=comparison.wildcard)
    condition: ColumnElement[bool] = ORDERINGS[op](field.column, value)
    return condition


def _contains(text: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    # LIKE ignores case on SQLite and not on PostgreSQL; this is the same on both.
    return or_(literal(value) == "", func.replace(text, value, "") != text)


def _equals(text: ColumnElement[Any], value: str, *, wildcard: bool) -> ColumnElement[bool]:
    """Equality, or a match with `*` at the start, the end, or once inside."""
    if not wildcard or "*" not in value:
        return text == value
    if len(value) > 1 and value[0] == value[-1] == "*":
        return _contains(text, value[1:-1])
    start, _, end = value.partition("*")
    return and_(
        func.length(text) >= len(start) + len(end),
        func.substr(text, 1, len(start)) == start,
        func.substr(text, func.length(text) - len(end) + 1) == end,
    )


def _number(field: Field, op: str, value: str, comparison: Comparison) -> ColumnElement[bool]:
    number = _as_number(value)
    if number is None:
        raise _bad(comparison.position, f"{shown(value)} is no number")
    return _ordered(field.column, op, number)


def _enum(field: Field, op: str, value: str, comparison: Comparison) -> ColumnElement[bool]:
    number = field.numbers.get(value, _as_number(value))
    if number is None:
        names = ", ".join(field.numbers)
        raise _bad(comparison.position, f"{shown(value)} is none of {names}")
    return _ordered(field.column, op, number)


def _flag(field: Field, op: str, value: str, comparison: Comparison) -> ColumnElement[bool]:
    if value.lower() not in BOOLEANS or op not in {"=", ":"}:
        raise _bad(comparison.position, "compare it with =true or =false")
    return field.column.is_(value.lower() == "true")


def _time(field: Field, op: str, value: str, comparison: Comparison) -> ColumnElement[bool]:
    """Compares microseconds with a time that may be finer than they are; 0 is no time at all."""
    if op == ":" and value == "*":
        return field.column != 0
    nanoseconds = _as_nanoseconds(value)
    if nanoseconds is None:
        raise _bad(
            comparison.position,
            f'{shown(value)} is no RFC 3339 time such as "2026-01-31T12:00:00Z"',
        )
    floor, rest = divmod(nanoseconds, 1000)
    if op in {"=", ":"}:
        return field.column == floor if rest == 0 else false()
    if op in {"<", ">="} and rest:
        floor += 1
    condition: ColumnElement[bool] = ORDERINGS[op](field.column, floor)
    return and_(field.column != 0, condition) if op in {"<", "<="} else condition


def _document(field: Field, op: str, value: str, comparison: Comparison) -> ColumnElement[bool]:
    """`labels.team = x`, `labels:team`, `metadata.lr.number_value > 0.1`."""
    keys, wanted = field.keys, ""
    if len(keys) > 1 and keys[-1] in TYPED_MEMBERS:
        keys, wanted = keys[:-1], keys[-1]
    elif comparison.path[0] == "labels":
        wanted = "string_value"  # labels hold nothing else
    if not keys:
        if op != ":":
            raise _bad(comparison.position, f"name a key: {comparison.path[0]}.KEY")
        return (
            cast(field.column, Text) != "{}" if value == "*" else has_member(field.column, (value,))
        )
    if op == ":" and value == "*":
        return has_member(field.column, keys)
    number = _as_number(value)
    if wanted == "number_value" and number is None:
        raise _bad(comparison.position, f"{shown(value)} is no number")
    if wanted == "bool_value" and (value.lower() not in BOOLEANS or op in ORDERINGS):
        raise _bad(comparison.position, "compare it with =true or =false")

    def test(member: Member) -> ColumnElement[bool]:
        ways: list[ColumnElement[bool]] = []
        if wanted in {"", "string_value"}:
            if op in ORDERINGS:
                same = ORDERINGS[op](member.text, value)
            else:
                same = _equals(member.text, value, wildcard=comparison.wildcard)
            ways.append(and_(member.kind == "text", same))
        if wanted in {"", "number_value"} and number is not None:
            ways.append(and_(member.kind.in_(NUMBERS), _ordered(member.number, op, number)))
        if wanted in {"", "bool_value"} and value.lower() in BOOLEANS and op not in ORDERINGS:
            ways.append(member.kind == value.lower())
        return or_(false(), *ways)

    return has_member(field.column, keys, test)


COMPARISONS: Final[dict[str, Callable[[Field, str, str, Comparison], ColumnElement[bool]]]] = {
    "text": _text,
    "number": _number,
    "enum": _enum,
    "flag": _flag,
    "time": _time,
    "document": _document,
}


def _ordered(column: ColumnElement[Any], op: str, number: float) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = (
        column == literal(number) if op in {"=", ":"} else ORDERINGS[op](column, literal(number))
    )
    return condition


def _as_number(text: str) -> int | float | None:
    """A finite number; one that no 64 bits hold as a float."""
    try:
        number = int(text) if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII) else float(text)
    except ValueError:
        return None
    return number if number - number == 0 and "_" not in text else None


def _as_nanoseconds(text: str) -> int | None:
    found = RFC_3339.fullmatch(text)
    if not found:
        return None
    date, clock, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{zone.upper()}")
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):
        return None
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


def _bad(position: int, problem: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"`filter`, character {position + 1}: {problem}.")
