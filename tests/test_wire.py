"""Write requests: the fast reader and writer agree with the protobuf library on every message."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensordeck import protos
from tensordeck.errors import InvalidArgument
from tensordeck.ingest.wire import (
    RunWrite,
    SeriesWrite,
    decode_experiment_write,
    decode_run_write,
)
from tensordeck.ingest.wire_points import columns_to_time_series_data
from tensordeck.store.contract import NO_WALL_TIME, PayloadColumns, ScalarColumns
from tensordeck.store.resources import ValueType

SCALAR, TENSOR, BLOBS = ValueType

DOUBLES = st.integers(0, 2**64 - 1).map(lambda n: struct.unpack("<d", struct.pack("<Q", n))[0])
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1.0]), st.floats(), DOUBLES
)
STEPS = st.one_of(st.integers(0, 300), st.integers(0, 2**56 + 5), st.integers(-(2**63), 2**63 - 1))
NANOS = st.one_of(
    st.just(0), st.integers(0, 999).map(lambda n: n * 10**6), st.integers(0, 999_999_999)
)
WALL = st.tuples(
    st.one_of(
        st.integers(1_700_000_000, 1_800_000_000),
        st.integers(0, 9_223_372_035),
        st.integers(-9_223_372_035, 9_223_372_035),
    ),
    NANOS,
)
IDS = st.text(min_size=0, max_size=12)


def bits(values):
    return np.asarray(values, np.float64).view(np.int64).tolist()


def same(left: RunWrite, right: RunWrite) -> None:
    assert left.run_name == right.run_name
    assert len(left.series) == len(right.series)
    for one, other in zip(left.series, right.series, strict=True):
        assert one.time_series_id == other.time_series_id
        assert one.value_type == other.value_type
        assert one.columns.steps.tolist() == other.columns.steps.tolist()
        assert one.columns.wall_ns.tolist() == other.columns.wall_ns.tolist()
        if isinstance(one.columns, ScalarColumns):
            assert bits(one.columns.values) == bits(other.columns.values)
        else:
            assert one.columns.payloads == other.columns.payloads
            assert one.columns.versions == other.columns.versions
            assert one.columns.lengths == other.columns.lengths


def expected(message) -> RunWrite:
    """What a WriteTensorboardRunDataRequest says, read attribute by attribute."""
    series = []
    for data in message.time_series_data:
        points = data.values
        walls = [
            p.wall_time.seconds * 10**9 + p.wall_time.nanos
            if p.HasField("wall_time")
            else NO_WALL_TIME
            for p in points
        ]
        columns = ScalarColumns(
            np.array([p.step for p in points], np.int64),
            np.array(walls, np.int64),
            np.array([p.scalar.value for p in points], np.float64),
        )
        series.append(SeriesWrite(data.tensorboard_time_series_id, SCALAR, columns))
    return RunWrite(message.tensorboard_run, series)


POINTS = st.lists(st.tuples(STEPS, st.one_of(st.none(), WALL, WALL, WALL), VALUES), max_size=8)
USUAL = st.lists(
    st.tuples(st.integers(0, 2**40), st.tuples(st.integers(2**28, 2**32), NANOS), VALUES),
    min_size=1,
    max_size=12,
)


@st.composite
def run_requests(draw, points=POINTS):
    request = protos.message("WriteTensorboardRunDataRequest")(tensorboard_run=draw(IDS))
    for _ in range(draw(st.integers(0, 4))):
        series = request.time_series_data.add(tensorboard_time_series_id=draw(IDS), value_type=1)
        for step, wall, value in draw(points):
            point = series.values.add(step=step)
            point.scalar.value = value
            if wall is not None:
                point.wall_time.seconds, point.wall_time.nanos = wall
    return request


@given(run_requests())
def test_any_scalar_request_reads_as_the_protobuf_library_reads_it(request):
    same(decode_run_write(request.SerializeToString()), expected(request))


@given(run_requests(points=USUAL))
@settings(max_examples=200)
def test_usual_scalars_read_as_the_protobuf_library_reads_them(request):
    same(decode_run_write(request.SerializeToString()), expected(request))


@given(st.lists(run_requests(points=USUAL), max_size=3), IDS)
def test_an_experiment_request_is_its_runs(runs, experiment):
    request = protos.message("WriteTensorboardExperimentDataRequest")(
        tensorboard_experiment=experiment, write_run_data_requests=runs
    )
    name, writes = decode_experiment_write(request.SerializeToString())
    assert name == experiment
    assert len(writes) == len(runs)
    for write, run in zip(writes, runs, strict=True):
        same(write, expected(run))


@given(run_requests(points=USUAL), st.data())
@settings(max_examples=300)
def test_damaged_bytes_read_as_the_protobuf_library_reads_them(request, data):
    raw = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        if raw:
            at = data.draw(st.integers(0, len(raw) - 1))
            raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    kind = protos.message("WriteTensorboardRunDataRequest")
    try:
        parsed = kind.FromString(bytes(raw))
    except Exception:  # noqa: BLE001 -- whatever the library calls it
        with pytest.raises(InvalidArgument):
            decode_run_write(bytes(raw))
        return
    try:
        decoded = decode_run_write(bytes(raw))
    except InvalidArgument:
        return
    if all(series.value_type is SCALAR for series in decoded.series):
        same(decoded, expected(parsed))


@given(run_requests(points=USUAL), run_requests(points=USUAL))
def test_concatenated_requests_merge(one, two):
    """The bytes of two messages in a row are one message, as the encoding defines."""
    raw = one.SerializeToString() + two.SerializeToString()
    merged = protos.message("WriteTensorboardRunDataRequest").FromString(raw)
    same(decode_run_write(raw), expected(merged))


def usual_request(points: int, series: int = 1, value: float = 0.5) -> bytes:
    request = protos.message("WriteTensorboardRunDataRequest")(tensorboard_run="r")
    for number in range(series):
        data = request.time_series_data.add(
            tensorboard_time_series_id=str(10**17 + number), value_type=1
        )
        for step in range(points):
            point = data.values.add(step=step)
            point.wall_time.seconds = 1_760_000_000 + step
            point.wall_time.nanos = step % 1000 * 10**6
            point.scalar.value = value
    return request.SerializeToString()


def test_unknown_fields_are_ignored():
    raw = usual_request(100) + b"\xfa\x07\x03abc"
    assert len(decode_run_write(raw).series[0].columns.steps) == 100


@pytest.mark.parametrize("cut", [1, 5, 11, 12, 500])
def test_a_truncated_request_is_refused(cut):
    with pytest.raises(InvalidArgument, match="truncated"):
        decode_run_write(usual_request(200)[:-cut])


def series_request(**options):
    request = protos.message("WriteTensorboardRunDataRequest")(tensorboard_run="r")
    data = request.time_series_data.add(tensorboard_time_series_id="77", **options)
    return request, data


def test_mixed_kinds_are_refused_by_the_name_of_the_series():
    request, data = series_request(value_type=1)
    data.values.add().scalar.value = 1
    data.values.add().tensor.value = b"x"
    with pytest.raises(InvalidArgument, match=r'"77".*scalar, tensor'):
        decode_run_write(request.SerializeToString())


def test_a_point_without_a_value_is_refused():
    request, data = series_request(value_type=1)
    data.values.add(step=4)
    with pytest.raises(InvalidArgument, match=r'"77".*no value'):
        decode_run_write(request.SerializeToString())


def test_a_kind_that_is_not_the_declared_one_is_refused():
    request, data = series_request(value_type=2)
    data.values.add().scalar.value = 1
    with pytest.raises(InvalidArgument, match=r'"77" is TENSOR.*SCALAR'):
        decode_run_write(request.SerializeToString())


def test_an_undeclared_kind_is_that_of_the_points():
    request, data = series_request()
    data.values.add().tensor.value = b"x"
    assert decode_run_write(request.SerializeToString()).series[0].value_type is TENSOR


@pytest.mark.parametrize(
    ("seconds", "nanos"),
    [(9_223_372_037, 0), (-9_223_372_037, 0), (253_402_300_799, 0), (1, -1), (1, 10**9)],
)
def test_a_wall_time_out_of_range_is_refused(seconds, nanos):
    request, data = series_request(value_type=1)
    for _ in range(100):
        point = data.values.add(step=1)
        point.scalar.value = 1
        point.wall_time.seconds, point.wall_time.nanos = seconds, nanos
    with pytest.raises(InvalidArgument, match="`wall_time`"):
        decode_run_write(request.SerializeToString())


def test_blob_sequences_keep_references_only():
    request, data = series_request(value_type=3)
    point = data.values.add()
    point.blobs.values.add(id="a", data=b"secret bytes")
    point.blobs.values.add(id="b")
    columns = decode_run_write(request.SerializeToString()).series[0].columns
    assert isinstance(columns, PayloadColumns)
    assert columns.lengths == [2]
    assert columns.wall_ns.tolist() == [NO_WALL_TIME]
    sequence = protos.message("TensorboardBlobSequence").FromString(columns.payloads[0])
    assert [(blob.id, blob.data) for blob in sequence.values] == [("a", b""), ("b", b"")]


def test_tensors_keep_bytes_and_version():
    request, data = series_request(value_type=2)
    point = data.values.add(step=-3)
    point.tensor.value, point.tensor.version_number = b"\0\1", 9
    columns = decode_run_write(request.SerializeToString()).series[0].columns
    assert (columns.payloads, columns.versions, columns.steps.tolist()) == ([b"\0\1"], [9], [-3])


WALL_NS = st.one_of(
    st.just(NO_WALL_TIME),
    st.integers(1_700_000_000_000, 1_800_000_000_000).map(lambda n: n * 10**6),
    st.integers(-(2**63) + 1, 2**63 - 1),
)


@given(
    IDS,
    st.one_of(
        st.lists(st.tuples(STEPS, WALL_NS, VALUES), max_size=10),
        st.lists(
            st.tuples(st.integers(0, 2**56 - 1), st.integers(2**28 * 10**9, 2**63 - 1), VALUES)
        ),
    ),
)
@settings(max_examples=300)
def test_written_scalars_parse_as_they_were(series_id, points):
    steps, walls, values = zip(*points, strict=True) if points else ((), (), ())
    columns = ScalarColumns(
        np.array(steps, np.int64), np.array(walls, np.int64), np.array(values, np.float64)
    )
    raw = columns_to_time_series_data(series_id, SCALAR, columns)
    message = protos.message("TimeSeriesData").FromString(raw)
    assert (message.tensorboard_time_series_id, message.value_type) == (series_id, 1)
    request = protos.message("WriteTensorboardRunDataRequest")(time_series_data=[message])
    same(expected(request), RunWrite("", [SeriesWrite(series_id, SCALAR, columns)]))
    assert all(point.WhichOneof("value") == "scalar" for point in message.values)


def test_many_scalars_are_written_in_pieces():
    count = 150_000
    steps = np.arange(count, dtype=np.int64)
    columns = ScalarColumns(steps, steps + 1_760_000_000 * 10**9, np.sin(steps))
    raw = columns_to_time_series_data("s", SCALAR, columns)
    message = protos.message("TimeSeriesData").FromString(raw)
    assert [point.step for point in message.values] == list(range(count))
    assert [point.scalar.value for point in message.values] == columns.values.tolist()


@pytest.mark.parametrize("kind", [TENSOR, BLOBS])
def test_written_payloads_parse_as_they_were(kind):
    sequence = protos.message("TensorboardBlobSequence")()
    sequence.values.add(id="a")
    payload = b"tensor" if kind is TENSOR else sequence.SerializeToString()
    columns = PayloadColumns(
        np.array([1, 2], np.int64),
        np.array([NO_WALL_TIME, 5], np.int64),
        [payload, b""],
        [3, 0],
        [0, 0],
    )
    raw = columns_to_time_series_data("s", kind, columns)
    first, second = protos.message("TimeSeriesData").FromString(raw).values
    assert not first.HasField("wall_time")
    assert second.wall_time.nanos == 5
    if kind is TENSOR:
        assert (first.tensor.value, first.tensor.version_number) == (b"tensor", 3)
    else:
        assert [blob.id for blob in first.blobs.values] == ["a"]
        assert second.WhichOneof("value") == "blobs"
