"""The real gcloud on training jobs and models."""

import json
import shutil

import pytest

from tests.conftest import Server, make_server

pytestmark = [
    pytest.mark.heavy,  # gcloud takes seconds to start
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed"),
]

CONFIG = """
workerPoolSpecs:
- machineSpec: {machineType: n1-standard-4}
  replicaCount: 1
  pythonPackageSpec:
    executorImageUri: us-docker.pkg.dev/vertex-ai/training/pytorch-cpu.2-4.py310:latest
    packageUris: [gs://bucket/trainer.tar.gz]
    pythonModule: trainer.task
baseOutputDirectory: {outputUriPrefix: gs://bucket/out}
"""


@pytest.fixture(scope="module")
def idle_server(tmp_path_factory):
    """A server that keeps jobs and runs none."""
    data_dir = tmp_path_factory.mktemp("idle") / "data"
    server = make_server(data_dir, "--run-jobs", "false").start()
    yield server
    server.kill()


def gcloud(server: Server, *arguments: str):
    """What a command prints as JSON."""
    done = server.exec(
        *("gcloud", "ai", *arguments),
        *("--project=p", "--region=us-central1", "--format=json", "--quiet"),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_custom_jobs(idle_server, tmp_path):
    config = tmp_path / "job.yaml"
    config.write_text(CONFIG)
    created = gcloud(
        idle_server,
        *("custom-jobs", "create", "--display-name=job", f"--config={config}"),
        *("--args=--epochs=3", "--labels=a=b"),
    )
    name = created["name"]
    (listed,) = gcloud(idle_server, "custom-jobs", "list", "--filter=labels.a=b")
    assert (listed["name"], listed["state"]) == (name, "JOB_STATE_QUEUED")
    pool = listed["jobSpec"]["workerPoolSpecs"][0]
    assert pool["pythonPackageSpec"]["args"] == ["--epochs=3"]
    gcloud(idle_server, "custom-jobs", "cancel", name)
    described = gcloud(idle_server, "custom-jobs", "describe", name)
    assert described["state"] == "JOB_STATE_CANCELLED"
    assert described["error"]["message"]


def test_models(idle_server):
    image = "--container-image-uri=gcr.io/p/serve"
    gcloud(idle_server, "models", "upload", "--display-name=model", image)
    (model,) = gcloud(idle_server, "models", "list")
    gcloud(
        idle_server,
        *("models", "upload", "--display-name=model", image),
        *(f"--parent-model={model['name']}", "--version-aliases=beta"),
    )
    listed = gcloud(idle_server, "models", "list-version", model["name"])
    assert [version["versionId"] for version in listed] == ["2", "1"]
    described = gcloud(idle_server, "models", "describe", f"{model['name']}@beta")
    assert described["versionAliases"] == ["beta"]
    gcloud(idle_server, "models", "delete-version", f"{model['name']}@beta")
    gcloud(idle_server, "models", "delete", model["name"])
    assert gcloud(idle_server, "models", "list") == []
