"""Stored bytes that were altered are refused, whichever byte it is; other runs go on."""

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tensordeck import errors
from tensordeck.settings import Settings
from tensordeck.store.checksum import Damaged, sealed
from tensordeck.store.database import open_database
from tensordeck.store.journal import decode_rows, encode_row
from tensordeck.store.payload_rows import open_payload, pack
from tensordeck.store.resources import Run, ValueType
from tensordeck.store.segments import decode_segment, encode_segment
from tests.store.points_place import EXPERIMENT, Place, open_place, payloads
from tests.store.test_segments import columns, same


@st.composite
def altered(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with one of them changed, or cut short."""
    at = draw(st.integers(0, len(data) - 1))
    if draw(st.integers(0, 9)) == 0:
        return data[:at]
    return data[:at] + bytes((data[at] ^ draw(st.integers(1, 255)),)) + data[at + 1 :]


@given(columns(), st.data())
@settings(max_examples=150, deadline=None)
def test_no_altered_segment_is_read(points, data):
    damaged = data.draw(altered(encode_segment(points)))
    with pytest.raises(Damaged):
        decode_segment(damaged, len(points.steps))


@given(st.lists(st.tuples(st.integers(1, 4), columns(max_size=90)), max_size=3), st.data())
@settings(max_examples=150, deadline=None)
def test_no_altered_journal_row_is_read(chunks, data):
    damaged = data.draw(altered(encode_row(chunks)))
    with pytest.raises(Damaged, match="7"):
        decode_rows([(7, damaged)])


ROW = st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))


@given(st.binary(max_size=300), ROW, st.data())
@settings(max_examples=150, deadline=None)
def test_no_altered_payload_is_read(payload, row, data):
    step, wall_ns = row
    key = (1, 2)
    columns = payloads(key, {step: payload}).columns
    columns.wall_ns[0] = wall_ns
    ((wall, version, blob_count, stored),) = pack(*key, columns).rows.values()
    assert open_payload(stored, step, wall, version, blob_count) == payload
    damaged = data.draw(altered(stored))
    with contextlib.suppress(Damaged):
        # Cut where the checksum begins, it is as an older version would have written it.
        assert open_payload(damaged, step, wall, version, blob_count) == payload
    with pytest.raises(Damaged):
        open_payload(stored, step ^ 1, wall, version, blob_count)


@given(columns(), st.data())
@settings(max_examples=100, deadline=None)
def test_what_older_versions_wrote_is_read_or_refused_as_damage(points, data):
    count = len(points.steps)
    segment = b"\x01" + encode_segment(points)[1:-4]
    same(decode_segment(segment, count), points)
    row = b"TDJ1" + encode_row([(3, points)])[4:-4]
    sealed_row = sealed(b"TDJ2" + row[4:])
    for stored in (row, sealed_row):
        same(decode_rows([(1, stored)])[3].points, points)
    for whole, read in (
        (segment, lambda data: decode_segment(data, count)),
        (row, lambda data: decode_rows([(1, data)])),
        (sealed_row, lambda data: decode_rows([(1, data)])),
    ):
        cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
        with pytest.raises(Damaged):
            read(cut)


def test_a_payload_of_an_older_version_is_read():
    packed = pack(1, 2, payloads((1, 2), {5: b"content" * 9}).columns)
    wall_ns, version, blob_count, stored = packed.rows[5]
    assert open_payload(stored[:-12], 5, wall_ns, version, blob_count) == b"content" * 9


@pytest.fixture
def place(settings: Settings) -> Iterator[Place]:
    with open_place(settings) as place:
        place.make_experiment()
        yield place


def alter(settings: Settings, statement: str, **values: object) -> None:
    """Changes what is stored behind the store's back."""
    database = open_database(settings)
    try:
        database.write(lambda connection: connection.execute(text(statement), values) and None)
    finally:
        database.close()


def flip(settings: Settings, table: str, column: str, key: str, value: int) -> None:
    """Flips a bit in the middle of what a row holds."""
    database = open_database(settings)
    where = f"FROM {table} WHERE {key} = {value}"
    try:
        with database.read() as connection:
            held = bytes(connection.execute(text(f"SELECT {column} {where}")).scalars().first())
    finally:
        database.close()
    middle = len(held) // 2
    damaged = held[:middle] + bytes((held[middle] ^ 0x10,)) + held[middle + 1 :]
    alter(settings, f"UPDATE {table} SET {column} = :d WHERE {key} = {value}", d=damaged)  # noqa: S608 -- our own names


def test_damage_in_a_segment_is_told_with_the_series_name(place, settings):
    (key, sound) = place.make_run("r", 2)
    place.write(key, range(5), range(5))
    place.write(sound, range(5), range(5))
    place.points.fold()
    flip(settings, "segments", "data", "series_pk", key[1])

    with pytest.raises(errors.DataLoss, match=r"runs/r/timeSeries/0 .*restore a backup"):
        place.read(key)
    assert place.read(sound) == [(step, float(step)) for step in range(5)]


def test_damage_in_the_journal_stops_one_run_only(place, settings):
    (key,) = place.make_run("r", 1)
    (sound,) = place.make_run("sound", 1)
    place.write(key, [1], [1.0])
    place.write(sound, [1], [1.0])
    flip(settings, "journal", "payload", "run_pk", key[0])

    with pytest.raises(errors.DataLoss, match="runs/r are damaged"):
        place.read(key)
    assert place.points.fold() == 1
    place.write(key, [2], [2.0])
    place.write(sound, [2], [2.0])
    assert place.points.fold() == 1
    assert place.read(sound) == [(1, 1.0), (2, 2.0)]
    with pytest.raises(errors.DataLoss):
        place.read(key)
    found = place.points.summaries([key, sound])
    assert found[sound[1]].count == 2
    assert found[key[1]].last == 2.0


def test_new_points_never_join_a_damaged_segment(place, settings):
    (key,) = place.make_run("r", 1)
    place.write(key, range(5), range(5))
    place.points.fold()
    flip(settings, "segments", "data", "series_pk", key[1])

    place.write(key, range(5, 9), range(5, 9))
    assert place.points.fold() == 0
    with pytest.raises(errors.DataLoss):
        place.read(key)


@pytest.mark.parametrize(
    "loss",
    [
        "DELETE FROM segments WHERE first_step = 8",
        "UPDATE segments SET first_step = first_step + 100 WHERE first_step = 0",
        "UPDATE segments SET point_count = point_count - 1 WHERE first_step = 8",
    ],
)
def test_a_segment_that_is_gone_or_at_the_wrong_place_is_missed(place, settings, loss):
    (key,) = place.make_run("r", 1)
    place.write(key, range(24), range(24))
    place.points.fold()
    alter(settings, loss)

    with pytest.raises(errors.DataLoss, match="timeSeries/0"):
        place.read(key)


@pytest.mark.parametrize(
    "loss",
    [
        "DELETE FROM payloads WHERE step = 2",
        "UPDATE payloads SET wall_ns = wall_ns + 1 WHERE step = 2",
        "UPDATE payloads SET blob_count = 3 WHERE step = 2",
    ],
)
@pytest.mark.parametrize("limit", [None, 3])
def test_altered_tensors_are_refused(place, settings, loss, limit):
    (key,) = place.make_run("r", 1, ValueType.TENSOR)
    place.points.append([payloads(key, {1: b"one", 2: b"two", 3: b"three"})])
    alter(settings, loss)

    with pytest.raises(errors.DataLoss, match="timeSeries/0"):
        place.points.read_payloads([key], limit=limit)


def test_a_flipped_tensor_is_refused(place, settings):
    (key,) = place.make_run("r", 1, ValueType.TENSOR)
    place.points.append([payloads(key, {1: b"one" * 50})])
    flip(settings, "payloads", "data", "series_pk", key[1])

    with pytest.raises(errors.DataLoss, match="step 1"):
        place.points.read_payloads([key])


def test_a_run_with_damage_can_be_deleted(place, settings):
    (key,) = place.make_run("r", 1)
    place.write(key, [1], [1.0])
    flip(settings, "journal", "payload", "run_pk", key[0])
    place.catalog.delete(Run, f"{EXPERIMENT}/runs/r")
    (key,) = place.make_run("r", 1)
    place.write(key, [1], [1.0])
    assert place.read(key) == [(1, 1.0)]
