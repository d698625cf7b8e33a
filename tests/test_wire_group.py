"""Requests decoded together read as each of them reads alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tensordeck import protos
from tensordeck.errors import InvalidArgument
from tensordeck.ingest import wire_group
from tensordeck.ingest.wire import decode_experiment_write, decode_run_write
from tensordeck.ingest.wire_group import Request, decode_together
from tests.test_wire import USUAL, run_requests


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


@settings(max_examples=200)
@given(usual_mixes, st.integers(1, 5000))
def test_usual_requests_in_pieces_of_any_size(requests, together_bytes):
    fast, pieces = wire_group.FAST_FROM_BYTES, wire_group.TOGETHER_BYTES
    wire_group.FAST_FROM_BYTES, wire_group.TOGETHER_BYTES = 0, together_bytes
    try:
        _check(requests)
    finally:
        wire_group.FAST_FROM_BYTES, wire_group.TOGETHER_BYTES = fast, pieces


@settings(max_examples=200)
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
