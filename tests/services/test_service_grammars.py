"""The services' small languages against models of them: point filters, labels, masks, tokens."""

import contextlib
import json
import operator
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensordeck import errors, protos
from tensordeck.services import masks, rules
from tensordeck.services.page_tokens import make_token, read_token
from tensordeck.services.point_filters import by_wall_time, matching
from tensordeck.services.sampling import evenly_spaced
from tensordeck.services.structs import merged, respelled, spelled, to_json, to_struct
from tensordeck.store.contract import ScalarColumns

OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
STEPS = list(range(-5, 6))
VALUES = [step / 2 for step in STEPS]
COLUMNS = ScalarColumns(
    np.array(STEPS), np.array([10**9 * (100 + s) for s in STEPS]), np.array(VALUES)
)


comparisons = st.builds(
    lambda field, op, number: (
        f"{field} {op} {number}",
        lambda step, value: OPERATORS[op](step if field == "step" else value, float(number)),
    ),
    st.sampled_from(["step", "value", "scalar.value"]),
    st.sampled_from(sorted(OPERATORS)),
    st.sampled_from(["0", "3", "-4", "1.5", "-0.5", "99999999999999999999"]),
)
filters = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(
            lambda a, b: (f"({a[0]} AND {b[0]})", lambda s, v: a[1](s, v) and b[1](s, v)),
            inner,
            inner,
        ),
        st.builds(
            lambda a, b: (f"({a[0]} OR {b[0]})", lambda s, v: a[1](s, v) or b[1](s, v)),
            inner,
            inner,
        ),
        st.builds(lambda a: (f"NOT ({a[0]})", lambda s, v: not a[1](s, v)), inner),
    ),
    max_leaves=4,
)


@settings(deadline=None)
@given(filters)
def test_point_filters_choose_what_they_say(case):
    text, expected = case
    mask = matching(text, COLUMNS)
    assert mask.tolist() == [
        expected(step, value) for step, value in zip(STEPS, VALUES, strict=True)
    ]


@settings(deadline=None)
@given(st.text(alphabet=string.printable, max_size=40))
def test_any_text_is_a_filter_or_an_invalid_argument(text):
    for read in (lambda: matching(text, COLUMNS), lambda: by_wall_time(text)):
        with contextlib.suppress(errors.InvalidArgument):
            read()


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_labels_follow_their_rule(labels):
    def allowed(text: str) -> bool:
        return all(c in "-_" or (c.isalnum() and c.lower() == c) for c in text)

    good = all(key and allowed(key) and allowed(value) for key, value in labels.items())
    try:
        rules.check_labels(labels, "labels", {})
    except errors.InvalidArgument:
        assert not good
    else:
        assert good


FIELDS = ["display_name", "description", "labels", "is_default"]


@settings(deadline=None)
@given(
    st.sets(st.sampled_from([*FIELDS, "displayName", "isDefault", "create_time", "name"])),
    st.booleans(),
)
def test_a_mask_touches_what_it_names_and_nothing_else(paths, given_default):
    board = protos.message("Tensorboard")
    before = board(name="a", display_name="old", labels={"x": "1"}, is_default=not given_default)
    given_board = board(name="b", display_name="new", description="d", is_default=given_default)
    after = board()
    after.CopyFrom(before)
    mask = protos.message("google.protobuf.FieldMask")(paths=sorted(paths))
    masks.merge(after, given_board, mask, masks.Writable(frozenset(FIELDS)))
    snake = {{"displayName": "display_name", "isDefault": "is_default"}.get(p, p) for p in paths}
    if not paths:
        snake = {field.name for field, _ in given_board.ListFields()}
    for field in FIELDS:
        source = given_board if field in snake else before
        assert getattr(after, field) == getattr(source, field), field
    assert after.name == "a"


numbers = st.integers(-(2**63), 2**63 - 1)


@given(st.tuples(numbers, numbers), st.text(max_size=9))
def test_a_token_gives_back_its_position(position, filter_text):
    query = (1, filter_text)
    token = make_token(query, position)
    assert read_token(query, token, 2) == position
    assert token.isascii()
    with pytest.raises(errors.InvalidArgument):
        read_token((2, filter_text), token, 2)
    with pytest.raises(errors.InvalidArgument):
        read_token(query, token, 1)


@given(st.text(max_size=60))
def test_any_text_is_a_token_or_an_invalid_argument(text):
    with pytest.raises(errors.InvalidArgument, match="page_token"):
        read_token((1,), text, 2)


@given(st.integers(0, 5000), st.integers(1, 1200))
def test_a_sample_is_even_and_keeps_both_ends(count, limit):
    chosen = evenly_spaced(count, limit).tolist()
    assert len(chosen) == min(count, limit)
    assert chosen == sorted(set(chosen))
    if count:
        assert chosen[-1] == count - 1
    if chosen and limit > 1:
        gaps = np.diff(chosen)
        assert chosen[0] == 0
        assert not len(gaps) or gaps.max() - gaps.min() <= 1


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
documents = st.dictionaries(st.text(max_size=3), json_values, max_size=4)


@settings(deadline=None)
@given(documents)
def test_documents_survive_a_struct(document):
    assert to_json(to_struct(document)) == document


any_numbers = st.recursive(
    st.floats() | st.sampled_from(["NaN", "Infinity", "-Infinity", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), any_numbers, max_size=4))
def test_numbers_that_json_lacks_survive_as_texts(document):
    texts = spelled(document)
    json.dumps(texts, allow_nan=False)
    assert repr(respelled(texts, document)) == repr(document)


@given(documents, documents)
def test_a_merge_keeps_what_only_one_side_has(before, new):
    result = merged(before, new)
    assert result.keys() == before.keys() | new.keys()
    for key, value in result.items():
        if key not in new:
            assert value == before[key]
        elif isinstance(new[key], dict) and isinstance(before.get(key), dict):
            assert value == before[key] | new[key]
        else:
            assert value == new[key]
