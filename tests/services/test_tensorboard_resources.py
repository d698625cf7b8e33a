"""Instances, experiments, runs, time series: create, get, list, update, delete."""

import re
from typing import Any

import pytest

from tensordeck import errors, protos
from tensordeck.store.resources import Artifact, Bucket

PL = "projects/p/locations/us-central1"


def test_an_instance_comes_back_as_it_was_created(api):
    created = api(
        "CreateTensorboard",
        parent=api.place,
        tensorboard={
            "display_name": "mein Büro 🎉",
            "description": "d",
            "labels": {"team": "a-1", "größe": "x_y"},
            "is_default": True,
        },
    )
    got = api("GetTensorboard", name=created.name)
    assert got == created
    assert re.fullmatch(api.place + r"/tensorboards/[1-9][0-9]{18}", created.name)
    assert created.display_name == "mein Büro 🎉"
    assert dict(created.labels) == {"team": "a-1", "größe": "x_y"}
    assert created.etag
    assert created.create_time.seconds > 1_700_000_000
    # The uploader splits a path at the first slash and would double it.
    assert "/" not in created.blob_storage_path_prefix
    assert api.store.catalog.find(Bucket, created.blob_storage_path_prefix)


def test_one_default_instance_a_project_and_region(api):
    first = api.board(is_default=True)
    second = api.board(is_default=True)
    listed = api("ListTensorboards", parent=api.place, filter="is_default=true").tensorboards
    assert [board.name for board in listed] == [second]
    assert not api("GetTensorboard", name=first).is_default


def test_run_count(api):
    experiment = api.experiment()
    api.run(experiment, "a")
    api.run(experiment, "b")
    board = experiment.rpartition("/experiments/")[0]
    assert api("GetTensorboard", name=board).run_count == 2


def test_display_names_default_to_the_id(api):
    experiment = api.experiment(experiment_id="My-Exp")
    run = api.run(experiment, "Run-1")
    assert api("GetTensorboardExperiment", name=experiment).display_name == "My-Exp"
    assert api("GetTensorboardRun", name=run).display_name == "Run-1"


LONG = "x" * 129


@pytest.mark.parametrize(
    ("tensorboard", "named"),
    [
        ({}, "tensorboard.display_name"),
        ({"display_name": LONG}, "tensorboard.display_name"),
        ({"labels": {"UPPER": "x"}}, "tensorboard.labels"),
        ({"labels": {"": "x"}}, "tensorboard.labels"),
        ({"labels": {"k" * 65: "x"}}, "tensorboard.labels"),
        ({"labels": {"k": "has space"}}, "tensorboard.labels"),
        ({"labels": {f"k{i}": "" for i in range(65)}}, "tensorboard.labels"),
        ({"encryption_spec": {"kms_key_name": "key"}}, "kms_key_name"),
    ],
)
def test_a_bad_instance_is_refused_by_field(api, tensorboard, named):
    if tensorboard and "display_name" not in tensorboard:
        tensorboard = {"display_name": "x", **tensorboard}
    with pytest.raises(errors.InvalidArgument, match=re.escape(named)):
        api("CreateTensorboard", parent=api.place, tensorboard=tensorboard)


@pytest.mark.parametrize(
    ("rpc", "fields"),
    [
        ("GetTensorboard", {"name": "nonsense"}),
        ("GetTensorboard", {"name": f"{PL}/experiments/x"}),
        ("ListTensorboards", {"parent": "projects/p"}),
        ("ListTensorboards", {"parent": PL, "page_size": -1}),
        ("ListTensorboards", {"parent": PL, "page_token": "bad"}),
        ("ListTensorboards", {"parent": PL, "filter": "is_default="}),
        ("ListTensorboards", {"parent": PL, "filter": "no_such_field=1"}),
        ("ListTensorboards", {"parent": PL, "order_by": "no_such_field"}),
        ("ListTensorboards", {"parent": PL, "read_mask": {"paths": ["no_such_field"]}}),
        ("CreateTensorboardExperiment", {"parent": f"{PL}/tensorboards/1"}),
        (
            "CreateTensorboardExperiment",
            {"parent": f"{PL}/tensorboards/1", "tensorboard_experiment_id": "a b"},
        ),
        (
            "CreateTensorboardRun",
            {"parent": f"{PL}/tensorboards/1/experiments/e", "tensorboard_run_id": "x" * 129},
        ),
        ("BatchCreateTensorboardRuns", {"parent": f"{PL}/tensorboards/1/experiments/e"}),
        ("DeleteTensorboardRun", {"name": ""}),
    ],
)
def test_bad_requests_are_invalid(api, rpc, fields):
    with pytest.raises(errors.InvalidArgument):
        api(rpc, **fields)


@pytest.mark.parametrize(
    ("rpc", "field", "path"),
    [
        ("GetTensorboard", "name", ""),
        ("DeleteTensorboard", "name", ""),
        ("ReadTensorboardSize", "tensorboard", ""),
        ("ReadTensorboardUsage", "tensorboard", ""),
        ("GetTensorboardExperiment", "name", "/experiments/e"),
        ("DeleteTensorboardExperiment", "name", "/experiments/e"),
        ("ListTensorboardExperiments", "parent", ""),
        ("GetTensorboardRun", "name", "/experiments/e/runs/r"),
        ("DeleteTensorboardRun", "name", "/experiments/e/runs/r"),
        ("ListTensorboardRuns", "parent", "/experiments/e"),
        ("GetTensorboardTimeSeries", "name", "/experiments/e/runs/r/timeSeries/s"),
        ("DeleteTensorboardTimeSeries", "name", "/experiments/e/runs/r/timeSeries/s"),
        ("ListTensorboardTimeSeries", "parent", "/experiments/e/runs/r"),
        (
            "ReadTensorboardTimeSeriesData",
            "tensorboard_time_series",
            "/experiments/e/runs/r/timeSeries/s",
        ),
    ],
)
def test_what_is_missing_is_not_found_by_name(api, rpc, field, path):
    name = f"{PL}/tensorboards/1{path}"
    with pytest.raises(errors.NotFound, match=re.escape(name)):
        api(rpc, **{field: name})


def test_duplicate_ids_and_display_names(api):
    experiment = api.experiment()
    board = experiment.rpartition("/experiments/")[0]
    with pytest.raises(errors.AlreadyExists, match="already exists"):
        api.experiment(board)
    api.run(experiment, "a", display_name="same")
    with pytest.raises(errors.AlreadyExists, match="already exists"):
        api.run(experiment, "a")
    with pytest.raises(errors.AlreadyExists, match="already exists"):
        api.run(experiment, "b", display_name="same")


class TestUpdate:
    def test_a_mask_overwrites_what_it_names(self, api):
        name = api.board(description="old", labels={"a": "1"})
        updated = api(
            "UpdateTensorboard",
            tensorboard={"name": name, "display_name": "new", "description": "ignored"},
            update_mask={"paths": ["displayName", "labels"]},
        )
        assert updated.display_name == "new"
        assert updated.description == "old"
        assert not updated.labels

    def test_without_a_mask_given_fields_are_overwritten(self, api):
        name = api.board(description="old", labels={"a": "1"})
        updated = api("UpdateTensorboard", tensorboard={"name": name, "description": "new"})
        assert updated.description == "new"
        assert updated.display_name == "board"
        assert dict(updated.labels) == {"a": "1"}

    def test_a_star_replaces_everything(self, api):
        name = api.board(description="old", labels={"a": "1"})
        updated = api(
            "UpdateTensorboard",
            tensorboard={"name": name, "display_name": "n"},
            update_mask={"paths": ["*"]},
        )
        assert (updated.display_name, updated.description) == ("n", "")
        assert not updated.labels

    def test_a_path_below_labels_changes_one_label(self, api):
        name = api.board(labels={"a": "1", "b": "2"})
        updated = api(
            "UpdateTensorboard",
            tensorboard={"name": name, "labels": {"a": "9"}},
            update_mask={"paths": ["labels.a", "labels.b"]},
        )
        assert dict(updated.labels) == {"a": "9"}

    def test_a_path_goes_into_a_message(self, api):
        key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
        updated = api(
            "UpdateTensorboard",
            tensorboard={"name": api.board(), "encryption_spec": {"kms_key_name": key}},
            update_mask={"paths": ["encryptionSpec.kmsKeyName"]},
        )
        assert updated.encryption_spec.kms_key_name == key

    @pytest.mark.parametrize(
        "path", ["colour", "display_name.x", "encryption_spec.colour", "", ".", "labels2.x"]
    )
    def test_an_unknown_path_is_refused_by_name(self, api, path):
        with pytest.raises(errors.InvalidArgument, match=re.escape(f'names "{path}"')):
            api(
                "UpdateTensorboard",
                tensorboard={"name": api.board()},
                update_mask={"paths": [path]},
            )

    def test_output_only_paths_are_ignored(self, api):
        name = api.board()
        updated = api(
            "UpdateTensorboard",
            tensorboard={"name": name, "run_count": 7, "blob_storage_path_prefix": "x"},
            update_mask={"paths": ["run_count", "blob_storage_path_prefix", "create_time"]},
        )
        assert updated.run_count == 0
        assert updated.blob_storage_path_prefix != "x"

    def test_a_stale_etag_is_refused_and_none_overwrites(self, api):
        name = api.board()
        old = api("GetTensorboard", name=name)
        new = api(
            "UpdateTensorboard",
            tensorboard={"name": name, "display_name": "b", "etag": old.etag},
            update_mask={"paths": ["display_name"]},
        )
        assert new.etag != old.etag
        with pytest.raises(errors.Aborted, match="etag"):
            api(
                "UpdateTensorboard",
                tensorboard={"name": name, "display_name": "c", "etag": old.etag},
            )
        assert api("GetTensorboard", name=name).display_name == "b"
        api("UpdateTensorboard", tensorboard={"name": name, "display_name": "d"})

    def test_immutable_fields_may_be_sent_unchanged_only(self, api):
        name = api.experiment(source="job")
        update = "UpdateTensorboardExperiment"
        api(update, tensorboard_experiment={"name": name, "source": "job", "description": "d"})
        with pytest.raises(errors.InvalidArgument, match="source"):
            api(update, tensorboard_experiment={"name": name, "source": "other"})
        series = api.series(api.run(name), "t", plugin_name="scalars")
        update = "UpdateTensorboardTimeSeries"
        with pytest.raises(errors.InvalidArgument, match="value_type"):
            api(update, tensorboard_time_series={"name": series, "value_type": 2})
        with pytest.raises(errors.InvalidArgument, match="plugin_name"):
            api(
                update,
                tensorboard_time_series={"name": series, "plugin_name": "x"},
                update_mask={"paths": ["plugin_name"]},
            )

    def test_system_labels_stay(self, api):
        key = "aiplatform.googleapis.com/training_job_id"
        run = api.run(labels={key: "7"})
        with pytest.raises(errors.InvalidArgument, match="training_job_id"):
            api("UpdateTensorboardRun", tensorboard_run={"name": run, "labels": {"a": "b"}})

    def test_a_run_cannot_take_another_runs_display_name(self, api):
        experiment = api.experiment()
        api.run(experiment, "a", display_name="taken")
        run = api.run(experiment, "b")
        with pytest.raises(errors.AlreadyExists):
            api("UpdateTensorboardRun", tensorboard_run={"name": run, "display_name": "taken"})


class TestList:
    def test_page_sizes_are_lowered_not_refused(self, api):
        board = api.board()
        for number in range(53):
            api.experiment(board, f"e{number}")
        reply = api("ListTensorboardExperiments", parent=board)
        assert len(reply.tensorboard_experiments) == 50
        assert reply.next_page_token
        reply = api("ListTensorboardExperiments", parent=board, page_size=100_000)
        assert len(reply.tensorboard_experiments) == 53
        assert not reply.next_page_token

    def test_pages_stay_right_while_rows_come_and_go(self, api):
        board = api.board()
        names = [api.experiment(board, f"e{number}") for number in range(6)]
        first = api("ListTensorboardExperiments", parent=board, page_size=2)
        api("DeleteTensorboardExperiment", name=names[0])
        api.experiment(board, "late")
        second = api(
            "ListTensorboardExperiments",
            parent=board,
            page_size=100,
            page_token=first.next_page_token,
        )
        got = [e.name for r in (first, second) for e in r.tensorboard_experiments]
        assert got == [*names, f"{board}/experiments/late"]

    def test_a_read_mask_keeps_what_it_names(self, api):
        board = api.board()
        api.experiment(board, "e", labels={"a": "b"}, description="d")
        reply = api(
            "ListTensorboardExperiments",
            parent=board,
            read_mask={"paths": ["displayName", "labels"]},
        )
        only = reply.tensorboard_experiments[0]
        assert {field.name for field, _ in only.ListFields()} == {"display_name", "labels"}

    def test_order_and_filter(self, api):
        experiment = api.experiment()
        for name in ("b", "a", "c"):
            api.run(experiment, name, display_name=f"run {name}")
        listed = api("ListTensorboardRuns", parent=experiment, order_by="display_name desc")
        assert [run.display_name for run in listed.tensorboard_runs] == ["run c", "run b", "run a"]
        listed = api("ListTensorboardRuns", parent=experiment, filter='display_name = "run a"')
        assert [run.display_name for run in listed.tensorboard_runs] == ["run a"]


class TestBatches:
    def test_runs(self, api):
        experiment = api.experiment()
        requests = [
            {"parent": experiment, "tensorboard_run_id": f"r{i}", "tensorboard_run": {}}
            for i in range(3)
        ]
        reply = api("BatchCreateTensorboardRuns", parent=experiment, requests=requests)
        assert [run.name for run in reply.tensorboard_runs] == [
            f"{experiment}/runs/r{i}" for i in range(3)
        ]

    def test_all_or_none(self, api):
        experiment = api.experiment()
        api.run(experiment, "there")
        requests = [{"tensorboard_run_id": name} for name in ("new", "there")]
        with pytest.raises(errors.AlreadyExists):
            api("BatchCreateTensorboardRuns", parent=experiment, requests=requests)
        assert len(api("ListTensorboardRuns", parent=experiment).tensorboard_runs) == 1

    def test_a_foreign_parent_is_refused_by_place(self, api):
        board = api.board()
        experiment, other = api.experiment(board, "a"), api.experiment(board, "b")
        requests = [{"tensorboard_run_id": "x"}, {"parent": other, "tensorboard_run_id": "y"}]
        with pytest.raises(errors.InvalidArgument, match=re.escape("requests[1].parent")):
            api("BatchCreateTensorboardRuns", parent=experiment, requests=requests)
        series = [
            {
                "parent": f"{other}/runs/r",
                "tensorboard_time_series": {"display_name": "t", "value_type": 1},
            }
        ]
        with pytest.raises(errors.InvalidArgument, match=re.escape("requests[0].parent")):
            api("BatchCreateTensorboardTimeSeries", parent=experiment, requests=series)

    def test_at_most_a_thousand(self, api):
        requests = [{"tensorboard_run_id": f"r{i}"} for i in range(1001)]
        with pytest.raises(errors.InvalidArgument, match="1000"):
            api("BatchCreateTensorboardRuns", parent=api.experiment(), requests=requests)


def series_request(run: str, tag: str, **fields: Any) -> dict[str, Any]:
    series = {"display_name": tag, "value_type": 1, "plugin_name": "scalars", **fields}
    return {"parent": run, "tensorboard_time_series": series}


class TestTimeSeries:
    def test_creating_again_returns_the_same(self, api):
        run = api.run()
        first = api("CreateTensorboardTimeSeries", **series_request(run, "loss"))
        again = api("CreateTensorboardTimeSeries", **series_request(run, "loss", description="x"))
        assert again == first
        assert re.fullmatch(r"[1-9][0-9]{18}", first.name.rpartition("/")[2])

    @pytest.mark.parametrize("other", [{"value_type": 2}, {"plugin_name": "histograms"}])
    def test_creating_another_one_of_that_name_is_refused(self, api, other):
        run = api.run()
        api("CreateTensorboardTimeSeries", **series_request(run, "loss"))
        # The uploader looks for these words.
        with pytest.raises(errors.InvalidArgument, match="already exist"):
            api("CreateTensorboardTimeSeries", **series_request(run, "loss", **other))

    def test_a_batch_creates_what_is_missing(self, api):
        experiment = api.experiment()
        runs = [api.run(experiment, name) for name in ("a", "b")]
        there = api("CreateTensorboardTimeSeries", **series_request(runs[0], "t1"))
        requests = [series_request(run, f"t{i}") for run in runs for i in range(30)]
        create = "BatchCreateTensorboardTimeSeries"
        first = api(create, parent=experiment, requests=requests).tensorboard_time_series
        assert [(s.name.rpartition("/timeSeries/")[0], s.display_name) for s in first] == [
            (run, f"t{i}") for run in runs for i in range(30)
        ]
        assert first[1] == there
        again = api(create, parent=experiment, requests=requests).tensorboard_time_series
        assert list(again) == list(first)

    def test_a_batch_with_a_name_twice_is_refused(self, api):
        run = api.run()
        with pytest.raises(errors.InvalidArgument, match="already exist"):
            api(
                "BatchCreateTensorboardTimeSeries",
                parent=run.rpartition("/runs/")[0],
                requests=[series_request(run, "t"), series_request(run, "t")],
            )

    def test_a_taken_id_is_refused(self, api):
        run = api.run()
        fields = {"tensorboard_time_series_id": "mine"}
        api("CreateTensorboardTimeSeries", **series_request(run, "a"), **fields)
        with pytest.raises(errors.AlreadyExists):
            api("CreateTensorboardTimeSeries", **series_request(run, "b"), **fields)

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"value_type": 0}, "value_type"),
            ({"display_name": ""}, "display_name"),
            ({"plugin_data": b"x" * (65 * 1024 + 1)}, "plugin_data"),
        ],
    )
    def test_bad_series_are_refused_by_field(self, api, fields, named):
        with pytest.raises(errors.InvalidArgument, match=named):
            api("CreateTensorboardTimeSeries", **series_request(api.run(), "t", **fields))

    @pytest.mark.parametrize("series_id", ["-a", "A", "a_b", "x" * 129])
    def test_bad_ids_are_refused(self, api, series_id):
        with pytest.raises(errors.InvalidArgument, match="tensorboard_time_series_id"):
            api(
                "CreateTensorboardTimeSeries",
                **series_request(api.run(), "t"),
                tensorboard_time_series_id=series_id,
            )

    @pytest.mark.parametrize(
        "tag", ['with "quotes"', "a*b", "日本/語 🎉", "back\\slash", "x" * 300]
    )
    def test_any_tag_is_found_by_its_display_name(self, api, tag):
        import json

        run = api.run()
        api.series(run, "other")
        name = api.series(run, tag)
        listed = api(
            "ListTensorboardTimeSeries", parent=run, filter=f"display_name = {json.dumps(tag)}"
        )
        assert [series.name for series in listed.tensorboard_time_series] == [name]

    def test_metadata_tells_of_the_points(self, api):
        series = api.series()
        assert not api("GetTensorboardTimeSeries", name=series).HasField("metadata")
        api.write_scalars(series, {3: 1.0, 9: 2.0}, wall=100)
        run = series.partition("/timeSeries/")[0]
        listed = api("ListTensorboardTimeSeries", parent=run).tensorboard_time_series
        assert listed[0].metadata.max_step == 9
        assert listed[0].metadata.max_wall_time.seconds == 109


class TestDelete:
    def test_everything_below_goes(self, api):
        series = api.series()
        api.write_scalars(series, {1: 1.0})
        board = series.partition("/experiments/")[0]
        prefix = api("GetTensorboard", name=board).blob_storage_path_prefix
        assert api("DeleteTensorboard", name=board) == protos.message("google.protobuf.Empty")()
        for rpc, name in (
            ("GetTensorboard", board),
            ("GetTensorboardRun", series.partition("/timeSeries/")[0]),
            ("GetTensorboardTimeSeries", series),
        ):
            with pytest.raises(errors.NotFound):
                api(rpc, name=name)
        assert api.store.catalog.find(Bucket, prefix) is None

    @pytest.mark.parametrize("level", ["Tensorboard", "TensorboardExperiment", "TensorboardRun"])
    def test_the_artifact_of_a_run_goes_with_it(self, api, level):
        run = api.run(api.experiment(experiment_id="exp"), "r1")
        artifacts = f"{api.metadata_store}/artifacts"
        for artifact_id, refers_to in (
            ("exp-r1-tb-run", run.replace(api.place, "projects/123/locations/us-central1")),
            ("exp-r2-tb-run", "elsewhere"),
        ):
            api(
                "CreateArtifact",
                parent=api.metadata_store,
                artifact_id=artifact_id,
                artifact={
                    "schema_title": "google.VertexTensorboardRun",
                    "metadata": {"resourceName": refers_to},
                },
            )
        ends = {"Tensorboard": "/experiments/", "TensorboardExperiment": "/runs/"}
        api(f"Delete{level}", name=run.partition(ends.get(level, "#"))[0])
        assert api.store.catalog.find(Artifact, f"{artifacts}/exp-r1-tb-run") is None
        assert api.store.catalog.find(Artifact, f"{artifacts}/exp-r2-tb-run")
        # The client deletes the artifact itself right after the run.
        api("DeleteArtifact", name=f"{artifacts}/exp-r1-tb-run")
        with pytest.raises(errors.NotFound):
            api("DeleteArtifact", name=f"{artifacts}/exp-r1")


def test_usage_counts_views_by_month_and_user(api):
    board = api.board()
    for user in ("a@x", "b@x", "a@x"):
        api.store.catalog.record_view(board, user)
    usage = api("ReadTensorboardUsage", tensorboard=board).monthly_usage_data
    (month,) = usage
    assert re.fullmatch(r"20[0-9]{4}", month)
    users = {user.username: user.view_count for user in usage[month].user_usage_data}
    assert users == {"a@x": 2, "b@x": 1}
