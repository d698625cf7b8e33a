"""Filters over the log entries of jobs: which entries match, and which may at all.

Cloud Logging's query language in so far as it is AIP-160's, with its rules for texts: they are
compared without regard to case, and a field that an entry lacks equals nothing.
https://cloud.google.com/logging/docs/view/logging-query-language
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from msgspec import Struct

from tensordeck import protos
from tensordeck.errors import InvalidArgument
from tensordeck.filters import All, Any_, Comparison, Filter, Function, Not
from tensordeck.names import shown
from tensordeck.services.times import parse_nanos

__all__ = ["SEVERITIES", "Entry", "Period", "matcher", "period", "possible_values"]

SEVERITIES: Final = {
    "DEFAULT": 0,
    "DEBUG": 100,
    "INFO": 200,
    "NOTICE": 300,
    "WARNING": 400,
    "ERROR": 500,
    "CRITICAL": 600,
    "ALERT": 700,
    "EMERGENCY": 800,
}
"""`google.logging.type.LogSeverity`."""

Entry: TypeAlias = Mapping[tuple[str, ...], str | int]
"""An entry's fields by path. `timestamp` is in nanoseconds since 1970, `severity` a number."""

_ENDLESS: Final = 2**63
_TIMES: Final = frozenset({("timestamp",), ("receive_timestamp",)})
_ORDERINGS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    **_ORDERINGS,
    "=": operator.eq,
    "!=": operator.ne,
}


class Period(Struct, frozen=True):
    """Nanoseconds since 1970, both ends included."""

    since_ns: int = 0
    until_ns: int = _ENDLESS


def matcher(tree: Filter | None) -> Callable[[Entry], bool]:
    """Makes the function that tells whether an entry matches.

    Args:
        tree: A parsed filter; None for none.

    Raises:
        InvalidArgument: If it names a field that log entries do not have, or compares with
            something unreadable.
    """
    match tree:
        case None:
            return lambda _entry: True
        case All(operands):
            every = [matcher(operand) for operand in operands]
            return lambda entry: all(matches(entry) for matches in every)
        case Any_(operands):
            some = [matcher(operand) for operand in operands]
            return lambda entry: any(matches(entry) for matches in some)
        case Not(operand):
            inner = matcher(operand)
            return lambda entry: not inner(entry)
        case Function(name, _, position):
            raise _bad(position, f"there is no function {shown(name)} of log entries")
        case Comparison():
            return _comparison(tree)


def possible_values(tree: Filter | None, path: tuple[str, ...]) -> frozenset[str] | None:
    """The only values that a field of a matching entry can have; None where any may do."""
    match tree:
        case Comparison(path=found, op="=", value=value) if found == path:
            return frozenset(value)
        case All(operands):
            known = [possible_values(operand, path) for operand in operands]
            fixed = [values for values in known if values is not None]
            return frozenset.intersection(*fixed) if fixed else None
        case Any_(operands):
            each = [possible_values(operand, path) for operand in operands]
            found_all = [values for values in each if values is not None]
            return frozenset.union(*found_all) if len(found_all) == len(each) else None
    return None


def period(tree: Filter | None) -> Period:
    """A period that holds the times of all matching entries."""
    match tree:
        case Comparison(path=path, op=op, value=(text,)) if path in _TIMES:
            moment = _nanos(text)
            return Period(
                moment if op in (">", ">=", "=") else 0,
                moment if op in ("<", "<=", "=") else _ENDLESS,
            )
        case All(operands):
            parts = [period(operand) for operand in operands]
            return Period(
                max(part.since_ns for part in parts), min(part.until_ns for part in parts)
            )
        case Any_(operands):
            parts = [period(operand) for operand in operands]
            return Period(
                min(part.since_ns for part in parts), max(part.until_ns for part in parts)
            )
    return Period()


def _comparison(comparison: Comparison) -> Callable[[Entry], bool]:
    path = comparison.path
    if path[0] not in protos.message("google.logging.v2.LogEntry").DESCRIPTOR.fields_by_name:
        raise _bad(comparison.position, f"log entries have no field {shown('.'.join(path))}")
    if path in _TIMES:
        return _number(comparison, ("timestamp",), _nanos)
    if path == ("severity",):
        return _number(comparison, path, lambda text: _severity(text, comparison.position))
    return _text(comparison)


def _number(
    comparison: Comparison, path: tuple[str, ...], read: Callable[[str], int]
) -> Callable[[Entry], bool]:
    compare = _NUMBERS.get(comparison.op)
    if compare is None or len(comparison.value) != 1:
        raise _bad(
            comparison.position,
            f"`{path[0]}` can't be compared with {comparison.op}; use one of {' '.join(_NUMBERS)}",
        )
    limit = read(comparison.value[0])
    return lambda entry: compare(entry[path], limit)


def _text(comparison: Comparison) -> Callable[[Entry], bool]:
    path, op = comparison.path, comparison.op
    if op in _ORDERINGS:
        ordering, limit = _ORDERINGS[op], comparison.value[0]
        return lambda entry: path in entry and ordering(entry[path], limit)
    values = [value.casefold() for value in comparison.value]
    if op == ":":
        if values == ["*"]:
            return lambda entry: path in entry
        return lambda entry: any(value in _folded(entry, path) for value in values)
    if op == "=":
        return lambda entry: path in entry and _folded(entry, path) == values[0]
    return lambda entry: path not in entry or _folded(entry, path) != values[0]


def _folded(entry: Entry, path: tuple[str, ...]) -> str:
    return str(entry.get(path, "")).casefold()


def _nanos(text: str) -> int:
    return parse_nanos(text, "`filter`: `timestamp`")


def _severity(text: str, position: int) -> int:
    if text.isdecimal():
        return int(text)
    if text.upper() not in SEVERITIES:
        raise _bad(position, f"{shown(text)} is none of {', '.join(SEVERITIES)}")
    return SEVERITIES[text.upper()]


def _bad(position: int, problem: str) -> InvalidArgument:
    return InvalidArgument(f"`filter`, character {position + 1}: {problem}.")
