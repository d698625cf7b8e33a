"""The same event files, by TensorBoard itself and by our boards: the same answers."""

import json

import httpx
import pytest
from tensorboard import default, program

from tests.board.board_logs import load_logs, write_everything, write_graph, write_scalars

pytestmark = pytest.mark.heavy

DIFFERENT = ("query", "imageId", "displayName")


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    write_scalars(folder)
    write_everything(folder / "all", 1)
    write_graph(folder / "all")
    return folder


@pytest.fixture(scope="module")
def theirs(logdir):
    """TensorBoard on the log directory."""
    board = program.TensorBoard(plugins=default.get_static_plugins())
    # Everything is read before the start, so that no answer comes too early.
    flags = f"tensorboard --logdir {logdir} --load_fast=false --reload_interval=0 --port=0"
    board.configure(argv=[*flags.split(), "--reload_task=blocking"])
    with httpx.Client(base_url=board.launch(), timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def ours(house, logdir):
    """Our board of an experiment with the same runs."""
    experiment = house.experiment("differential")
    load_logs(house.store, experiment, logdir)
    with house.client() as client:
        client.base_url = house.url + house.path(experiment)
        yield client


def answer(client, path, **options):
    method = "POST" if options else "GET"
    response = client.request(method, f"data/{path}", **options)
    assert response.status_code == 200, response.text
    return normal(response.json())


def normal(value):
    """Without what may differ: addresses of blobs, the last bit of a time, the order of runs.

    And `displayName`: the API's time series have no such field, and it repeats the tag.
    """
    if isinstance(value, dict):
        return {k: normal(v) for k, v in value.items() if k not in DIFFERENT}
    if isinstance(value, list):
        return [normal(v) for v in value]
    return round(value, 5) if isinstance(value, float) else value


@pytest.mark.parametrize(
    "path",
    [
        "plugin/timeseries/tags",
        "plugin/scalars/tags",
        "plugin/scalars/scalars?run=run_0/train&tag=loss",
        "plugin/scalars/scalars?run=run_1/train&tag=odd/values",
        "plugin/images/tags",
        "plugin/images/images?run=all&tag=digits&sample=0",
        "plugin/audio/tags",
        "plugin/histograms/tags",
        "plugin/histograms/histograms?run=all&tag=layer1/weights",
        "plugin/distributions/tags",
        "plugin/distributions/distributions?run=all&tag=layer1/weights",
        "plugin/text/tags",
        "plugin/text/text?run=all&tag=notes/text_summary",
        "plugin/pr_curves/tags",
        "plugin/pr_curves/pr_curves?run=all&tag=pr",
        "plugin/mesh/tags",
        "plugin/graphs/info",
        "plugin/custom_scalars/layout",
    ],
)
def test_answers_are_those_of_tensorboard(ours, theirs, path):
    assert answer(ours, path) == answer(theirs, path)


@pytest.mark.parametrize(
    "request_",
    [
        {"plugin": "scalars", "tag": "loss"},
        {"plugin": "scalars", "tag": "odd/values"},
        {"plugin": "scalars", "tag": "odd/values", "run": "run_0/train"},
        {"plugin": "scalars", "tag": "nowhere"},
        {"plugin": "scalars"},
        {"plugin": "what", "tag": "loss"},
        {"plugin": "histograms", "tag": "layer1/weights", "run": "all"},
        {"plugin": "histograms", "tag": "layer1/weights"},
        {"plugin": "images", "tag": "digits", "run": "all", "sample": 0},
    ],
)
def test_time_series_are_those_of_tensorboard(ours, theirs, request_):
    # A form with a file part is what the browser's FormData becomes.
    form = {"files": {"requests": (None, json.dumps([request_]))}}
    path = "plugin/timeseries/timeSeries"
    assert answer(ours, path, **form) == answer(theirs, path, **form)


def test_several_runs_are_those_of_tensorboard(ours, theirs):
    form = {"data": {"tag": "loss", "runs": ["run_0/train", "run_1/train", "none"]}}
    path = "plugin/scalars/scalars_multirun"
    assert answer(ours, path, **form) == answer(theirs, path, **form)


def test_hyper_parameters_hold_those_of_tensorboard(ours, theirs):
    """Ours hold more: domains of the values, and rows for runs that have curves only."""
    path, body = "plugin/hparams/experiment", {"experimentName": ""}
    mine, other = answer(ours, path, json=body), answer(theirs, path, json=body)
    assert [(i["name"], i["type"]) for i in mine["hparamInfos"]] == [
        (i["name"], i["type"]) for i in other["hparamInfos"]
    ]
    assert mine["metricInfos"][: len(other["metricInfos"])] == other["metricInfos"]

    path = "plugin/hparams/session_groups"
    body = {"startIndex": 0, "sliceSize": 10, "colParams": [], "allowedStatuses": [0, 1, 2, 3]}
    mine, other = answer(ours, path, json=body), answer(theirs, path, json=body)
    trials = [row for row in mine["sessionGroups"] if row["hparams"]]
    assert trials == other["sessionGroups"] != []
    assert {row["name"] for row in mine["sessionGroups"]} == {row["name"] for row in trials} | set(
        answer(theirs, "plugin/scalars/tags")
    )
    nobody = {**body, "allowedStatuses": []}
    assert answer(ours, path, json=nobody) == answer(theirs, path, json=nobody)


def test_tabs_are_those_of_tensorboard(ours, theirs):
    mine, other = answer(ours, "plugins_listing"), answer(theirs, "plugins_listing")
    # Those need a log directory of their own, or point to other packages.
    left_out = {"debugger-v2", "profile_redirect", "wit_redirect"}
    assert list(mine) == [name for name in other if name not in left_out]
    assert mine == {name: tab for name, tab in other.items() if name not in left_out}


def test_runs_and_environment_have_the_form_of_tensorboard(ours, theirs):
    assert sorted(answer(ours, "runs")) == sorted(answer(theirs, "runs"))
    mine, other = answer(ours, "environment"), answer(theirs, "environment")
    assert set(other) - set(mine) <= {"debug"}
    assert mine["version"] == other["version"]


def test_the_graph_is_the_same(ours, theirs):
    path = "data/plugin/graphs/graph?run=all&conceptual=false"
    assert ours.get(path).text == theirs.get(path).text != ""


def test_images_and_sound_are_the_same_bytes(ours, theirs):
    for path, inner in (
        ("plugin/images/images?run=all&tag=digits&sample=0", "individualImage"),
        ("plugin/audio/audio?run=all&tag=tone&sample=0", "individualAudio"),
    ):
        plugin = path.split("/")[1]
        bodies = []
        for client in (ours, theirs):
            first = client.get(f"data/{path}").json()[0]
            query = first["query"]
            reply = client.get(f"data/plugin/{plugin}/{inner}?ts=0&{query}")
            assert reply.status_code == 200, reply.text
            bodies.append((reply.headers["content-type"], reply.content))
        assert bodies[0] == bodies[1]
