"""AIP-160 filters and order_by: text to one tree, which the catalog compiles to SQL.

Grammar: https://google.aip.dev/160.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field op value`.

    Attributes:
        path: The field's path, e.g. `("metadata", "lr", "number_value")`; names in snake_case at
            the top level.
        op: One of `=`, `!=`, `<`, `<=`, `>`, `>=`, `:`.
        value: Text, as it came (unquoted). Several for `parent_contexts:"a","b"`.
        position: Where it starts in the filter's text, for errors.
    """

    path: tuple[str, ...]
    op: str
    value: tuple[str, ...]
    position: int = 0


@dataclass(frozen=True, slots=True)
class Function:
    """`name(argument, ...)`, e.g. `in_context("...")`."""

    name: str
    arguments: tuple[str, ...]
    position: int = 0


@dataclass(frozen=True, slots=True)
class Not:
    """`NOT f` or `-f`."""

    operand: "Filter"


@dataclass(frozen=True, slots=True)
class All:
    """`f AND g`, or a sequence `f g`."""

    operands: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Any_:  # noqa: N801 -- `Any` is typing's
    """`f OR g`."""

    operands: "tuple[Filter, ...]"


Filter = Comparison | Function | Not | All | Any_


@dataclass(frozen=True, slots=True)
class Order:
    """One key of an order_by."""

    path: tuple[str, ...]
    descending: bool


def parse_filter(text: str) -> Filter | None:
    """Parses a filter; None for an empty one.

    Raises:
        errors.InvalidArgument: With the character's position, if it does not parse.
    """
    raise NotImplementedError


def parse_order_by(text: str) -> list[Order]:
    """Parses `field [asc|desc], ...`.

    Raises:
        errors.InvalidArgument: If it does not parse.
    """
    raise NotImplementedError


_unused: Any = None
