"""Filters and orders as text: what parses, to which tree, and where an error points."""

import contextlib
import json
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tensordeck.errors import InvalidArgument
from tensordeck.filters import (
    All,
    Any_,
    Comparison,
    Function,
    Not,
    Order,
    parse_filter,
    parse_order_by,
)
from tests.strategies import filters, texts


def is_(path: str, op: str, *values: str, wildcard: bool = False) -> Comparison:
    """A comparison at any position."""
    return Comparison(tuple(path.split(".")), op, values, 0, wildcard)


def placeless(tree: object) -> object:
    """A tree without its positions."""
    match tree:
        case Comparison(path, op, value, _, wildcard):
            return Comparison(path, op, value, 0, wildcard)
        case Function(name, arguments, _):
            return Function(name, arguments)
        case Not(operand):
            return Not(placeless(operand))
        case All(operands):
            return All(tuple(map(placeless, operands)))
        case Any_(operands):
            return Any_(tuple(map(placeless, operands)))
    return tree


A, B, C = is_("a", "=", "1"), is_("b", "=", "2"), is_("c", "=", "3")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", None),
        ("  \n", None),
        ("is_default=true", is_("is_default", "=", "true")),
        ("isDefault = true", is_("is_default", "=", "true")),
        ('display_name = "a \\"tag\\" \\u00e9"', is_("display_name", "=", 'a "tag" é')),
        ("displayName = some-name", is_("display_name", "=", "some-name")),
        ("display_name='it is'", is_("display_name", "=", "it is")),
        ("display_name = a*", is_("display_name", "=", "a*", wildcard=True)),
        ("a=1 AND b=2", All((A, B))),
        ("a=1 b=2", All((A, B))),
        ("a=1 OR b=2", Any_((A, B))),
        ("a=1 AND b=2 OR c=3", All((A, Any_((B, C))))),
        ("a=1 OR b=2 c=3", All((Any_((A, B)), C))),
        ("(a=1 AND b=2) OR c=3", Any_((All((A, B)), C))),
        ("NOT a=1", Not(A)),
        ("-a=1", Not(A)),
        ("NOT (a=1 OR b=2)", Not(Any_((A, B)))),
        ("a=1 -b=2", All((A, Not(B)))),
        ("((a=1))", A),
        ("a=-1", is_("a", "=", "-1")),
        ("a>=1", is_("a", ">=", "1")),
        ("a != 1", is_("a", "!=", "1")),
        ("create_time>2026-01-31T12:00:00Z", is_("create_time", ">", "2026-01-31T12:00:00Z")),
        ("labels.my-key:*", is_("labels.my-key", ":", "*", wildcard=True)),
        ("labels:team", is_("labels", ":", "team")),
        ("metadata.lr.number_value = 10.0", is_("metadata.lr.number_value", "=", "10.0")),
        (
            'metadata."a:b".bool_value=true',
            Comparison(("metadata", "a:b", "bool_value"), "=", ("true",)),
        ),
        ('metadata."x.y"=1', Comparison(("metadata", "x.y"), "=", ("1",))),
        ("metadata.camelCase=1", is_("metadata.camelCase", "=", "1")),
        ('parent_contexts:"a","b"', is_("parent_contexts", ":", "a", "b")),
        ('parentContexts : "a" , "b"', is_("parent_contexts", ":", "a", "b")),
        ('in_context("x/y")', Function("in_context", ("x/y",))),
        (
            '(schema_title="system.Run") AND in_context("x")',
            All((is_("schema_title", "=", "system.Run"), Function("in_context", ("x",)))),
        ),
        ('state="LIVE" AND ANDY=1', All((is_("state", "=", "LIVE"), is_("ANDY", "=", "1")))),
        ("NOTE=1", is_("NOTE", "=", "1")),
        ("uri = gs://b/o?x=y", is_("uri", "=", "gs://b/o?x=y")),
    ],
)
def test_a_filter_parses_to_its_tree(text: str, tree: object) -> None:
    assert placeless(parse_filter(text)) == tree


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("a=1 AND", None),
        ("a=", None),
        ("(a=1", None),
        ("a=1)", 4),
        ("=1", 1),
        ("a==1", 3),
        ("a=1 AND AND b=2", 9),
        ("a b=2", 3),
        ("a=1 | b=2", 5),
        ('a="unclosed', 3),
        ("a=1,2", 1),
        ("a <> 1", 4),
        ("1=a", 1),
        ("a=1 ; DROP TABLE runs", 5),
        ('a="\\ud800"', 3),
        ('a="\\u0000"', 3),
    ],
)
def test_an_error_points_at_the_character(text: str, position: int | None) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_filter(text)

    assert "`filter`" in str(caught.value)
    assert f"character {position or len(text) + 1}:" in str(caught.value)
    assert ("ends too early" in str(caught.value)) == (position is None)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000,
        "(" * 5_000 + "a=1" + ")" * 5_000,
        "NOT " * 2_500,
        "-" * 10_000,
        "a=1 " * 2_500,
        "a=1 OR " * 1_400 + "a=1",
        "a." * 5_000,
        '"' * 10_001,
        "x" * 1_000_000,
    ],
)
def test_long_and_deep_input_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_filter(text)


def test_a_long_value_is_taken() -> None:
    assert parse_filter("a=" + "x" * 10_000) == is_("a", "=", "x" * 10_000)


def test_fifty_parentheses_are_taken() -> None:
    assert placeless(parse_filter("(" * 50 + "a=1" + ")" * 50)) == A


def test_parentheses_in_quotes_nest_nothing() -> None:
    value = "(" * 200

    assert placeless(parse_filter(f'a="{value}"')) == is_("a", "=", value)


@given(st.text(max_size=200))
@example("a=1\x00")
@example("\ud800=1")
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parse_filter(text)
    except InvalidArgument as error:
        str(error).encode()


@given(st.text("ab=<>!:()\"'\\,.-* ANDORT1", max_size=60))
def test_any_text_of_the_grammar_parses_or_is_refused(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        parse_filter(text)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
@example("a*b\n\t\"'\\")
def test_a_quoted_value_comes_back(value: str) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        tree = parse_filter(f"display_name = {text}")

        assert isinstance(tree, Comparison)
        assert tree.value == (value,)


paths = st.sampled_from(
    [
        ("display_name",),
        ("schema_title",),
        ("create_time",),
        ("metadata", "lr", "number_value"),
        ("metadata", 'a "quoted".key', "bool_value"),
        ("labels", "team"),
    ]
)
comparisons = st.one_of(
    st.builds(
        Comparison, paths, st.sampled_from(["=", "!=", "<", "<=", ">", ">=", ":"]), st.tuples(texts)
    ),
    st.builds(
        Comparison,
        st.just(("parent_contexts",)),
        st.just(":"),
        st.lists(texts, min_size=2).map(tuple),
    ),
    st.builds(Function, st.just("in_context"), st.lists(texts, max_size=3).map(tuple)),
)


def written(tree: object, draw: Callable[[st.SearchStrategy[str]], str]) -> str:
    """A filter's text, in one of the ways in which it can be written."""
    space = draw(st.sampled_from(["", " ", "\n "]))
    match tree:
        case Comparison(path, op, value):
            return f"{space}{a_path(path, draw)}{space}{op}{space}{a_list(value, draw)}"
        case Function(name, arguments):
            return f"{name}{space}({a_list(arguments, draw)}{space})"
        case Not(operand):
            return f"{draw(st.sampled_from(['NOT ', '-']))}({written(operand, draw)})"
        case All(operands):
            joint = draw(st.sampled_from([" AND ", " "]))
        case Any_(operands):
            joint = " OR "
    return joint.join(f"({written(operand, draw)})" for operand in operands)


def a_path(path: tuple[str, ...], draw: Callable[[st.SearchStrategy[str]], str]) -> str:
    first = draw(st.sampled_from([path[0], re.sub("_(.)", lambda m: m[1].upper(), path[0])]))
    rest = [part if part.isidentifier() else json.dumps(part) for part in path[1:]]
    return ".".join([first, *rest])


def a_list(values: tuple[str, ...], draw: Callable[[st.SearchStrategy[str]], str]) -> str:
    quoted = [
        value
        if draw(st.booleans()) and re.fullmatch(r"[\w./][\w./-]*", value)
        else json.dumps(value)
        for value in values
    ]
    return draw(st.sampled_from([",", " , "])).join(quoted)


def starless(tree: object) -> object:
    """A tree without positions and without saying which stars are wildcards."""
    match placeless(tree):
        case Comparison(path, op, value):
            return Comparison(path, op, value)
        case Not(operand):
            return Not(starless(operand))
        case All(operands):
            return All(tuple(map(starless, operands)))
        case Any_(operands):
            return Any_(tuple(map(starless, operands)))
        case other:
            return other


@given(filters(comparisons), st.data())
def test_a_tree_comes_back_from_any_way_of_writing_it(tree: object, data: st.DataObject) -> None:
    assert starless(parse_filter(written(tree, data.draw))) == tree


@pytest.mark.parametrize(
    ("text", "orders"),
    [
        ("", []),
        ("  ", []),
        ("create_time asc", [Order(("create_time",), False)]),
        ("createTime desc", [Order(("create_time",), True)]),
        ("a, b  DESC", [Order(("a",), False), Order(("b",), True)]),
        ("labels.team", [Order(("labels", "team"), False)]),
        ('labels."a,b" desc', [Order(("labels", "a,b"), True)]),
    ],
)
def test_an_order_parses(text: str, orders: list[Order]) -> None:
    assert parse_order_by(text) == orders


@pytest.mark.parametrize(
    "text", ["a b c", "a,", ",a", "a,,b", "a; DROP", "desc desc desc", "1", "a" + ",a" * 40]
)
def test_a_bad_order_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="order_by"):
        parse_order_by(text)
