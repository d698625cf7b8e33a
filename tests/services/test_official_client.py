"""The services as the unmodified google-cloud-aiplatform sees them, on both its transports."""

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import make_server

SCRIPTS = Path(__file__).parent / "client_scripts"
TRANSPORTS = ["grpc", pytest.param("rest", marks=pytest.mark.heavy)]


def run_script(server, name: str, transport: str) -> dict:
    script = SCRIPTS / f"{name}.py"
    done = server.exec(sys.executable, "-W", "ignore", str(script), f"p-{transport}", transport)
    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert done.returncode == 0, done.stderr[-4000:]
    assert results, done.stdout[-2000:]
    return json.loads(results[0].removeprefix("RESULT "))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_resources(server, transport):
    result = run_script(server, "resources", transport)
    assert result.pop("missing").endswith("was not found.")
    assert "no such tag" in result.pop("unknown_tag")
    assert result == {
        "boards": [["two", "text", {"a": "b"}]],
        "series": 22,
        "points": [0.5, 1.5, 2.5],
        "found": ["tag/7"],
        "runs": [],
        "boards_at_the_end": 0,
    }


@pytest.fixture(scope="module")
def idle_server(tmp_path_factory):
    """A server that keeps jobs and runs none, so that they are where they were put."""
    data_dir = tmp_path_factory.mktemp("idle") / "data"
    server = make_server(data_dir, "--run-jobs", "false").start()
    yield server
    server.kill()


@pytest.mark.heavy
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_training(idle_server, transport):
    result = run_script(idle_server, "training", transport)
    assert result.pop("missing").endswith("was not found.")
    assert "job_spec.service_account" in result.pop("refused")
    assert result == {
        "training": {
            "listed": ["training"],
            "state": "PIPELINE_STATE_CANCELLED",
            "error": True,
            "job": "training-custom-job",
            "args": ["--epochs", "4", "--rate", "0.5"],
            "timeout": 3600,
        },
        "jobs": [["job", {"a": "b"}, True]],
        "run": [True, [True], True],
        "model": {
            "versions": [["2", ["candidate"], "second"], ["1", ["default", "prod"], ""]],
            "by_alias": "2",
            "default": "1",
            "second": ["2", "model"],
            "listed": [["model", "text", {"a": "b"}]],
        },
        "left": ["1"],
        "models_at_the_end": 0,
    }


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_metadata_service_in_both_versions(server, transport):
    result = run_script(server, "metadata", transport)
    assert result["v1"] == result["v1beta1"]
    assert result["v1"] == {
        "stores": ["default", "mine"],
        "store": "d",
        "schema": True,
        "schemas": 1,
        "misfit": True,
        "parents": True,
        "orphan": [],
        "graphs": [[2, 1, 2], [2, 1, 2], [2, 1, 2]],
        "one_hop": 1,
        "event": [{"role": "train"}, True],
        "updated": ["n", "n", "n"],
        "kept": "gs://b/data",
        "changes": {
            "logged 0.5": 0.5,
            "logged 1.0": 1.0,
            "logged True": True,
            "renamed": "new",
            "missing": True,
            "made": "d",
            "misfit": True,
            "stale": "Aborted" if transport == "grpc" else "joined",
        },
        "listed": [True],
        "executions": ["n"],
        "contexts": ["n", "below"],
        "dry": [1, True],
        "purged": [2, 1, 2],
        "deleted": True,
        "stores_left": ["default"],
    }
