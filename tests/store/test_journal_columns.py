"""The compiled and the plain way through a journal row's columns come to the same."""

import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tensordeck.store import journal, journal_numpy
from tensordeck.store.checksum import Damaged, sealed
from tensordeck.store.contract import ScalarColumns
from tensordeck.store.journal import decode_rows, encode_columns

journal_columns = pytest.importorskip("tensordeck.store.journal_columns", reason="not compiled")

WORDS = st.integers(-(2**63), 2**63 - 1)
NEAR = st.integers(0, 2**33)
MILLISECONDS = st.integers(0, 2**33).map(lambda ms: 1_760_000_000_000_000_000 + ms * 10**6)
FLOATS = st.one_of(
    st.floats(width=32),
    st.floats(),
    WORDS.map(lambda bits: struct.unpack("<d", struct.pack("<q", bits))[0]),
)


@st.composite
def columns(draw):
    count = draw(st.integers(1, 90))
    steps = draw(hnp.arrays(np.int64, count, elements=draw(st.sampled_from([WORDS, NEAR]))))
    walls = draw(hnp.arrays(np.int64, count, elements=draw(st.sampled_from([WORDS, MILLISECONDS]))))
    narrow = draw(st.booleans())
    values = draw(hnp.arrays(np.float64, count, elements=st.floats(width=32) if narrow else FLOATS))
    return ScalarColumns(steps, walls, values)


@st.composite
def chunked(draw):
    """Columns of chunks of one length, mostly with the same steps or times, and that length."""
    first = draw(columns())
    each, chunks = len(first.steps), draw(st.integers(1, 40))
    steps, walls = np.tile(first.steps, chunks), np.tile(first.wall_ns, chunks)
    for words in draw(st.lists(st.sampled_from([steps, walls]), max_size=2)):
        words[draw(st.integers(0, len(words) - 1))] = draw(WORDS)
    values = draw(hnp.arrays(np.float64, each * chunks, elements=FLOATS, fill=st.just(0.5)))
    return ScalarColumns(steps, walls, values), each


EXTREMES = np.array([-(2**63), 2**63 - 1], np.int64)


@given(chunked())
@example((ScalarColumns(EXTREMES, EXTREMES, EXTREMES.view(np.float64)), 2))
@settings(max_examples=300, deadline=None)
def test_both_shorten_alike(found):
    points, each = found
    arguments = points.steps, points.wall_ns, points.values, each
    assert journal_columns.shorten(*arguments) == journal_numpy.shorten(*arguments)


@pytest.mark.parametrize("module", [journal_columns, journal_numpy])
@given(found=chunked(), wanted=st.one_of(st.none(), st.sets(st.integers(0, 40))))
@settings(max_examples=200, deadline=None)
def test_chunks_of_one_length_come_back_whatever_they_share(module, found, wanted):
    points, each = found
    pks = list(range(len(points.steps) // each))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "shorten", module.shorten)
        patch.setattr(journal, "gather", module.gather)
        row = encode_columns(pks, [each] * len(pks), points)
        read = decode_rows([(7, row)], wanted)
    assert set(read) == set(pks if wanted is None else wanted.intersection(pks))
    for pk, batch in read.items():
        own = slice(pk * each, (pk + 1) * each)
        expected = journal.in_step_order(
            ScalarColumns(points.steps[own], points.wall_ns[own], points.values[own])
        )
        assert batch.points.steps.tolist() == expected.steps.tolist()
        assert batch.points.wall_ns.tolist() == expected.wall_ns.tolist()
        assert batch.points.values.tobytes() == expected.values.tobytes()


def test_what_all_series_of_a_request_share_is_written_once():
    count, each = 100, 10
    steps = np.tile(np.arange(each), count)
    points = ScalarColumns(steps, steps * 10**6, np.full(count * each, 0.5))
    written = encode_columns(range(count), [each] * count, points)
    others = ScalarColumns(np.arange(count * each), points.wall_ns, points.values)
    more = len(encode_columns(range(count), [each] * count, others)) - len(written)
    assert more == 4 * each * (count - 1)


def repeated_row(counts):
    """A row of three series of two points each, with other counts."""
    steps = np.tile(np.arange(30), 3)
    row = bytearray(
        encode_columns([1, 2, 3], [30, 30, 30], ScalarColumns(steps, steps, steps.astype(float)))
    )[:-4]
    struct.pack_into("<3q", row, 64, *counts)
    return sealed(bytes(row))


@pytest.mark.parametrize("module", [journal_columns, journal_numpy])
def test_unequal_chunks_with_repeated_columns_are_refused(module, monkeypatch):
    monkeypatch.setattr(journal, "gather", module.gather)
    assert set(decode_rows([(5, repeated_row([30, 30, 30]))])) == {1, 2, 3}
    with pytest.raises(Damaged, match="journal row 5 is damaged: its counts"):
        decode_rows([(5, repeated_row([20, 40, 30]))])


def comparable(series):
    """With NaN, which is not equal to itself, as a text."""
    return [str(field) if field != field else field for field in series]  # noqa: PLR0124 -- NaN


@given(
    st.lists(
        st.tuples(columns(), st.lists(st.integers(1, 4), min_size=1, max_size=6)),
        min_size=1,
        max_size=5,
    ),
    st.one_of(st.none(), st.sets(st.integers(1, 5))),
)
@settings(max_examples=300, deadline=None)
def test_both_gather_alike(written, wanted):
    rows = []
    for seq, (points, keys) in enumerate(written, 7):
        total = len(points.steps)
        chunks = min(len(keys), total)
        counts = [1] * (chunks - 1) + [total - chunks + 1]
        rows.append((seq, encode_columns(keys[:chunks], counts, points)))
    opened = [journal._opened(seq, payload) for seq, payload in rows]
    found, *compiled = journal_columns.gather(opened, wanted)
    expected, *plain = journal_numpy.gather(opened, wanted)
    assert list(map(comparable, found)) == list(map(comparable, expected))
    for one, other in zip(compiled, plain, strict=True):
        assert one.view(np.int64).tolist() == other.view(np.int64).tolist()


@pytest.mark.parametrize("counts", [(1, 1), (3, 1), (-1, 4), (0, 3), (2**62, 3 - 2**62)])
@pytest.mark.parametrize("module", [journal_columns, journal_numpy])
def test_counts_that_do_not_add_up_are_refused(counts, module, monkeypatch):
    points = ScalarColumns(np.arange(3), np.arange(3), np.arange(3.0))
    row = bytearray(encode_columns([1, 2], [1, 2], points)[:-4])
    struct.pack_into("<2q", row, 56, *counts)
    monkeypatch.setattr(journal, "gather", module.gather)
    with pytest.raises(Damaged, match="journal row 5 is damaged: its counts"):
        decode_rows([(5, sealed(bytes(row)))])
