"""Writing and reading points: the calls that carry data."""

import itertools
import math
import re
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensordeck import errors, protos
from tensordeck.store.resources import StoredObject

SCALAR, TENSOR, BLOBS = 1, 2, 3


def test_scalars_come_back_bit_for_bit_in_step_order(api):
    series = api.series()
    nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0123))[0]
    values = {5: nan, -3: math.inf, 2: -math.inf, 0: -0.0, 9: 0.1, 2**32: 5e-324}
    api.write_scalars(series, values)
    data = api.read(series)
    assert data.tensorboard_time_series_id == series.rpartition("/")[2]
    assert data.value_type == 1
    assert [point.step for point in data.values] == sorted(values)
    for point in data.values:
        assert struct.pack("<d", point.scalar.value) == struct.pack("<d", values[point.step])
        assert point.wall_time.seconds == 1_700_000_000 + point.step


def test_a_repeated_step_keeps_the_last(api):
    series = api.series()
    api.write_scalars(series, {1: 1.0, 2: 2.0})
    api.write_scalars(series, {2: 20.0, 3: 3.0})
    assert api.scalars(series) == {1: 1.0, 2: 20.0, 3: 3.0}


def test_writing_the_same_again_changes_nothing(api):
    series = api.series()
    for _ in range(3):
        api.write_scalars(series, {1: 1.0, 2: 2.0})
    assert api.scalars(series) == {1: 1.0, 2: 2.0}
    assert len(api.read(series).values) == 2


def test_points_without_wall_time_have_none_when_read(api):
    series = api.series()
    api.write(series, [{"step": 1, "scalar": {"value": 2.0}}])
    (point,) = api.read(series).values
    assert not point.HasField("wall_time")
    assert point.scalar.value == 2.0


def test_nanoseconds_are_kept(api):
    series = api.series()
    wall = {"seconds": 1_700_000_000, "nanos": 123_456_789}
    api.write(series, [{"step": 1, "wall_time": wall, "scalar": {"value": 1.0}}])
    (point,) = api.read(series).values
    assert (point.wall_time.seconds, point.wall_time.nanos) == (1_700_000_000, 123_456_789)


def test_an_experiment_write_reaches_every_run(api):
    experiment = api.experiment()
    series = [api.series(api.run(experiment, name), "loss") for name in ("a", "b")]
    api(
        "WriteTensorboardExperimentData",
        tensorboard_experiment=experiment,
        write_run_data_requests=[
            {
                "tensorboard_run": name.partition("/timeSeries/")[0],
                "time_series_data": [
                    {
                        "tensorboard_time_series_id": name.rpartition("/")[2],
                        "value_type": 1,
                        "values": [{"step": 1, "scalar": {"value": float(number)}}],
                    }
                ],
            }
            for number, name in enumerate(series)
        ],
    )
    assert [api.scalars(name) for name in series] == [{1: 0.0}, {1: 1.0}]


def write_request(run: str, series_id: str, points: list, value_type: int = 1) -> dict:
    data = {"tensorboard_time_series_id": series_id, "value_type": value_type, "values": points}
    return {"tensorboard_run": run, "time_series_data": [data]}


ONE = [{"step": 1, "scalar": {"value": 1.0}}]


class TestRefusals:
    def test_a_run_of_another_experiment(self, api):
        mine, other = api.experiment(), api.experiment()
        run = api.run(other)
        series = api.series(run).rpartition("/")[2]
        with pytest.raises(errors.InvalidArgument, match=re.escape(run)) as refusal:
            api(
                "WriteTensorboardExperimentData",
                tensorboard_experiment=mine,
                write_run_data_requests=[write_request(run, series, ONE)],
            )
        assert "another Tensorboard" in str(refusal.value)

    def test_missing_things(self, api):
        run = api.run()
        with pytest.raises(errors.NotFound, match=re.escape(f"{run}/timeSeries/nope")):
            api("WriteTensorboardRunData", **write_request(run, "nope", ONE))
        with pytest.raises(errors.NotFound, match=re.escape(f"{run}x")):
            api("WriteTensorboardRunData", **write_request(f"{run}x", "nope", ONE))
        experiment = run.partition("/runs/")[0] + "x"
        with pytest.raises(errors.NotFound, match=re.escape(experiment)):
            api("WriteTensorboardExperimentData", tensorboard_experiment=experiment)

    def test_another_kind_of_value(self, api):
        series = api.series()
        with pytest.raises(errors.InvalidArgument, match=r"SCALAR.*TENSOR"):
            api.write(series, [{"step": 1, "tensor": {"value": b"x"}}], TENSOR)
        assert api.scalars(series) == {}

    def test_too_many_points(self, api):
        series = api.series()
        with pytest.raises(errors.InvalidArgument, match="5000"):
            api.write_scalars(series, dict.fromkeys(range(5001), 1.0))
        assert api.scalars(series) == {}
        api.write_scalars(series, dict.fromkeys(range(5000), 1.0))

    def test_one_bad_series_fails_the_whole_request(self, api):
        experiment = api.experiment()
        good = api.series(api.run(experiment, "a"))
        run, series_id = good.split("/timeSeries/")
        with pytest.raises(errors.NotFound):
            api(
                "WriteTensorboardExperimentData",
                tensorboard_experiment=experiment,
                write_run_data_requests=[
                    write_request(run, series_id, ONE),
                    write_request(f"{experiment}/runs/missing", series_id, ONE),
                ],
            )
        assert api.scalars(good) == {}

    @pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff", b"\x12\x05abc"])
    def test_broken_bytes(self, api, data):
        service, *_ = api.services
        for method in (
            service.write_tensorboard_run_data,
            service.write_tensorboard_experiment_data,
        ):
            with pytest.raises(errors.InvalidArgument):
                method(data, api.context)

    def test_empty_requests_name_the_field(self, api):
        with pytest.raises(errors.InvalidArgument, match="tensorboard_run"):
            api("WriteTensorboardRunData")
        with pytest.raises(errors.InvalidArgument, match="tensorboard_experiment"):
            api("WriteTensorboardExperimentData")

    def test_the_permission_is_asked_for_what_is_written_to(self, api):
        asked = []
        series = api.series()
        api.over(authorize=asked.append).write_scalars(series, {1: 1.0})
        assert asked == [series.partition("/timeSeries/")[0]]

        def refuse(resource: str) -> None:
            raise errors.PermissionDenied(resource)

        with pytest.raises(errors.PermissionDenied):
            api.over(authorize=refuse).write_scalars(series, {2: 1.0})
        assert api.scalars(series) == {1: 1.0}


class TestSeveralProcesses:
    """The keys that a write remembers are a hint: another process may have changed everything."""

    def test_a_run_deleted_elsewhere_is_not_found(self, api):
        series = api.series()
        api.write_scalars(series, {1: 1.0})
        run = series.partition("/timeSeries/")[0]
        api.another_process()("DeleteTensorboardRun", name=run)
        with pytest.raises(errors.NotFound):
            api.write_scalars(series, {2: 2.0})

    def test_a_run_made_again_elsewhere_gets_the_points(self, api):
        run = api.run()
        create = {
            "parent": run,
            "tensorboard_time_series_id": "s",
            "tensorboard_time_series": {"display_name": "t", "value_type": 1},
        }
        series = api("CreateTensorboardTimeSeries", **create).name
        api.write_scalars(series, {1: 1.0})
        other = api.another_process()
        other("DeleteTensorboardRun", name=run)
        other.run(run.partition("/runs/")[0])
        other("CreateTensorboardTimeSeries", **create)
        api.write_scalars(series, {2: 2.0})
        assert api.scalars(series) == other.scalars(series) == {2: 2.0}

    @pytest.mark.parametrize("value_type", [SCALAR, TENSOR])
    def test_a_series_made_again_elsewhere_gets_the_points(self, api, value_type):
        create = {
            "parent": api.run(),
            "tensorboard_time_series_id": "s",
            "tensorboard_time_series": {"display_name": "t", "value_type": value_type},
        }
        value = {"scalar": {"value": 1.0}} if value_type == SCALAR else {"tensor": {"value": b"x"}}
        series = api("CreateTensorboardTimeSeries", **create).name
        api.write(series, [{"step": 1, **value}], value_type)
        other = api.another_process()
        other("DeleteTensorboardTimeSeries", name=series)
        other("CreateTensorboardTimeSeries", **create)
        api.write(series, [{"step": 2, **value}], value_type)
        api.store.points.fold()
        assert [point.step for point in api.read(series).values] == [2]
        assert [point.step for point in other.read(series).values] == [2]

    def test_a_series_deleted_elsewhere_stays_deleted(self, api):
        series = api.series()
        api.write_scalars(series, {1: 1.0})
        api.another_process()("DeleteTensorboardTimeSeries", name=series)
        with pytest.raises(errors.NotFound):
            api.write_scalars(series, {2: 2.0})
        api.store.points.fold()
        with pytest.raises(errors.NotFound):
            api.read(series)

    def test_a_series_deleted_here_is_forgotten(self, api):
        series = api.series()
        api.write_scalars(series, {1: 1.0})
        api("DeleteTensorboardTimeSeries", name=series)
        with pytest.raises(errors.NotFound):
            api.write_scalars(series, {2: 2.0})


class TestRead:
    def test_a_thousand_points_unless_told_otherwise(self, api):
        series = api.series()
        api.write_scalars(series, {step: float(step) for step in range(5000)})
        steps = [point.step for point in api.read(series).values]
        assert len(steps) == 1000
        assert (steps[0], steps[-1]) == (0, 4999)
        assert steps == sorted(set(steps))
        assert max(b - a for a, b in itertools.pairwise(steps)) <= 6
        # Never a new draw: two readers see the same points.
        assert steps == [point.step for point in api.read(series).values]
        assert len(api.read(series, max_data_points=-1).values) == 5000
        assert len(api.read(series, max_data_points=3).values) == 3
        assert [p.step for p in api.read(series, max_data_points=1).values] == [4999]

    def test_at_most_ten_thousand(self, api):
        series = api.series()
        for start in range(0, 15_000, 5000):
            api.write_scalars(series, dict.fromkeys(range(start, start + 5000), 0.5))
        assert len(api.read(series, max_data_points=20_000).values) == 10_000

    def test_bad_limits(self, api):
        with pytest.raises(errors.InvalidArgument, match="max_data_points"):
            api.read(api.series(), max_data_points=-2)

    @pytest.mark.parametrize(
        ("text", "steps"),
        [
            ("step >= 3", [3, 4, 5]),
            ("step > 1 AND step < 4", [2, 3]),
            ("step = 1 OR step = 5", [1, 5]),
            ("NOT step = 3", [1, 2, 4, 5]),
            ("value < 0.25", [1, 2]),
            ("scalar.value >= 0.4 step != 5", [4]),
            ('wall_time > "2023-11-14T22:13:23Z"', [4, 5]),
            ("step < 2.5", [1, 2]),
        ],
    )
    def test_filters(self, api, text, steps):
        series = api.series()
        api.write_scalars(series, {step: step / 10 for step in range(1, 6)})
        assert [point.step for point in api.read(series, filter=text).values] == steps

    @pytest.mark.parametrize(
        "text",
        ["colour = 3", "step : 3", "step = abc", "value = x", "wall_time > yesterday", "step ="],
    )
    def test_bad_filters(self, api, text):
        series = api.series()
        api.write_scalars(series, {1: 1.0})
        with pytest.raises(errors.InvalidArgument):
            api.read(series, filter=text)

    def test_a_tensor_has_no_value_to_compare(self, api):
        series = api.series(value_type=TENSOR)
        with pytest.raises(errors.InvalidArgument, match="value"):
            api.read(series, filter="value > 1")

    def test_tensors(self, api):
        series = api.series(value_type=TENSOR)
        points = [
            {"step": step, "tensor": {"value": bytes([step]) * 9, "version_number": step}}
            for step in range(150)
        ]
        api.write(series, points, TENSOR)
        data = api.read(series, max_data_points=-1)
        assert [(p.step, p.tensor.value, p.tensor.version_number) for p in data.values] == [
            (step, bytes([step]) * 9, step) for step in range(150)
        ]


class TestBatchRead:
    def test_every_series_in_the_order_asked_for(self, api):
        run = api.run()
        series = [api.series(run, f"t{i}") for i in range(25)]
        for number, name in enumerate(series):
            api.write_scalars(name, {1: float(number)})
        board = run.partition("/experiments/")[0]
        wanted = [*reversed(series), series[3]]
        reply = api(
            "BatchReadTensorboardTimeSeriesData", tensorboard=board, time_series=wanted
        ).time_series_data
        assert [d.tensorboard_time_series_id for d in reply] == [
            name.rpartition("/")[2] for name in wanted
        ]
        assert [d.values[0].scalar.value for d in reply] == [*map(float, range(24, -1, -1)), 3.0]

    def test_limits_of_each_kind(self, api):
        run = api.run()
        scalars, tensors = api.series(run, "s"), api.series(run, "t", TENSOR)
        api.write_scalars(scalars, dict.fromkeys(range(3000), 1.0))
        api.write(tensors, [{"step": s, "tensor": {"value": b"x"}} for s in range(1000)], TENSOR)
        reply = api(
            "BatchReadTensorboardTimeSeriesData",
            tensorboard=run.partition("/experiments/")[0],
            time_series=[scalars, tensors],
        ).time_series_data
        for data, count, last in zip(reply, (1000, 100), (2999, 999), strict=True):
            steps = [point.step for point in data.values]
            assert len(steps) == count
            assert (steps[0], steps[-1]) == (0, last)

    def test_refusals(self, api):
        series, other = api.series(), api.series()
        board = series.partition("/experiments/")[0]
        read = "BatchReadTensorboardTimeSeriesData"
        with pytest.raises(errors.InvalidArgument, match="time_series"):
            api(read, tensorboard=board)
        with pytest.raises(errors.InvalidArgument, match=re.escape(other)):
            api(read, tensorboard=board, time_series=[series, other])
        missing = series.rpartition("/")[0] + "/nope"
        with pytest.raises(errors.NotFound, match="timeSeries/nope"):
            api(read, tensorboard=board, time_series=[missing])


def export(api, series: str, **fields) -> list[tuple[int, float]]:
    points, token = [], ""
    while True:
        reply = api(
            "ExportTensorboardTimeSeriesData",
            tensorboard_time_series=series,
            page_token=token,
            **fields,
        )
        points += [(p.step, p.scalar.value) for p in reply.time_series_data_points]
        token = reply.next_page_token
        if not token:
            return points


class TestExport:
    @pytest.mark.parametrize("order_by", ["", "step", "step desc", "wall_time", "wall_time desc"])
    @pytest.mark.parametrize("size", [1, 3, 7, 1000])
    def test_every_point_once_in_order(self, api, order_by, size):
        series = api.series()
        # Wall times run against the steps, two points at a time.
        api.write(
            series,
            [
                {"step": s, "wall_time": {"seconds": 100 - s // 2}, "scalar": {"value": s / 4}}
                for s in range(7)
            ],
        )
        got = [step for step, _ in export(api, series, page_size=size, order_by=order_by)]
        by_wall = sorted(range(7), key=lambda s: (100 - s // 2, s))
        expected = by_wall if "wall" in order_by else list(range(7))
        assert got == (expected[::-1] if "desc" in order_by else expected)

    def test_pages_survive_writes_between_them(self, api):
        series = api.series()
        api.write_scalars(series, dict.fromkeys(range(0, 20, 2), 1.0))
        fields = {"tensorboard_time_series": series, "page_size": 5}
        first = api("ExportTensorboardTimeSeriesData", **fields)
        api.write_scalars(series, dict.fromkeys(range(1, 20, 2), 2.0))
        rest = api(
            "ExportTensorboardTimeSeriesData",
            tensorboard_time_series=series,
            page_token=first.next_page_token,
        )
        steps = [p.step for r in (first, rest) for p in r.time_series_data_points]
        assert steps == [0, 2, 4, 6, *range(8, 20)]

    def test_filters_apply(self, api):
        series = api.series()
        api.write_scalars(series, {step: float(step) for step in range(10)})
        got = export(api, series, filter="step >= 4 AND value < 8", page_size=3)
        assert got == [(4, 4.0), (5, 5.0), (6, 6.0), (7, 7.0)]

    @pytest.mark.parametrize("token", ["x", "====", "eyJhIjoxfQ", "WzEsMiwzXQ", "é", "[" * 5000])
    def test_foreign_tokens(self, api, token):
        with pytest.raises(errors.InvalidArgument, match="page_token"):
            export_once(api, api.series(), page_token=token)

    def test_a_token_fits_its_query_only(self, api):
        series = api.series()
        api.write_scalars(series, {1: 1.0, 2: 2.0})
        token = export_once(api, series, page_size=1).next_page_token
        for other in ({"filter": "step > 0"}, {"order_by": "step desc"}):
            with pytest.raises(errors.InvalidArgument, match="another query"):
                export_once(api, series, page_token=token, **other)
        with pytest.raises(errors.InvalidArgument, match="another query"):
            export_once(api, api.series(), page_token=token)

    @pytest.mark.parametrize(
        "fields", [{"page_size": -1}, {"order_by": "value"}, {"order_by": "step, wall_time"}]
    )
    def test_bad_requests(self, api, fields):
        with pytest.raises(errors.InvalidArgument):
            export_once(api, api.series(), **fields)


def export_once(api, series: str, **fields):
    return api("ExportTensorboardTimeSeriesData", tensorboard_time_series=series, **fields)


class TestBlobs:
    def read(self, api, series: str, *ids: str) -> dict[str, bytes]:
        replies = api("ReadTensorboardBlobData", time_series=series, blob_ids=ids)
        return {blob.id: blob.data for reply in replies for blob in reply.blobs}

    def test_bytes_sent_with_a_point_are_stored_as_an_object(self, api):
        run = api.run(api.experiment(experiment_id="e"), "r")
        series = api.series(run, "img", BLOBS)
        big = bytes(range(256)) * 4096 * 9
        values = [{"id": "a", "data": b"A"}, {"data": big}, {"id": "empty.txt", "data": b"x"}]
        api.write(series, [{"step": 1, "blobs": {"values": values}}], BLOBS)
        (point,) = api.read(series).values
        ids = [blob.id for blob in point.blobs.values]
        assert ids[0] == "a"
        assert ids[1]
        assert not any(blob.data for blob in point.blobs.values)
        assert self.read(api, series, *ids) == {"a": b"A", ids[1]: big, "empty.txt": b"x"}
        assert self.read(api, series) == self.read(api, series, *ids)
        board = api("GetTensorboard", name=series.partition("/experiments/")[0])
        place = f"tensorboard-{board.name.rpartition('/')[2]}/e/r/{series.rpartition('/')[2]}"
        record = api.store.catalog.get(StoredObject, f"{board.blob_storage_path_prefix}/{place}/a")
        assert record.size == 1

    def test_a_blob_sent_again_is_replaced(self, api):
        series = api.series(value_type=BLOBS)
        before = len(list(api.store.blobs.keys()))
        for data in (b"old", b"new!"):
            values = [{"id": "a", "data": data}]
            api.write(series, [{"step": 1, "blobs": {"values": values}}], BLOBS)
        assert self.read(api, series, "a") == {"a": b"new!"}
        assert len(list(api.store.blobs.keys())) == before + 1

    def test_a_missing_blob_is_named(self, api):
        series = api.series(value_type=BLOBS)
        api.write(series, [{"step": 1, "blobs": {"values": [{"id": "there"}]}}], BLOBS)
        with pytest.raises(errors.NotFound, match="gone"):
            self.read(api, series, "there", "gone")

    def test_an_empty_blob_is_read_back_and_one_uploaded_before_stays(self, api):
        series = api.series(value_type=BLOBS)
        for values in ([{"id": "full", "data": b"x"}], [{"id": "empty"}, {"id": "full"}]):
            api.write(series, [{"step": 1, "blobs": {"values": values}}], BLOBS)
        assert self.read(api, series) == {"empty": b"", "full": b"x"}

    def test_only_blob_series_have_blobs(self, api):
        with pytest.raises(errors.InvalidArgument, match="SCALAR"):
            self.read(api, api.series(), "x")

    def test_a_blob_needs_an_id_or_bytes(self, api):
        series = api.series(value_type=BLOBS)
        with pytest.raises(errors.InvalidArgument, match="id"):
            api.write(series, [{"step": 1, "blobs": {"values": [{}]}}], BLOBS)

    def test_profile_points_gather_their_blobs(self, api):
        series = api.series(value_type=BLOBS)
        for ids in (["host1"], ["host2", "host1"], ["host3"]):
            values = [{"id": blob_id} for blob_id in ids]
            api.write(series, [{"blobs": {"values": values}}], BLOBS)
        (point,) = api.read(series).values
        assert [blob.id for blob in point.blobs.values] == ["host1", "host2", "host3"]
        assert not point.HasField("wall_time")
        got = api("GetTensorboardTimeSeries", name=series)
        assert got.metadata.max_blob_sequence_length == 3

    def test_other_points_are_overwritten(self, api):
        series = api.series(value_type=BLOBS)
        for blob_id in ("a", "b"):
            wall = {"seconds": 5}
            values = [{"id": blob_id}]
            api.write(series, [{"wall_time": wall, "blobs": {"values": values}}], BLOBS)
        (point,) = api.read(series).values
        assert [blob.id for blob in point.blobs.values] == ["b"]

    @pytest.mark.parametrize("level", ["Tensorboard", "Experiment", "Run", "TimeSeries"])
    def test_blobs_go_with_what_they_belong_to(self, api, level):
        before = len(list(api.store.blobs.keys()))
        run = api.run()
        kept = api.series(api.run(api.experiment(experiment_id="kept")), "i", BLOBS)
        series = api.series(run, "i", BLOBS)
        for name in (kept, series):
            values = [{"id": "x", "data": b"1234"}]
            api.write(name, [{"step": 1, "blobs": {"values": values}}], BLOBS)
        assert len(list(api.store.blobs.keys())) == before + 2
        prefix = "Tensorboard" if level != "Tensorboard" else ""
        ends = {"Tensorboard": "/experiments/", "Experiment": "/runs/", "Run": "/timeSeries/"}
        api(f"Delete{prefix}{level}", name=series.partition(ends.get(level, "#"))[0])
        assert len(list(api.store.blobs.keys())) == before + 1
        assert self.read(api, kept, "x") == {"x": b"1234"}


def test_size_counts_points_and_blobs(api):
    run = api.run()
    board = run.partition("/experiments/")[0]
    assert api("ReadTensorboardSize", tensorboard=board).storage_size_byte == 0
    blobs = api.series(run, "img", BLOBS)
    values = [{"id": "x", "data": b"z" * 100_000}]
    api.write(blobs, [{"step": 1, "blobs": {"values": values}}], BLOBS)
    with_blob = api("ReadTensorboardSize", tensorboard=board).storage_size_byte
    assert with_blob >= 100_000
    api.write_scalars(api.series(run, "s"), {step: step * 0.37 for step in range(5000)})
    assert api("ReadTensorboardSize", tensorboard=board).storage_size_byte >= with_blob + 5000


points = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1),
        st.integers(-9_000_000_000, 9_000_000_000),
        st.floats(allow_nan=False),
    ),
    max_size=30,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(requests=st.lists(points, max_size=4))
def test_any_points_read_back_as_the_last_write_of_each_step(api, requests):
    series = api.series(api.run())
    expected = {}
    for request in requests:
        api.write(
            series,
            [
                {"step": step, "wall_time": {"seconds": wall}, "scalar": {"value": value}}
                for step, wall, value in request
            ],
        )
        expected.update({step: (wall, value) for step, wall, value in request})
    data = protos.message("TimeSeriesData")()
    data.CopyFrom(api.read(series, max_data_points=-1))
    got = {p.step: (p.wall_time.seconds, p.scalar.value) for p in data.values}
    assert got == expected
    assert [p.step for p in data.values] == sorted(expected)
    assert [step for step, _ in export(api, series, page_size=7)] == sorted(expected)
