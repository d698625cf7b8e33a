"""Experiments as the official client's user writes them, over gRPC, REST and the silent switch."""

import json
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent / "experiments"
TRANSPORTS = ["grpc", pytest.param("rest", marks=pytest.mark.heavy)]
AUTOLOGGING = ("google-cloud-aiplatform[autologging]==2.7.0", "mlflow==2.16.0", "protobuf<6")
"""mlflow 2.16.0 is the newest that the client's extra allows, and fails to import beside a newer
protobuf, which the extra does not say."""


def result_of(output: str) -> dict[str, Any]:
    results = [line for line in output.splitlines() if line.startswith("RESULT ")]
    assert results, output[-4000:]
    return json.loads(results[0].removeprefix("RESULT "))


def run_script(
    server: Any, name: str, transport: str, project: str = "", python: str = sys.executable
) -> dict[str, Any]:
    """What a script answers, run in a project of its own unless one is given."""
    project = project or f"e-{uuid.uuid4().hex[:8]}"
    done = server.exec(python, "-W", "ignore", str(SCRIPTS / f"{name}.py"), project, transport)
    assert done.returncode == 0, done.stderr[-4000:]
    return result_of(done.stdout)


@pytest.mark.parametrize(
    "transport", [*TRANSPORTS, pytest.param("switch", marks=pytest.mark.heavy)]
)
def test_runs_are_tracked_compared_and_deleted(server, transport):
    result = run_script(server, "track", transport)
    assert result.pop("missing").endswith("was not found.")
    frame = {row.pop("run_name"): row for row in result.pop("frame")}
    assert {name: row["state"] for name, row in frame.items()} == {
        "broken": "FAILED",
        "first": "COMPLETE",
        "own": "COMPLETE",
        "second": "COMPLETE",
        "third": "FAILED",
    }
    assert frame["first"] == {
        "experiment_name": "exp",
        "run_type": "system.ExperimentRun",
        "state": "COMPLETE",
        "param.lr": 0.1,
        "param.layers": 3.0,
        "param.optimizer": "adam",
        "param.dropout": 0.5,
        "metric.accuracy": 0.625,
        "metric.verdict": "fair",
        "metric.late": 7.0,
        "time_series_metric.loss": 0.2,
        "time_series_metric.rate": 3.0,
    }
    assert {name: row["param.lr"] for name, row in frame.items()} == {
        "broken": 9.0,
        "first": 0.1,
        "own": 1.0,
        "second": 0.2,
        "third": 0.3,
    }
    assert frame["second"]["time_series_metric.loss"] == 0.125
    assert result == {
        "while_running": "RUNNING",
        "classes": [
            {
                "display_name": "by class",
                "labels": ["cat", "dog"],
                "matrix": [[9.0, 1.0], [2.0, 8.0]],
                "fpr": [0.1, 0.5, 0.9],
                "tpr": [0.2, 0.7, 1.0],
                "threshold": [0.9, 0.5, 0.1],
            }
        ],
        "params": {"lr": 0.1, "layers": 3.0, "optimizer": "adam", "dropout": 0.5},
        "metrics": {"accuracy": 0.625, "verdict": "fair", "late": 7.0},
        "curve": {"step": [1, 2, 3, 4], "loss": [1.0, 0.5, pytest.approx(1 / 3), 0.2]},
        "twice": True,
        "got": [None, "third", None, "exp"],
        "states": {
            "first": "COMPLETE",
            "second": "COMPLETE",
            "third": "FAILED",
            "broken": "FAILED",
        },
        "columns_without_series": [
            "experiment_name",
            *("metric.accuracy", "metric.late", "metric.verdict"),
            *("param.dropout", "param.layers", "param.lr", "param.optimizer"),
            *("run_name", "run_type", "state"),
        ],
        "experiments": ["exp"],
        "board_is": True,
        "board_runs": ["broken", "first", "own", "second", "third"],
        # The client deletes a run's curves only when it is told to.
        "board_runs_after_a_run": ["broken", "first", "own", "second", "third"],
        "board_runs_after_both": ["broken", "first", "second", "third"],
        "board_runs_at_the_end": ["second"],
        "experiments_at_the_end": [],
    }


@pytest.mark.heavy
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_executions_know_what_went_in_and_what_came_out(server, transport):
    assert run_script(server, "lineage", transport) == {
        "resumed": "RUNNING",
        "states": ["COMPLETE", "COMPLETE"],
        "failed": "FAILED",
        "inputs": ["gs://b/clean"],
        "outputs": ["gs://b/model"],
        "of_run": [["gs://b/clean", "gs://b/model", "gs://b/raw"], 2],
        "associated": ["lone", "prepare", "train"],
        "updated": ["CACHED", {"x": {"y": 1.0}}],
        "subgraph": [3, 3, 4],
        "found": ["gs://b/raw", "gs://b/model"],
        "with_uri": "raw",
        "model": [{"auc": 0.75}, "better", "0.0.1"],
        "once": True,
        "run_types": {"run": "system.ExperimentRun", "pipeline-run": "system.PipelineRun"},
        "pipelines_of_run": 0,
        "pipeline_frame": ["lone"],
        "left": [["gs://b/clean", "gs://b/raw"], ["prepare", "train"]],
    }


@pytest.mark.heavy
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_pipelines_that_run_elsewhere_are_logged_to_runs(server, transport):
    result = run_script(server, "pipelines", transport)
    assert "nothing here runs pipelines" in result.pop("submitted")
    assert result == {
        "job": ["PIPELINE_STATE_SUCCEEDED", True, {"lr": 0.5}],
        "listed": ["kfp-1", "kfp-2"],
        "logged": ["kfp-1", "kfp-2"],
        "frame": [
            {
                "experiment_name": "exp",
                "run_name": "kfp-1",
                "run_type": "system.PipelineRun",
                "state": "COMPLETE",
                "param.lr": 0.5,
                "metric.auc": 0.75,
            },
            {
                "experiment_name": "exp",
                "run_name": "run",
                "run_type": "system.ExperimentRun",
                "state": "COMPLETE",
                "param.lr": None,
                "metric.auc": None,
            },
        ],
        "experiment_of": "exp",
    }


@pytest.mark.heavy
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_models_come_back_from_our_cloud_storage(server, transport):
    result = run_script(server, "models", transport)
    assert result.pop("uri").endswith("-models/models/my-model")
    assert result == {
        "of_run": ["sklearn", "sklearn"],
        "info": ["sklearn", "sklearn.linear_model._base.LinearRegression", "line"],
        "predicts": [21.0, 1.0],
        "by_run": 3.0,
        "files": ["models/my-model/instance.yaml", "models/my-model/model.pkl"],
        "listed": 3,
        "registered": ["registered", "1"],
    }


@pytest.mark.heavy
@pytest.mark.parametrize("transport", ["grpc", "rest", "switch"])
def test_an_experiment_without_a_tensorboard_of_its_own(server, transport):
    result = run_script(server, "default_board", transport)
    assert "backing tensorboard" in result.pop("refused")
    assert result == {
        "none_made": [],
        "made": [1, True],
        "curve": [1.0],
        "third": True,
        "second": True,
        "runs_without_board": ["run"],
        "frame_without_board": [["run"], False],
        "board_without_board": None,
        "goes_on": True,
        "at_the_end": [0, ["other"]],
    }


@pytest.mark.heavy
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_an_experiment_and_its_tensorboard_experiment_are_one(server, transport):
    renamed = ["Runner-up", "The best", "three"]
    assert run_script(server, "two_faces", transport) == {
        "renamed": [renamed, renamed],
        "still": [renamed, renamed],
        "after_a_run": [["Runner-up", "three"], ["Runner-up", "three"]],
        "after_its_context": [["three"], ["Runner-up", "three"]],
        "started_again": {},
        "after_the_experiment": [[], 0],
    }


@pytest.mark.heavy
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_what_goes_wrong_is_said_and_breaks_nothing(server, transport):
    result = run_script(server, "bad_days", transport)
    for name, said in {
        "too_long": "`context.metadata` must be at most 204800 bytes",
        "cycle": "contexts may not form a circle",
        "itself": "contexts may not form a circle",
        "deleted": "was not found",
        "deleted_child": "was not found",
        "bad_filter": "`filter`, character 28: it ends too early",
        "no_field": "`filter`, character 11: artifacts can't be searched by",
    }.items():
        assert said in result.pop(name)
    # Over REST the client itself has no way to send them.
    not_numbers = ["NaN", "Infinity"] if transport == "grpc" else "SerializeToJsonError"
    assert result == {
        "after_refusal": {},
        "nan": not_numbers,
        "curve": [True, True],
        "frame": ["Run-1"],
        "injected": [0, 0, 0, 0, 0],
        "stale": {"lr": 0.1, "one": 1, "two": 2},
        "long": [10_000, 10_000, 1],
    }


@pytest.fixture(scope="module")
def autologging_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has an mlflow which imports: it can't live beside our own protobuf."""
    folder = tmp_path_factory.mktemp("autologging")
    uv = str(Path(sys.executable).parent / "uv")
    python = str(folder / "bin" / "python")
    for command in (
        ("venv", "--quiet", "--python", sys.executable, str(folder)),
        ("pip", "install", "--quiet", "--python", python, *AUTOLOGGING, "scikit-learn"),
    ):
        subprocess.run([uv, *command], check=True)
    return python


@pytest.mark.heavy
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_autolog_tracks_a_fit_that_logs_nothing(server, autologging_python, transport):
    assert run_script(server, "automatic", transport, python=autologging_python) == {
        "runs": 2,
        "states": ["COMPLETE"],
        "made_up": [True],
        "alphas": [["0.25"], ["0.5"]],
        "scored": [True, True],
    }


def at_once(
    server: Any,
    name: str,
    transports: Sequence[str],
    project: str,
    arguments: list[tuple[str, ...]],
) -> list[dict[str, Any]]:
    """What a script answers in several processes that start its work at the same moment."""
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", str(SCRIPTS / f"{name}.py")),
                *(project, transport, *words),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=server.env,
        )
        for transport, words in zip(transports, arguments, strict=True)
    ]
    results = []
    try:
        for process in processes:
            assert process.stdout.readline() == "READY\n", process.stderr.read()
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            output, errors = process.communicate(timeout=400)
            assert process.returncode == 0, errors[-4000:]
            results.append(result_of(output))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return results


@pytest.mark.heavy
@pytest.mark.timeout(600)
@pytest.mark.parametrize("transports", [("grpc", "grpc"), ("rest", "rest"), ("grpc", "rest")])
def test_two_processes_at_once_track_one_experiment_in_every_way(server, transports):
    project = f"e-{uuid.uuid4().hex[:8]}"
    place = f"v1/projects/{project}/locations/us-central1"
    board = {"displayName": "board", "isDefault": True}
    rest(server, "POST", f"{place}/tensorboards", board)
    data = {"uri": "gs://b/data", "schemaTitle": "system.Dataset"}
    rest(server, "POST", f"{place}/metadataStores/default/artifacts?artifactId=shared-data", data)
    results = at_once(server, "side_by_side", transports, project, [("a",), ("b",)])
    for writer, result in zip("ab", results, strict=True):
        assert result == {
            "params": {"number": 1, "writer": writer},
            "curve": [2, 1.5, pytest.approx(4 / 3)],
            "matrix": [[[1, 0], [0, 1]]],
            "made": ["gs://b/data", f"gs://b/{writer}-1"],
        }
    # Not while others list: the client gives curves to each run that it finds without.
    at_once(server, "side_by_side_delete", transports, project, [("a",), ("b",)])
    after = run_script(server, "side_by_side_after", "grpc", project)
    frame = {row.pop("run_name"): row for row in after["frame"]}
    assert set(frame) == {"a-0", "a-1", "b-0", "b-1"}
    assert {row["state"] for row in frame.values()} == {"COMPLETE"}
    assert [frame[name]["metric.late"] for name in ("a-0", "a-1", "b-0")] == [1, None, 1]
    assert frame["b-1"]["time_series_metric.loss"] == pytest.approx(4 / 3)
    assert after["board"] == ["a-0", "a-1", "b-0", "b-1"]
    assert after["reads_of_data"] == 6


@pytest.mark.heavy
@pytest.mark.parametrize("transports", [("grpc", "grpc"), ("rest", "rest"), ("grpc", "rest")])
def test_two_processes_at_once_on_one_run_lose_nothing(server, transports):
    project, count = f"e-{uuid.uuid4().hex[:8]}", 8
    run_script(server, "together_before", "grpc", project)
    arguments = [("a", str(count)), ("b", str(count))]
    for result in at_once(server, "together", transports, project, arguments):
        assert result == {"metrics": count - 1}
    after = run_script(server, "together_after", "grpc", project)
    expected = {f"{name}-{number}": number for name in "ab" for number in range(count)}
    assert after["params"] == {"common": 1, **expected}
    assert after["metrics"] == {f"{name}-last": count - 1 for name in "ab"}
    curve = [1 / (number + 1) for number in range(count)]
    assert after["curves"] == {f"{name}-loss": curve for name in "ab"}


def rest(server: Any, verb: str, path: str, body: object = None) -> Any:
    request = urllib.request.Request(
        f"{server.url}/{path}",
        method=verb,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "authorization": f"Bearer {server.token}",
            "content-type": "application/json",
        },
    )
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


@pytest.mark.heavy
@pytest.mark.parametrize("transports", [("grpc",), ("rest",), ("grpc", "rest")])
def test_twenty_processes_on_one_run_lose_nothing(server, transports):
    writers, count = 20, 10
    store = f"projects/e-{uuid.uuid4().hex[:8]}/locations/us-central1/metadataStores/default"
    context = {"displayName": "run", "metadata": {"_params": {"common": 1}, "_state": "RUNNING"}}
    name = rest(server, "POST", f"v1/{store}/contexts?contextId=exp-run", context)["name"]
    token = server.token
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, str(Path(__file__).parent / "run_writer.py")),
                *(transports[number % len(transports)], f"127.0.0.1:{server.port}", name),
                *(str(number), str(count)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(writers)
    ]
    try:
        for process in processes:
            process.stdin.write(f"{token}\n")
            process.stdin.flush()
        for process in processes:
            assert process.stdout.readline() == "READY\n", process.stderr.read()
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            _, errors = process.communicate(timeout=200)
            assert process.returncode == 0, errors[-4000:]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    params = rest(server, "GET", f"v1/{name}")["metadata"]["_params"]
    expected = {
        f"{writer}-{number}": number for writer in range(writers) for number in range(count)
    }
    assert params == {"common": 1, **expected}
