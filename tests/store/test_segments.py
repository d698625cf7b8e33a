"""Packed columns give back every bit; merging keeps segments apart and small."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tensordeck.store.contract import NO_WALL_TIME, ScalarColumns
from tensordeck.store.journal import decode_rows, encode_row
from tensordeck.store.merging import Segment, merge_points, tail_step
from tensordeck.store.segments import decode_segment, encode_segment

WORDS = st.integers(-(2**63), 2**63 - 1)
WALLS = st.one_of(
    WORDS,
    st.just(NO_WALL_TIME),
    st.integers(1_700_000_000_000, 1_800_000_000_000).map(lambda ms: ms * 10**6),
)


@st.composite
def columns(draw, max_size=60, steps=WORDS):
    count = draw(st.integers(1, max_size))
    chosen = sorted(draw(st.sets(steps, min_size=count, max_size=count)))
    evenly = draw(st.booleans())
    walls = draw(
        hnp.arrays(np.int64, count, elements=draw(st.sampled_from([WALLS, WALLS, st.just(5)])))
    )
    if draw(st.booleans()):
        values = draw(hnp.arrays(np.float32, count)).astype(np.float64)
    else:
        values = draw(hnp.arrays(np.int64, count, elements=WORDS)).view(np.float64)
    array = np.arange(count, dtype=np.int64) * 10 if evenly else np.array(chosen, np.int64)
    return ScalarColumns(array, walls, values)


def same(one: ScalarColumns, other: ScalarColumns) -> None:
    assert one.steps.tolist() == other.steps.tolist()
    assert one.wall_ns.tolist() == other.wall_ns.tolist()
    assert one.values.view(np.int64).tolist() == other.values.view(np.int64).tolist()


@given(columns())
@settings(max_examples=300, deadline=None)
def test_segments_give_back_every_bit(points):
    same(decode_segment(encode_segment(points), len(points.steps)), points)


@pytest.mark.parametrize("count", [2_047, 2_048, 8_192])
@pytest.mark.parametrize("kind", ["noise", "float32", "constant", "any bits", "decimal"])
def test_long_segments_give_back_every_bit(count, kind):
    rng = np.random.default_rng(count)
    values = {
        "noise": rng.normal(size=count),
        "float32": rng.normal(size=count).astype(np.float32).astype(np.float64),
        "constant": np.full(count, 1e-3),
        "any bits": rng.integers(-(2**63), 2**63 - 1, count).view(np.float64),
        "decimal": np.round(rng.random(count), 3),
    }[kind]
    steps = np.unique(rng.integers(-(2**62), 2**62, count))
    walls = rng.integers(-(2**63), 2**63 - 1, count)
    points = ScalarColumns(steps, walls[: len(steps)], values[: len(steps)])
    same(decode_segment(encode_segment(points), len(steps)), points)


def test_steps_from_end_to_end_of_the_range():
    steps = np.array([-(2**63), 0, 2**63 - 1], np.int64)
    points = ScalarColumns(steps, steps, steps.view(np.float64))
    same(decode_segment(encode_segment(points), 3), points)


@pytest.mark.parametrize("damage", [b"", b"\x03", b"\x00"])
def test_an_unknown_format_is_refused(damage):
    with pytest.raises(ValueError, match="format"):
        decode_segment(damage, 3)


def test_a_segment_of_another_length_is_refused():
    points = ScalarColumns(np.arange(3), np.arange(3), np.arange(3.0))
    with pytest.raises(ValueError, match="3 points"):
        decode_segment(encode_segment(points), 2)


@given(st.lists(st.tuples(st.integers(1, 4), columns(max_size=90)), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_journal_rows_give_back_the_last_written(chunks):
    rows = [(seq, encode_row([chunk])) for seq, chunk in enumerate(chunks)]
    whole = [(len(chunks), encode_row(chunks))]
    expected: dict[int, dict[int, tuple[int, int]]] = {}
    for pk, points in chunks:
        triples = zip(
            points.steps.tolist(),
            points.wall_ns.tolist(),
            points.values.view(np.int64).tolist(),
            strict=True,
        )
        expected.setdefault(pk, {}).update({step: (wall, bits) for step, wall, bits in triples})
    for source in (rows, whole):
        batches = decode_rows(source)
        assert set(batches) == set(expected)
        for pk, points in expected.items():
            found = batches[pk].points
            assert found.steps.tolist() == sorted(points)
            words = (found.wall_ns.tolist(), found.values.view(np.int64).tolist())
            assert list(zip(*words, strict=True)) == [points[step] for step in sorted(points)]
    only = decode_rows(rows, {1})
    assert set(only) == set(expected) & {1}


@pytest.mark.parametrize("cut", [1, 8, 30])
def test_a_damaged_journal_row_is_refused(cut):
    points = ScalarColumns(np.arange(3), np.arange(3), np.arange(3.0))
    with pytest.raises(ValueError, match="damaged"):
        decode_rows([(1, encode_row([(1, points)])[:-cut])])


BATCHES = st.lists(st.sets(st.integers(0, 80), min_size=1, max_size=25), min_size=1, max_size=12)


@given(BATCHES)
@settings(max_examples=200, deadline=None)
def test_merging_keeps_segments_apart(batches):
    limit = 8
    stored: dict[Segment, ScalarColumns] = {}
    expected: dict[int, float] = {}
    for number, steps in enumerate(batches):
        array = np.array(sorted(steps), np.int64)
        new = ScalarColumns(array, array, np.full(len(array), float(number)))
        expected.update(dict.fromkeys(steps, float(number)))
        merge = merge_points(sorted(stored), new, stored.__getitem__, limit)
        before = sum(segment.point_count for segment in stored)
        for segment in merge.removed:
            del stored[segment]
        for points in merge.added:
            first, last = int(points.steps[0]), int(points.steps[-1])
            stored[Segment(first, last, len(points.steps), 0)] = points
        segments = sorted(stored)
        assert all(0 < segment.point_count <= limit for segment in segments)
        assert all(one.last_step < other.first_step for one, other in pairwise(segments))
        assert sum(segment.point_count for segment in segments) == before + merge.grown
        assert any(segment.first_step == tail_step(segments, limit) for segment in segments)
    found = {
        step: value
        for points in stored.values()
        for step, value in zip(points.steps.tolist(), points.values.tolist(), strict=True)
    }
    assert found == expected


def test_appending_rewrites_each_point_a_logarithmic_number_of_times():
    limit, batch, batches = 1_024, 8, 1_024
    stored: dict[Segment, ScalarColumns] = {}
    rewritten = 0
    for number in range(batches):
        steps = np.arange(number * batch, number * batch + batch)
        merge = merge_points(
            sorted(stored), ScalarColumns(steps, steps, steps * 1.0), stored.__getitem__, limit
        )
        for segment in merge.removed:
            del stored[segment]
        for points in merge.added:
            rewritten += len(points.steps)
            first, last = int(points.steps[0]), int(points.steps[-1])
            stored[Segment(first, last, len(points.steps), 0)] = points
    assert rewritten <= batch * batches * 10
    assert len(stored) <= batches * batch / limit + 10
