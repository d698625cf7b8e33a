"""The contract of `Points`, for every backend."""

import math
import threading

import numpy as np
import pytest

from tensordeck import errors
from tensordeck.store.contract import (
    NO_WALL_TIME,
    PayloadColumns,
    PointTotals,
    ScalarColumns,
    SeriesPoints,
)
from tensordeck.store.resources import Run, TimeSeries, ValueType
from tests.store.points_place import EAGER, EXPERIMENT, NEVER, open_place, payloads, scalars

LARGEST, SMALLEST = 2**63 - 1, -(2**63)


@pytest.fixture(params=["unfolded", "folded", "folding all the time"])
def place(request, settings):
    """A store, at each stage that points go through."""
    schedule = EAGER if request.param == "folding all the time" else NEVER
    with open_place(settings, schedule) as opened:
        opened.make_experiment()
        if request.param == "folded":
            append = opened.points.append

            def append_and_fold(batch):
                append(batch)
                opened.points.fold()

            opened.points.append = append_and_fold
        yield opened


@pytest.fixture
def series(place):
    return place.make_run("r", 3)


def test_a_series_without_points_is_empty(place, series):
    columns = place.points.read_scalars(series)
    assert set(columns) == {pk for _, pk in series}
    assert all(len(c.steps) == len(c.wall_ns) == len(c.values) == 0 for c in columns.values())
    summary = place.points.summaries(series[:1])[series[0][1]]
    assert (summary.count, summary.version, summary.max_wall_ns) == (0, 0, NO_WALL_TIME)
    assert math.isnan(summary.last)


def test_points_come_back_in_step_order(place, series):
    place.write(series[0], [5, 1, 3], [0.5, 0.1, 0.3])
    place.write(series[0], [2, 9], [0.2, 0.9])
    assert place.read(series[0]) == [(1, 0.1), (2, 0.2), (3, 0.3), (5, 0.5), (9, 0.9)]


def test_a_repeated_step_keeps_the_last_written(place, series):
    place.write(series[0], [1, 2, 1], [1, 2, 3])
    place.write(series[0], [2, 2], [4, 5], wall=100)
    assert place.read(series[0]) == [(1, 3), (2, 5)]
    assert place.points.read_scalars(series[:1])[series[0][1]].wall_ns.tolist() == [1, 102]


def test_the_same_series_twice_in_one_request_counts_in_order(place, series):
    place.points.append([scalars(series[0], [1], [1]), scalars(series[0], [1, 2], [2, 3])])
    assert place.read(series[0]) == [(1, 2), (2, 3)]


def test_series_do_not_mix(place, series):
    place.points.append([scalars(key, [1, 2], [n, n + 0.5]) for n, key in enumerate(series)])
    columns = place.points.read_scalars(series)
    assert [columns[pk].values.tolist() for _, pk in series] == [[0, 0.5], [1, 1.5], [2, 2.5]]


def test_extremes_keep_their_bits(place, series):
    steps = [SMALLEST, -1, 0, LARGEST - 1, LARGEST]
    odd_nan = np.array([0x7FF8DEADBEEF0001], np.int64).view(np.float64)[0]
    values = np.array([odd_nan, math.inf, -math.inf, -0.0, 5e-324])
    walls = np.array([NO_WALL_TIME, LARGEST, -1, 0, 1_760_000_000_123_456_789], np.int64)
    run_pk, series_pk = series[0]
    columns = ScalarColumns(np.array(steps, np.int64), walls, values)
    place.points.append([SeriesPoints(series_pk, run_pk, columns)])
    place.write(series[0], [7], [7])
    read = place.points.read_scalars(series[:1])[series_pk]
    kept = read.steps != 7
    assert read.steps[kept].tolist() == steps
    assert read.wall_ns[kept].tolist() == walls.tolist()
    assert read.values[kept].view(np.int64).tolist() == values.view(np.int64).tolist()


@pytest.mark.parametrize("order", ["forwards", "backwards", "inside out"])
def test_many_segments_stay_in_order(place, series, order):
    """40 points of segments of 8, a few at a time, in each order that merging treats apart."""
    chunks = [list(range(at, at + 4)) for at in range(0, 40, 4)]
    if order == "backwards":
        chunks.reverse()
    elif order == "inside out":
        chunks = chunks[1::2] + chunks[0::2]
    for chunk in chunks:
        place.write(series[0], chunk, [step / 2 for step in chunk])
    assert place.read(series[0]) == [(step, step / 2) for step in range(40)]
    assert place.points.summaries(series[:1])[series[0][1]].count == 40


def test_summaries_know_what_is_not_folded(place, series):
    place.write(series[0], [1, 4], [1.5, -2.0], wall=1000)
    place.write(series[0], [3, 4], [8.0, 2.5], wall=500)
    summary = place.points.summaries(series[:1])[series[0][1]]
    assert summary.count == 3
    assert summary.max_step == 4
    assert summary.max_wall_ns == 1004
    assert summary.last == 2.5
    assert (summary.minimum, summary.maximum) == (-2.0, 8.0)


def test_the_last_value_is_the_largest_steps(place, series):
    place.write(series[0], [-7], [1])
    place.write(series[0], [-9], [2])
    summary = place.points.summaries(series[:1])[series[0][1]]
    assert (summary.max_step, summary.last) == (-7, 1)


def test_extremes_count_finite_values_only(place, series):
    place.write(series[0], [1, 2, 3], [math.nan, math.inf, -math.inf])
    summary = place.points.summaries(series[:1])[series[0][1]]
    assert math.isnan(summary.minimum)
    assert math.isnan(summary.maximum)
    assert summary.last == -math.inf
    place.write(series[0], [4], [2.0])
    summary = place.points.summaries(series[:1])[series[0][1]]
    assert (summary.minimum, summary.maximum) == (2.0, 2.0)


def test_versions_grow_with_every_write_and_with_nothing_else(place, series):
    (run, first), (_, second), _ = series
    other = place.make_run("other", 1)[0]

    def versions():
        found = place.points.summaries([*series, other])
        return (
            *(place.points.run_versions([run, other[0]])[pk] for pk in (run, other[0])),
            found[first].version,
            found[second].version,
        )

    zero = versions()
    place.write(series[0], [1], [1])
    one = versions()
    assert one[0] > zero[0]
    assert one[1] == zero[1] == 0
    assert one[2] > zero[2]
    assert one[3] == zero[3]
    place.points.fold()
    assert versions() == one
    place.write(series[0], [1], [1])
    two = versions()
    assert two[0] > one[0]
    assert two[2] > one[2]
    place.write(series[1], [1], [1])
    three = versions()
    assert three[0] > two[0]
    assert three[2] == two[2]


def test_a_run_version_survives_its_series(place, series):
    place.write(series[0], [1], [1])
    before = place.points.run_versions([series[0][0]])
    place.catalog.delete(TimeSeries, f"{EXPERIMENT}/runs/r/timeSeries/0")
    assert place.points.run_versions([series[0][0]]) == before
    place.points.fold()
    assert place.points.run_versions([series[0][0]]) == before


def test_an_unknown_run_has_version_and_size_zero(place):
    assert place.points.run_versions([999]) == {999: 0}
    assert place.points.totals(Run, [999]) == {999: PointTotals()}


def test_appending_nothing_changes_nothing(place, series):
    place.points.append([])
    place.points.append([scalars(series[0], [], [])])
    assert place.points.run_versions([series[0][0]]) == {series[0][0]: 0}


def test_a_deleted_run_takes_no_points_and_leaves_none(place, series):
    place.write(series[0], [1], [1])
    place.catalog.delete(Run, f"{EXPERIMENT}/runs/r")
    other = place.make_run("other", 1)[0]
    with pytest.raises(errors.NotFound):
        place.points.append([scalars(other, [1], [1]), scalars(series[0], [2], [2])])
    assert place.read(other) == []
    place.points.fold()
    assert place.read(series[0]) == []
    assert place.points.totals(Run, [series[0][0]]) == {series[0][0]: PointTotals()}


def test_a_deleted_series_never_comes_back(place, series):
    place.points.append([scalars(key, [1], [1]) for key in series])
    place.catalog.delete(TimeSeries, f"{EXPERIMENT}/runs/r/timeSeries/0")
    place.points.append([scalars(key, [2], [2]) for key in series])
    place.points.fold()
    assert place.read(series[0]) == []
    assert place.read(series[1]) == [(1, 1), (2, 2)]


def test_folding_twice_does_nothing_the_second_time(place, series):
    place.write(series[0], [1, 2], [1, 2])
    place.points.fold()
    assert place.points.fold() == 0
    assert place.read(series[0]) == [(1, 1), (2, 2)]


def test_tensors_come_back_whole(place):
    key = place.make_run("t", 1, ValueType.TENSOR)[0]
    large = bytes(range(256)) * 1000
    place.points.append([payloads(key, {3: b"", 1: large})])
    place.points.append([payloads(key, {2: b"two", 3: b"three"})])
    columns = place.points.read_payloads([key])[key[1]]
    assert columns.steps.tolist() == [1, 2, 3]
    assert columns.wall_ns.tolist() == [10, 20, 30]
    assert columns.payloads == [large, b"two", b"three"]
    assert columns.versions == [7, 7, 7]
    summary = place.points.summaries([key])[key[1]]
    assert (summary.count, summary.max_step, summary.max_wall_ns) == (3, 3, 30)
    assert math.isnan(summary.last)
    assert place.points.totals(Run, [key[0]])[key[0]].size > 0


def test_payload_writes_grow_versions(place):
    key = place.make_run("t", 1, ValueType.TENSOR)[0]
    seen = []
    for _ in range(2):
        place.points.append([payloads(key, {1: b"x"})])
        place.points.fold()
        seen.append(
            (
                place.points.run_versions([key[0]])[key[0]],
                place.points.summaries([key])[key[1]].version,
            )
        )
    assert seen[1][0] > seen[0][0] > 0
    assert seen[1][1] > seen[0][1] > 0


def test_blob_sequences_know_their_longest(place):
    key = place.make_run("b", 1, ValueType.BLOB_SEQUENCE)[0]
    place.points.append([payloads(key, {1: b"r"}, lengths=4)])
    place.points.append([payloads(key, {2: b"r"}, lengths=2)])
    assert place.points.summaries([key])[key[1]].max_blob_length == 4
    assert place.points.read_payloads([key])[key[1]].lengths == [4, 2]


@pytest.mark.parametrize(
    ("limit", "steps"),
    [
        (1, [10]),
        (2, [0, 10]),
        (3, [0, 5, 10]),
        (6, [0, 2, 4, 6, 8, 10]),
        (11, list(range(11))),
        (99, list(range(11))),
    ],
)
def test_limited_payloads_are_evenly_spaced(place, limit, steps):
    key = place.make_run("t", 1, ValueType.TENSOR)[0]
    place.points.append([payloads(key, {step: b"%d" % step for step in range(11)})])
    columns = place.points.read_payloads([key], limit=limit)[key[1]]
    assert columns.steps.tolist() == steps
    assert columns.payloads == [b"%d" % step for step in steps]


def test_one_request_may_mix_kinds(place, series):
    tensor = place.make_run("t", 1, ValueType.TENSOR)[0]
    place.points.append([scalars(series[0], [1], [1]), payloads(tensor, {1: b"x"})])
    assert place.read(series[0]) == [(1, 1)]
    assert place.points.read_payloads([tensor])[tensor[1]].payloads == [b"x"]


def test_payloads_of_an_unwritten_series_are_empty(place):
    key = place.make_run("t", 1, ValueType.TENSOR)[0]
    columns = place.points.read_payloads([key], limit=5)[key[1]]
    assert isinstance(columns, PayloadColumns)
    assert len(columns.steps) == 0


def test_writers_and_readers_in_many_threads_agree(place, series):
    """Each thread owns the steps congruent to its number; readers never see a point twice."""
    failures = []

    def write(number):
        try:
            for step in range(number, 200, 4):
                place.write(series[0], [step], [step])
        except Exception as error:  # noqa: BLE001 -- shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen = place.read(series[0])
        assert len({step for step, _ in seen}) == len(seen)
    for thread in threads:
        thread.join()
    assert not failures
    assert place.read(series[0]) == [(step, step) for step in range(200)]
