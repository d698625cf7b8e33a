"""AIP-160 filters and order_by: text to one tree, which the catalog compiles to SQL.

Grammar: https://google.aip.dev/160. As it says, OR binds closer than AND, and a sequence `a b` is
`a AND b`. More lenient than it: an unquoted value may hold any character but spaces, commas,
quotes and parentheses. Stricter: a bare value, which would search all fields, is an error.
"""

import json
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from tensordeck.errors import InvalidArgument
from tensordeck.names import shown

if TYPE_CHECKING:
    from lark import Lark

MAX_LENGTH: Final = 20_000
MAX_COMPARISONS: Final = 200
"""SQLite takes expressions of depth 1,000, and a chain of ANDs is as deep as it is long; a
statement of this many takes a fifth of a second to build."""
MAX_DEPTH: Final = 50
MAX_ORDERS: Final = 16


class Comparison(Struct, frozen=True):
    """`field op value`.

    Attributes:
        path: The field's path, e.g. `("metadata", "lr", "number_value")`; names in snake_case at
            the top level.
        op: One of `=`, `!=`, `<`, `<=`, `>`, `>=`, `:`.
        value: Text, as it came (unquoted). Several for `parent_contexts:"a","b"`.
        position: Where it starts in the filter's text, for errors.
        wildcard: Whether `*` at an end of the value stands for any text. False in a tree that is
            not parsed but made by hand.
    """

    path: tuple[str, ...]
    op: str
    value: tuple[str, ...]
    position: int = 0
    wildcard: bool = False


class Function(Struct, frozen=True):
    """`name(argument, ...)`, e.g. `in_context("...")`."""

    name: str
    arguments: tuple[str, ...]
    position: int = 0


class Not(Struct, frozen=True):
    """`NOT f` or `-f`."""

    operand: "Filter"


class All(Struct, frozen=True):
    """`f AND g`, or a sequence `f g`."""

    operands: "tuple[Filter, ...]"


class Any_(Struct, frozen=True):  # noqa: N801 -- `Any` is typing's
    """`f OR g`."""

    operands: "tuple[Filter, ...]"


Filter = Comparison | Function | Not | All | Any_


class Order(Struct, frozen=True):
    """One key of an order_by."""

    path: tuple[str, ...]
    descending: bool


GRAMMAR: Final = r"""
start: _sequences
_sequences: sequence (_AND sequence)*
sequence: alternatives+
alternatives: _term (_OR _term)*
_term: negation | _simple
negation: (_NOT | _MINUS) _simple
_simple: comparison | call | "(" start ")"
comparison: PATH OPERATOR value ("," value)*
call: PATH "(" [value ("," value)*] ")"
value: VALUE | QUOTED

_AND.2: /AND(?![\w.:-])/
_OR.2: /OR(?![\w.:-])/
_NOT.2: /NOT(?![\w.:-])/
_MINUS: "-"
PATH: /(?!(AND|OR|NOT)(?![\w.:-]))[A-Za-z_]\w*(\.([\w\/-]+|"(\\.|[^"\\])*"))*/
OPERATOR: "<=" | ">=" | "!=" | "=" | "<" | ">" | ":"
VALUE: /[^\s()"',=<>!:][^\s()",]*/
QUOTED: /"(\\.|[^"\\])*"|'(\\.|[^'\\])*'/s
%ignore /\s+/
"""

PART: Final = re.compile(r'"((?:\\.|[^"\\])*)"|([^."]+)')
ORDER: Final = re.compile(
    r'\s*([A-Za-z_]\w*(?:\.(?:[\w/-]+|"(?:\\.|[^"\\])*"))*)(?:\s+(asc|desc))?\s*',
    re.IGNORECASE,
)


QUOTES: Final = re.compile(r'"(\\.|[^"\\])*"|' + r"'(\\.|[^'\\])*'", re.DOTALL)


@lru_cache(maxsize=256)
def parse_filter(text: str) -> Filter | None:
    """Parses a filter; None for an empty one.

    Raises:
        errors.InvalidArgument: With the character's position, if it does not parse.
    """
    if not text.strip():
        return None
    _require_small(text)
    from lark.exceptions import UnexpectedInput, UnexpectedToken  # noqa: PLC0415 -- loaded when needed

    try:
        tree: Any = _parser().parse(text)
    except UnexpectedInput as error:
        position = error.pos_in_stream or 0
        if isinstance(error, UnexpectedToken) and error.token.type == "$END":
            end = text.rstrip()
            raise _bad(len(end), f"it ends too early, after {shown(end[-40:])}") from None
        raise _bad(position, f"{shown(text[position : position + 40])} was not expected") from None
    if (count := _count(tree)) > MAX_COMPARISONS:
        raise InvalidArgument(
            f"`filter` has {count} comparisons; at most {MAX_COMPARISONS} are taken."
        )
    parsed: Filter = tree
    return parsed


def parse_order_by(text: str) -> list[Order]:
    """Parses `field [asc|desc], ...`.

    Raises:
        errors.InvalidArgument: If it does not parse.
    """
    orders: list[Order] = []
    position = 0
    while text.strip() and position <= len(text):
        found = ORDER.match(text, position)
        if not found or text[found.end() : found.end() + 1] not in {"", ","}:
            raise InvalidArgument(
                f"`order_by`, character {position + 1}: {shown(text[position:])} is not "
                "`field [asc|desc], ...`."
            )
        orders.append(Order(_path(found[1]), (found[2] or "").lower() == "desc"))
        position = found.end() + 1
    if len(orders) > MAX_ORDERS:
        raise InvalidArgument(
            f"`order_by` has {len(orders)} fields; at most {MAX_ORDERS} are taken."
        )
    return orders


def _require_small(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise InvalidArgument(
            f"`filter` has {len(text)} characters; at most {MAX_LENGTH} are taken."
        )
    depth = 0
    # Blanks keep the positions: a parenthesis inside quotes nests nothing.
    for position, character in enumerate(QUOTES.sub(lambda found: " " * len(found[0]), text)):
        depth += (character == "(") - (character == ")")
        if depth > MAX_DEPTH:
            raise _bad(position, f"parentheses are nested deeper than {MAX_DEPTH}")


@cache
def _parser() -> "Lark":
    """The parser, which builds the tree while it reads; made once, when first needed."""
    from lark import Lark, Token, Transformer  # noqa: PLC0415 -- most calls have no filter

    class Builder(Transformer[Token, Filter]):
        """One method a rule of the grammar."""

        def start(self, sequences: list[Filter]) -> Filter:
            return All(tuple(sequences)) if len(sequences) > 1 else sequences[0]

        sequence = start

        def alternatives(self, terms: list[Filter]) -> Filter:
            return Any_(tuple(terms)) if len(terms) > 1 else terms[0]

        def negation(self, terms: list[Filter]) -> Filter:
            return Not(terms[0])

        def comparison(self, parts: list[Any]) -> Filter:
            path, op, *values = parts
            if len(values) > 1 and op != ":":
                raise _bad(path.start_pos, f"only `:` takes several values, `{op}` takes one")
            return Comparison(
                _path(path),
                str(op),
                tuple(text for text, _ in values),
                path.start_pos,
                any(wildcard for _, wildcard in values),
            )

        def call(self, parts: list[Any]) -> Filter:
            name, *arguments = parts
            texts = tuple(argument[0] for argument in arguments if argument is not None)
            return Function(str(name), texts, name.start_pos)

        def value(self, tokens: list[Token]) -> tuple[str, bool]:
            """The text, and whether its stars are wildcards."""
            token = tokens[0]
            text = _unquoted(token) if token.type == "QUOTED" else str(token)
            if "\0" in text or not _encodable(text):
                raise _bad(token.start_pos or 0, "the value is no valid text")
            return text, "*" in text

    return Lark(GRAMMAR, parser="lalr", transformer=Builder())


def _path(text: str) -> tuple[str, ...]:
    """`displayName` and `metadata."a.b".x` as the tree has them."""
    parts = [
        re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[2]
        for found in PART.finditer(text)
    ]
    first = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", parts[0])
    return (first, *parts[1:])


def _unquoted(token: str) -> str:
    """A quoted value's text: JSON's escapes; any other escaped character stands for itself."""
    inside = token[1:-1]
    if token[0] == '"':
        try:
            return str(json.loads(token, strict=False))
        except ValueError:
            pass
    return re.sub(r"\\(.)", r"\1", inside, flags=re.DOTALL)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _count(tree: Filter) -> int:
    match tree:
        case All(operands) | Any_(operands):
            return sum(map(_count, operands))
        case Not(operand):
            return _count(operand)
    return 1


def _bad(position: int, problem: str) -> InvalidArgument:
    return InvalidArgument(f"`filter`, character {position + 1}: {problem}.")
