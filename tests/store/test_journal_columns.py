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


EXTREMES = np.array([-(2**63), 2**63 - 1], np.int64)


@given(columns())
@example(ScalarColumns(EXTREMES, EXTREMES, EXTREMES.view(np.float64)))
@settings(max_examples=300, deadline=None)
def test_both_shorten_alike(points):
    triple = points.steps, points.wall_ns, points.values
    assert journal_columns.shorten(*triple) == journal_numpy.shorten(*triple)


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
