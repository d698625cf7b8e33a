"""Requests decoded together read as each of them reads alone."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck import protos
from tensordeck.errors import InvalidArgument
from tensordeck.ingest import wire_group
from tensordeck.ingest.wire import decode_experiment_write, decode_run_write
from tensordeck.ingest.wire_group import Request, decode_together
from tensordeck.ingest.wire_scalars import read_joined_scalars
from tests.test_wire import USUAL, run_requests, usual_request

COMPILED = wire_group.read_scalars


@pytest.fixture(
    autouse=True,
    scope="module",
    params=[
        "compiled",
        # Quick only where it is what the server reads with.
        pytest.param("numpy", marks=pytest.mark.heavy if COMPILED else ()),
    ],
)
def _reader(request):
    """Both ways of reading; the server takes the compiled one where it is."""
    if request.param == "compiled" and COMPILED is None:
        pytest.skip("the reader was not compiled here: there is no C compiler")
    wire_group.read_scalars = COMPILED if request.param == "compiled" else None
    yield
    wire_group.read_scalars = COMPILED


def _request(runs, whole_experiment):
    if not whole_experiment:
        return Request(runs[0].SerializeToString(), whole_experiment=False)
    message = protos.message("WriteTensorboardExperimentDataRequest")(tensorboard_experiment="e")
    for run in runs:
        message.write_run_data_requests.add().CopyFrom(run)
    return Request(message.SerializeToString(), whole_experiment=True)


def _alone(request):
    """What `ingest.wire` makes of a request: (experiment, runs), or None if it refuses it."""
    try:
        if request.whole_experiment:
            return decode_experiment_write(request.data)
        return "", [decode_run_write(request.data)]
    except InvalidArgument:
        return None


def _check(requests):
    together = decode_together(requests)
    assert len(together) == len(requests)
    for request, write in zip(requests, together, strict=True):
        if write is None:
            continue
        experiment, runs = _alone(request)
        assert write.experiment == experiment
        assert [run.run_name for run in write.runs] == [run.run_name for run in runs]
        for ours, theirs in zip(write.runs, runs, strict=True):
            filled = [series for series in theirs.series if len(series.columns.steps)]
            assert ours.ids == [series.time_series_id for series in filled]
            assert ours.counts == [len(series.columns.steps) for series in filled]
            for name in ("steps", "wall_ns", "values"):
                expected = [getattr(series.columns, name) for series in filled]
                joined = np.concatenate(expected) if expected else np.empty(0)
                assert getattr(ours.columns, name).tobytes() == joined.tobytes()
    return together


mixes = st.lists(
    st.builds(_request, st.lists(run_requests(), min_size=1, max_size=3), st.booleans()),
    min_size=1,
    max_size=6,
)
usual_mixes = st.lists(
    st.builds(
        _request, st.lists(run_requests(points=USUAL), min_size=1, max_size=3), st.booleans()
    ),
    min_size=1,
    max_size=6,
)


@given(mixes)
def test_any_requests(requests):
    _check(requests)


@given(usual_mixes, st.integers(1, 5000))
def test_usual_requests_in_pieces_of_any_size(requests, together_bytes):
    fast, pieces = wire_group.FAST_FROM_BYTES, wire_group.TOGETHER_BYTES
    wire_group.FAST_FROM_BYTES, wire_group.TOGETHER_BYTES = 0, together_bytes
    try:
        _check(requests)
    finally:
        wire_group.FAST_FROM_BYTES, wire_group.TOGETHER_BYTES = fast, pieces


@given(usual_mixes, st.data())
def test_damaged_request_does_not_touch_its_neighbours(requests, data):
    broken = bytearray(requests[0].data)
    if broken:
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    damaged = Request(bytes(broken), requests[0].whole_experiment)

    with_it = _check([damaged, *requests[1:]])
    without = _check(requests)

    for one, other in zip(with_it[1:], without[1:], strict=True):
        assert (one is None) == (other is None)


def test_damage_anywhere_in_a_point(monkeypatch):
    """Whatever the fast reader accepts, it reads as the library does."""
    monkeypatch.setattr(wire_group, "FAST_FROM_BYTES", 0)
    usual = usual_request(3, 2)
    for at in range(len(usual)):
        for byte in (0, 1, 0x1A, 0x7F, 0x80, 0xFF):
            _check([Request(usual[:at] + bytes([byte]) + usual[at + 1 :], whole_experiment=False)])
        _check([Request(usual[:at] + usual[at + 1 :], whole_experiment=False)])
        _check([Request(usual[:at], whole_experiment=False)])


@pytest.mark.parametrize("value", [0.5, 0.0])
def test_usual_requests_take_the_fast_way(monkeypatch, value):
    """No property of the result shows it, so a reader that always refuses would go unseen."""
    usual = usual_request(1000, 3, value)
    monkeypatch.setattr(protos, "message", lambda *_: pytest.fail("took the slow way"))
    (write,) = decode_together([Request(usual, whole_experiment=False)])
    assert write.runs[0].counts == [1000] * 3


def test_a_scalar_tag_inside_a_value_does_not_mislead():
    value = struct.unpack("<d", b"\x1a\x09\x09\x1a\x09\x09\x3f\x3f")[0]
    assert _check([Request(usual_request(200, 2, value), whole_experiment=False)]) != [None]


def test_two_messages_in_a_row_are_one():
    """As the encoding defines; the second one's run name counts."""
    raw = usual_request(100) + usual_request(50)
    _check([Request(raw, whole_experiment=False)])


def test_a_length_that_points_far_outside_is_refused_and_not_followed():
    raw = bytearray(usual_request(100))
    raw[30] = 0x7F
    assert read_joined_scalars(bytes(raw), [25], [len(raw)]) is None


def test_zero_negative_and_missing_steps():
    points = [
        {"step": step, "wall_time": {"seconds": 1, "nanos": 2}, "scalar": {"value": -0.0}}
        for step in (0, -1, -(2**63), 2**63 - 1)
    ]
    (write,) = _check([_request([_run(points)], whole_experiment=True)])
    assert write.runs[0].columns.steps.tolist() == [0, -1, -(2**63), 2**63 - 1]


@pytest.mark.parametrize(
    "wall", [{}, {"seconds": -1}, {"seconds": 2**40}, {"seconds": 1, "nanos": -1}]
)
def test_times_that_are_none_are_left_to_the_general_way(wall):
    points = [{"step": 1, "wall_time": wall, "scalar": {"value": 1.0}}]
    assert _check([_request([_run(points)], whole_experiment=False)]) == [None]


def test_fields_in_another_order_and_given_twice():
    usual = usual_request(1)
    message = protos.message("WriteTensorboardRunDataRequest").FromString(usual)
    data = message.time_series_data[0]
    swapped = b"\x10\x01" + _length_delimited(0x0A, data.tensorboard_time_series_id.encode())
    swapped += _length_delimited(0x1A, data.values[0].SerializeToString())
    run = _length_delimited(0x0A, message.tensorboard_run.encode())
    for raw in (
        _length_delimited(0x12, swapped) + run,
        run + _length_delimited(0x12, swapped) + run,
        run + _length_delimited(0x12, swapped + b"\x10\x00"),
        run + _length_delimited(0x12, swapped + _length_delimited(0x0A, b"\xff")),
    ):
        _check([Request(raw, whole_experiment=False)])


def _run(points):
    return protos.message("WriteTensorboardRunDataRequest")(
        tensorboard_run="r",
        time_series_data=[
            {"tensorboard_time_series_id": "1", "value_type": "SCALAR", "values": points}
        ],
    )


def _length_delimited(tag, data):
    assert len(data) < 0x80
    return bytes((tag, len(data))) + data
