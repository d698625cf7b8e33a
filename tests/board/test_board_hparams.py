"""The HParams tab's data: parameters and metrics that were logged, beside those of event files."""

import json
import math

import pytest
from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams as hparams_summaries

from tensordeck.store.resources import Context, Run, TimeSeries
from tests.board.board_logs import load_logs
from tests.board.logged import add_curves, log_run
from tests.store.samples import changed

TAB = "data/plugin/hparams/"
STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]


@pytest.fixture
def owner(house):
    with house.client() as client:
        yield client


@pytest.fixture(scope="module")
def mixed(house, tmp_path_factory):
    """Runs of all sorts."""
    name = house.experiment("mixed")
    catalog = house.store.catalog
    first = log_run(
        catalog,
        name,
        "logged-1",
        {"lr": 0.1, "net": "resnet", "fast": True, "only": 7},
        {"accuracy": 0.8, "verdict": "good"},
        "COMPLETE",
    )
    add_curves(house.store, first, {"loss": [3, 2, 1], "accuracy": [0.1, 0.2]})
    validation = catalog.create(
        Run(name=f"{name}/runs/logged-1-val", display_name="logged-1/validation")
    )
    add_curves(house.store, validation, {"loss": [4, 3]})
    log_run(
        catalog,
        name,
        "logged-2",
        {"lr": 0.01, "net": "vgg", "fast": False},
        {"accuracy": math.nan},
        "FAILED",
    )
    second = catalog.get(Run, f"{name}/runs/logged-2")
    add_curves(house.store, second, {"loss": [5, math.inf]})
    log_run(catalog, name, "logged-3", {"lr": math.nan, "odd": {"a": 1}, "net": None})
    curves = catalog.create(Run(name=f"{name}/runs/curves", display_name="curves"))
    add_curves(house.store, curves, {"loss": [0.5]})

    logs = tmp_path_factory.mktemp("mixed")
    for number, rate in enumerate((0.5, 0.05)):
        with SummaryWriter(str(logs / f"events-{number}")) as writer:
            for item in hparams_summaries({"lr": rate, "net": "alexnet", "layers": 3}, {}):
                writer.file_writer.add_summary(item)
            writer.add_scalar("loss", rate, 1)
    load_logs(house.store, name, logs)
    return name


@pytest.fixture
def ask(house, owner, mixed):
    """Asks the tab of the mixed experiment, or of another board."""

    def ask(path, request, board=""):
        reply = owner.post((board or house.path(mixed)) + TAB + path, content=json.dumps(request))
        assert reply.status_code == 200, reply.text
        return reply.json()

    return ask


@pytest.fixture
def groups(ask):
    def groups(*columns, board="", **fields):
        request = {"allowedStatuses": STATUSES, "colParams": columns, "startIndex": 0}
        return ask("session_groups", {**request, "sliceSize": 1000, **fields}, board)

    return groups


def names(reply):
    return [group["name"] for group in reply["sessionGroups"]]


def context_of(experiment, run_id):
    place, experiment_id = experiment.partition("/tensorboards/")[0], experiment.rpartition("/")[2]
    return f"{place}/metadataStores/default/contexts/{experiment_id}-{run_id}"


def by_name(reply):
    return {group["name"]: group for group in reply["sessionGroups"]}


def metrics(group):
    return {
        "/".join(filter(None, (v["name"]["group"], v["name"]["tag"]))): v["value"]
        for v in group["metricValues"]
    }


ALL = ["curves", "events-0", "events-1", "logged-1", "logged-2", "logged-3"]


def test_runs_of_all_sorts_are_rows_of_one_table(groups):
    reply = groups()
    assert names(reply) == ALL
    assert reply["totalSize"] == 6
    rows = by_name(reply)
    logged = {"lr": 0.1, "net": "resnet", "fast": True, "only": 7, "metric.verdict": "good"}
    assert rows["logged-1"]["hparams"] == logged
    assert rows["events-0"]["hparams"] == {"lr": 0.5, "net": "alexnet", "layers": 3}
    assert rows["logged-3"]["hparams"] == {"odd": '{"a": 1}'}
    assert rows["curves"]["hparams"] == {}


def test_metrics_are_what_was_logged_and_the_last_values_of_curves(groups):
    rows = by_name(groups())
    assert metrics(rows["logged-1"]) == {"accuracy": 0.8, "loss": 1, "validation/loss": 3}
    assert metrics(rows["logged-2"]) == {"accuracy": "NaN", "loss": "NaN"}
    assert metrics(rows["logged-3"]) == {}
    assert metrics(rows["curves"]) == {"loss": 0.5}
    assert metrics(rows["events-1"]) == {"loss": pytest.approx(0.05)}
    loss = next(
        v for v in rows["logged-1"]["metricValues"] if v["name"] == {"group": "", "tag": "loss"}
    )
    assert (loss["trainingStep"], loss["wallTimeSecs"]) == (2, pytest.approx(1_700_000_000))


def test_sessions_tell_their_state(house, mixed, groups):
    rows = by_name(groups())
    status = {name: row["sessions"][0]["status"] for name, row in rows.items()}
    assert status == {
        "curves": "STATUS_UNKNOWN",
        "events-0": "STATUS_SUCCESS",
        "events-1": "STATUS_SUCCESS",
        "logged-1": "STATUS_SUCCESS",
        "logged-2": "STATUS_FAILURE",
        "logged-3": "STATUS_RUNNING",
    }
    context = house.store.catalog.get(
        Context,
        f"{mixed.partition('/tensorboards')[0]}/metadataStores/default/contexts/mixed-logged-1",
    )
    session = rows["logged-1"]["sessions"][0]
    assert session["startTimeSecs"] == context.create_time / 1e6
    assert session["endTimeSecs"] == context.update_time / 1e6
    assert rows["logged-3"]["sessions"][0]["endTimeSecs"] == 0
    assert names(groups(allowedStatuses=["STATUS_RUNNING", "STATUS_FAILURE"])) == [
        "logged-2",
        "logged-3",
    ]


def test_columns_have_types_and_domains(ask):
    reply = ask("experiment", {})
    infos = {info.pop("name"): info for info in reply["hparamInfos"]}
    # Those that differ first.
    assert list(infos) == ["fast", "lr", "net", "layers", "metric.verdict", "odd", "only"]
    assert infos["lr"]["type"] == "DATA_TYPE_FLOAT64"
    assert infos["lr"]["domainInterval"] == {"minValue": 0.01, "maxValue": 0.5}
    assert infos["net"]["domainDiscrete"] == ["alexnet", "resnet", "vgg"]
    assert infos["fast"]["type"] == "DATA_TYPE_BOOL"
    assert infos["fast"]["domainDiscrete"] == [False, True]
    assert infos["only"]["differs"] is False
    assert [info["name"] for info in reply["metricInfos"]] == [
        {"group": "", "tag": "accuracy"},
        {"group": "", "tag": "loss"},
        {"group": "validation", "tag": "loss"},
    ]


def test_few_columns_and_no_metrics_where_that_is_wanted(ask, groups):
    reply = ask("experiment", {"hparamsLimit": 2, "includeMetrics": False})
    assert [info["name"] for info in reply["hparamInfos"]] == ["fast", "lr"]
    assert reply["metricInfos"] == []
    few = by_name(
        groups(
            {"hparam": "lr", "includeInResult": True},
            {"hparam": "net", "includeInResult": False},
            includeMetrics=False,
        )
    )
    assert few["logged-1"]["hparams"] == {"lr": 0.1}
    assert few["logged-1"]["metricValues"] == few["logged-1"]["sessions"][0]["metricValues"] == []


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            [{"hparam": "lr", "order": "ORDER_ASC"}],
            ["logged-2", "events-1", "logged-1", "events-0", "curves", "logged-3"],
        ),
        (
            [{"hparam": "lr", "order": "ORDER_DESC", "missingValuesFirst": True}],
            ["curves", "logged-3", "events-0", "logged-1", "events-1", "logged-2"],
        ),
        (
            [{"metric": {"tag": "loss"}, "order": "ORDER_ASC"}],
            ["events-1", "curves", "events-0", "logged-1", "logged-2", "logged-3"],
        ),
        (
            [{"metric": {"tag": "loss"}, "order": "ORDER_DESC"}],
            ["logged-2", "logged-1", "curves", "events-0", "events-1", "logged-3"],
        ),
        (
            [{"metric": {"tag": "accuracy"}, "order": "ORDER_DESC"}],
            ["logged-1", "curves", "events-0", "events-1", "logged-2", "logged-3"],
        ),
        (
            [
                {"hparam": "net", "order": "ORDER_DESC"},
                {"metric": {"tag": "loss"}, "order": "ORDER_ASC"},
            ],
            ["logged-2", "logged-1", "events-1", "events-0", "curves", "logged-3"],
        ),
        (
            [
                {"metric": {"group": "validation", "tag": "loss"}, "order": "ORDER_ASC"},
                {"hparam": "net", "order": "ORDER_ASC", "missingValuesFirst": True},
            ],
            ["logged-1", "curves", "logged-3", "events-0", "events-1", "logged-2"],
        ),
    ],
)
def test_rows_are_sorted_by_any_column(groups, columns, expected):
    assert names(groups(*columns)) == expected


LR, NET = {"hparam": "lr"}, {"hparam": "net"}
LOSS, ACCURACY = {"metric": {"tag": "loss"}}, {"metric": {"tag": "accuracy"}}


def between(low, high):
    return {"filterInterval": {"minValue": low, "maxValue": high}}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (LR | between(0.05, 0.1), "e1 l1"),
        (LR | between("-Infinity", 0.05), "e1 l2"),
        (NET | {"filterRegexp": "net$"}, "e0 e1 l1"),
        (NET | {"filterDiscrete": ["vgg", "resnet"]}, "l1 l2"),
        (NET | {"filterDiscrete": []}, ""),
        ({"hparam": "fast", "filterDiscrete": [True]}, "l1"),
        ({"hparam": "layers", "filterDiscrete": [3]}, "e0 e1"),
        ({"hparam": "fast"}, "l1 l2"),
        ({"hparam": "nowhere"}, ""),
        (LOSS | between(0, 0.5), "c e0 e1"),
        (LOSS | between(1, "Infinity"), "l1 l2"),
        (ACCURACY | between(0, 1), "l1"),
        (ACCURACY, "l1 l2"),
    ],
)
def test_rows_are_chosen_by_any_column(groups, column, expected):
    short = {name[0] + name.partition("-")[2]: name for name in ALL}
    wanted = [short[one] for one in expected.split()]
    found = names(groups({**column, "excludeMissingValues": True}))
    assert found == sorted(wanted)
    assert set(names(groups(column))) >= set(wanted)


def test_pages_are_cut_from_the_sorted_rows(groups):
    by_lr = {"hparam": "lr", "order": "ORDER_ASC"}
    page = groups(by_lr, startIndex=2, sliceSize=2)
    assert names(page) == ["logged-1", "events-0"]
    assert page["totalSize"] == 6
    assert names(groups(by_lr, startIndex=6)) == []


def test_a_metric_has_a_curve_or_the_one_value_that_was_logged(ask):
    request = {"sessionName": "logged-1", "metricName": {"group": "", "tag": "loss"}}
    assert [row[2] for row in ask("metric_evals", request)] == [3, 2, 1]
    request["metricName"] = {"group": "validation", "tag": "loss"}
    assert [row[2] for row in ask("metric_evals", request)] == [4, 3]
    request = {"sessionName": "logged-2", "metricName": {"group": "", "tag": "accuracy"}}
    assert [row[2] for row in ask("metric_evals", request)] == ["NaN"]


def test_a_comparison_holds_the_sessions_of_both(house, groups, mixed):
    other = house.experiment("other-parameters")
    log_run(house.store.catalog, other, "r", {"lr": 0.07, "batch": 32}, {"accuracy": 0.9})
    board = house.path(mixed, other, aliases=("0", "1"))
    reply = groups({"hparam": "lr", "order": "ORDER_ASC"}, board=board)
    assert names(reply)[:4] == ["[1] 0/logged-2", "[1] 0/events-1", "[2] 1/r", "[1] 0/logged-1"]
    assert by_name(reply)["[2] 1/r"]["hparams"] == {"lr": 0.07, "batch": 32}


def test_the_tab_is_there_when_something_was_logged(house, owner):
    name = house.experiment("tab")
    run = house.store.catalog.create(Run(name=f"{name}/runs/a", display_name="a"))
    add_curves(house.store, run, {"loss": [1.0]})

    def tab():
        return owner.get(house.path(name) + "data/plugins_listing").json()["hparams"]["enabled"]

    assert tab() is False
    log_run(house.store.catalog, name, "a")
    assert tab() is False
    log_run(house.store.catalog, name, "b", {}, {"loss": 1.0})
    assert tab() is True


def test_runs_with_metrics_only_are_told_apart_by_name(house, ask, groups):
    name = house.experiment("metrics-only")
    for run_id, loss in (("a", 2.0), ("b", 1.0)):
        log_run(house.store.catalog, name, run_id, {}, {"loss": loss})
    board = house.path(name)
    infos = ask("experiment", {}, board)["hparamInfos"]
    assert [(i["name"], i["domainDiscrete"]) for i in infos] == [("run", ["a", "b"])]
    by_run = {"hparam": "run", "order": "ORDER_DESC"}
    assert names(groups(by_run, board=board)) == ["b", "a"]


def test_mixed_values_make_a_column_of_texts(house, ask, groups):
    name = house.experiment("mixed-values")
    for run_id, value in (("a", 3), ("b", "3.0"), ("c", True), ("d", "auto"), ("e", 0.5)):
        log_run(house.store.catalog, name, run_id, {"depth": value})
    board = house.path(name)
    (info,) = ask("experiment", {}, board)["hparamInfos"]
    assert info["type"] == "DATA_TYPE_STRING"
    assert info["domainDiscrete"] == ["0.5", "3.0", "auto", "true"]
    for chosen, expected in ((["3.0"], ["a", "b"]), (["true", "auto"], ["c", "d"])):
        column = {"hparam": "depth", "filterDiscrete": chosen, "excludeMissingValues": True}
        assert names(groups(column, board=board)) == expected
    column = {"hparam": "depth", "filterRegexp": r"^\d", "excludeMissingValues": True}
    assert names(groups(column, board=board)) == ["a", "b", "e"]


def test_metrics_that_are_texts_and_lists_are_columns_of_texts(house, ask, groups):
    name = house.experiment("texts")
    for run_id, verdict, layers in (("a", "good", [64, 32]), ("b", "bad", ["é", {"x": 1}])):
        log_run(house.store.catalog, name, run_id, {"layers": layers}, {"verdict": verdict})
    log_run(house.store.catalog, name, "c", {}, {"verdict": 0.5, "classes": [1]})
    board = house.path(name)
    reply = ask("experiment", {}, board)
    assert {i["name"]: i.get("domainDiscrete") for i in reply["hparamInfos"]} == {
        "layers": ['["é", {"x": 1}]', "[64, 32]"],
        "metric.classes": ["[1]"],
        "metric.verdict": ["bad", "good"],
    }
    assert [i["name"]["tag"] for i in reply["metricInfos"]] == ["verdict"]
    rows = by_name(groups(board=board))
    assert rows["a"]["hparams"] == {"layers": "[64, 32]", "metric.verdict": "good"}
    assert metrics(rows["c"]) == {"verdict": 0.5}
    ordered = {"hparam": "metric.verdict", "order": "ORDER_ASC"}
    assert names(groups(ordered, board=board)) == ["b", "a", "c"]
    chosen = {"hparam": "layers", "filterRegexp": "64", "excludeMissingValues": True}
    assert names(groups(chosen, board=board)) == ["a"]


def test_what_is_logged_shows_at_once(house, owner, groups, ask):
    name = house.experiment("fresh")
    log_run(house.store.catalog, name, "r", {"lr": 0.1})
    board = house.path(name)
    assert by_name(groups(board=board))["r"]["hparams"] == {"lr": 0.1}
    query = owner.get(board + TAB + "experiment", params={"request": "{}"})
    tag = {"If-None-Match": query.headers["etag"]}
    again = owner.get(board + TAB + "experiment", params={"request": "{}"}, headers=tag)
    assert again.status_code == 304
    context = context_of(name, "r")
    metadata = {"_params": {"lr": 0.2}, "_metrics": {"loss": 3}, "_state": "COMPLETE"}
    house.store.catalog.update(Context, context, changed(metadata=metadata))
    row = by_name(groups(board=board))["r"]
    assert (row["hparams"], metrics(row)) == ({"lr": 0.2}, {"loss": 3})
    changed_reply = owner.get(board + TAB + "experiment", params={"request": "{}"}, headers=tag)
    assert changed_reply.status_code == 200
    house.store.catalog.delete(Run, f"{name}/runs/r")
    assert names(groups(board=board)) == []


def test_parameters_of_an_experiment_that_only_shares_the_name_stay_hidden(house, groups):
    project = "projects/vision/locations/us-central1"
    theirs = house.experiment("shared-name", f"{project}/tensorboards/77")
    log_run(house.store.catalog, theirs, "r", {"secret": "yes"})
    ours = house.experiment("shared-name")
    run = house.store.catalog.create(Run(name=f"{ours}/runs/r", display_name="r"))
    add_curves(house.store, run, {"loss": [1.0]})
    assert names(groups(board=house.path(ours))) == []
    assert by_name(groups(board=house.path(theirs)))["r"]["hparams"] == {"secret": "yes"}


def test_keras_groups_share_parameters_and_their_metrics_are_joined(house, groups, tmp_path):
    from tensorboard.plugins.hparams import summary_v2 as hp

    name = house.experiment("trials")
    for number, loss in enumerate((1.0, 2.0, 6.0)):
        for folder, values in (("a", {"lr": 0.1}), ("b", {"lr": 0.2 + number})):
            with SummaryWriter(str(tmp_path / f"{folder}{number}")) as writer:
                summary = type(hparams_summaries({}, {})[0])
                proto = hp.hparams_pb(values, trial_id=None if folder == "b" else "a")
                item = summary.FromString(proto.SerializeToString())
                writer.file_writer.add_summary(item)
                writer.add_scalar("loss", loss, number)
    load_logs(house.store, name, tmp_path)
    board = house.path(name)
    everything = groups(board=board)
    assert everything["totalSize"] == 4
    joined = by_name(everything)["a"]
    assert [session["name"] for session in joined["sessions"]] == ["a0", "a1", "a2"]
    assert metrics(joined) == {"loss": 3.0}
    for how, value in (("MEDIAN", 2.0), ("MIN", 1.0), ("MAX", 6.0)):
        fields = {"aggregationType": f"AGGREGATION_{how}", "aggregationMetric": {"tag": "loss"}}
        assert metrics(by_name(groups(board=board, **fields))["a"]) == {"loss": value}
    by_loss = {"metric": {"tag": "loss"}, "order": "ORDER_ASC"}
    sizes = [len(g["sessions"]) for g in groups(by_loss, board=board)["sessionGroups"]]
    assert sizes == [1, 1, 3, 1]  # 1, 2, 3 on average, 6


def test_a_run_that_merely_holds_sessions_is_no_row(house, groups, tmp_path):
    name = house.experiment("nested")
    with SummaryWriter(str(tmp_path / "train")) as writer:
        writer.add_scalar("loss", 1.0, 1)
        writer.add_hparams({"lr": 0.1}, {"accuracy": 0.9}, name="trial")
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("loss", 1.0, 1)
    load_logs(house.store, name, tmp_path)
    reply = groups(board=house.path(name))
    assert names(reply) == ["train/trial"]


@pytest.mark.parametrize("form", ["csv", "json", "latex"])
def test_the_table_can_be_downloaded(house, owner, mixed, form):
    request = {"allowedStatuses": STATUSES, "sliceSize": 100, "colParams": []}
    options = {
        "format": form,
        "request": json.dumps(request),
        "columnsVisibility": json.dumps([True] * 8),
    }
    reply = owner.get(house.path(mixed) + TAB + "download_data", params=options)
    assert reply.status_code == 200, reply.text
    if form == "csv":
        rows = reply.text.splitlines()
        assert rows[0] == "fast,lr,net,layers,metric.verdict,odd,only,accuracy"
        assert rows[4] == "True,0.1,resnet,,good,,7.0,0.8"
    else:
        assert "resnet" in reply.text


@pytest.mark.parametrize(
    ("path", "request_", "status"),
    [
        ("session_groups", "no json", 400),
        ("session_groups", "", 400),
        ("session_groups", '{"unknown": 1}', 400),
        ("session_groups", '{"startIndex": -1}', 400),
        ("session_groups", '{"colParams": [{"order": "ORDER_ASC"}]}', 400),
        ("session_groups", '{"colParams": [{"hparam": "net", "filterRegexp": "("}]}', 400),
        ("session_groups", json.dumps({"colParams": [LR | between("NaN", 1)]}), 400),
        (
            "session_groups",
            json.dumps({"colParams": [LOSS | {"filterRegexp": "a"}], "allowedStatuses": STATUSES}),
            400,
        ),
        ("session_groups", "[" * 100_000, 400),
        ("session_groups", "\xff", 400),
        ("metric_evals", '{"sessionName": "nobody", "metricName": {"tag": "loss"}}', 404),
        ("metric_evals", '{"sessionName": "logged-1", "metricName": {"tag": "none"}}', 404),
        ("experiment", '{"hparamsLimit": "many"}', 400),
    ],
)
def test_bad_requests_are_told_so(house, owner, mixed, path, request_, status):
    body = request_.encode("latin-1")
    reply = owner.post(house.path(mixed) + TAB + path, content=body)
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]["message"]


def test_a_costly_pattern_costs_nothing(house, groups):
    name = house.experiment("patterns")
    log_run(house.store.catalog, name, "r", {"text": "a" * 5000 + "!"})
    column = {"hparam": "text", "filterRegexp": "(a+)+$", "excludeMissingValues": True}
    assert names(groups(column, board=house.path(name))) == []


def test_a_series_that_is_no_summary_hides_only_itself(house, groups):
    name = house.experiment("unreadable-parameters")
    log_run(house.store.catalog, name, "good", {"lr": 0.1})
    bad = house.store.catalog.create(Run(name=f"{name}/runs/bad", display_name="bad"))
    for at, data in enumerate((b"\xff\xff", b"")):
        tag = ("_hparams_/session_start_info", "_hparams_/experiment")[at]
        house.store.catalog.create(
            TimeSeries(
                name=f"{bad.name}/timeSeries/{at}",
                display_name=tag,
                value_type=2,
                plugin_name="hparams",
                plugin_data=data,
            )
        )
    assert names(groups(board=house.path(name))) == ["good"]
