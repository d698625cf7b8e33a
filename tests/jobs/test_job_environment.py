"""What a job's replicas get to see."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck.jobs import launch_plan
from tensordeck.jobs.bucket_paths import BucketPaths
from tensordeck.jobs.cluster import Cluster
from tensordeck.jobs.executor import Replica
from tensordeck.jobs.job_environment import JobEnvironment
from tensordeck.jobs.job_folder import JobFolder
from tensordeck.redirect.endpoint import Endpoint
from tensordeck.store.resources import CustomJob

CONTEXTS = "projects/my-project/locations/us-central1/metadataStores/default/contexts"


def pool(replicas: int = 1, **task: Any) -> dict[str, Any]:
    return {
        "machineSpec": {"machineType": "n1-standard-4"},
        "replicaCount": str(replicas),
        "containerSpec": {"imageUri": "image", **task},
    }


def planned(folder: Path, *pools: dict[str, Any], **spec: Any) -> tuple[Replica, ...]:
    """The replicas of a job with these pools."""
    job = CustomJob(
        name="projects/my-project/locations/europe-west4/customJobs/123",
        job_spec={"workerPoolSpecs": list(pools), **spec},
    )
    home = JobFolder(folder)
    bundle = folder / "bundle.pem"
    bundle.touch()
    environment = JobEnvironment(
        job,
        home,
        Cluster.on_this_host(launch_plan.replica_counts(job.job_spec)),
        Endpoint("http://127.0.0.1:7", "127.0.0.1", 7, home.key, bundle, home.gcloud, local=True),
        {"AIP_MODEL_DIR": folder / "gcs" / "b" / "out" / "model"},
    )
    return launch_plan.replicas(job.job_spec, {}, home.buckets, environment.variables)


def test_nothing_of_the_server_s_own_environment_gets_in(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORDECK_DATABASE_URL", "postgresql://user:secret@db/x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "the-server-s")
    monkeypatch.setenv("https_proxy", "http://user:secret@corporate:3128")
    monkeypatch.setenv("HOME", "/home/of/the/server")

    (replica,) = planned(tmp_path, pool())

    assert "secret" not in json.dumps(dict(replica.env))
    assert "TENSORDECK_DATABASE_URL" not in replica.env
    assert replica.env["GOOGLE_CLOUD_PROJECT"] == "my-project"
    assert Path(replica.env["HOME"]).is_relative_to(tmp_path)


def test_calls_come_back_to_us_as_the_job_s_account(tmp_path):
    (replica,) = planned(tmp_path, pool())

    assert replica.env["https_proxy"] == replica.env["HTTPS_PROXY"] == "http://127.0.0.1:7"
    assert replica.env["GOOGLE_APPLICATION_CREDENTIALS"] == str(JobFolder(tmp_path).key)
    assert Path(replica.env["CLOUDSDK_CONFIG"]).is_relative_to(tmp_path)


def test_the_job_knows_who_it_is(tmp_path):
    tensorboard = "projects/my-project/locations/europe-west4/tensorboards/5"

    (replica,) = planned(tmp_path, pool(), tensorboard=tensorboard)

    expected = {
        "CLOUD_ML_JOB_ID": "123",
        "CLOUD_ML_PROJECT_ID": "my-project",
        "CLOUD_ML_REGION": "europe-west4",
        "AIP_TENSORBOARD_RESOURCE_NAME": tensorboard,
        "AIP_TENSORBOARD_API_URI": "aiplatform.googleapis.com",
    }
    assert expected.items() <= replica.env.items()
    assert "AIP_EXPERIMENT_NAME" not in replica.env


def test_folders_end_in_a_slash_as_the_service_s_do(tmp_path):
    (replica,) = planned(tmp_path, pool())

    assert replica.env["AIP_MODEL_DIR"] == f"{tmp_path}/gcs/b/out/model/"


def test_an_experiment_s_run_goes_by_its_short_name(tmp_path):
    (replica,) = planned(
        tmp_path,
        pool(),
        experiment=f"{CONTEXTS}/churn",
        experimentRun=f"{CONTEXTS}/churn-run-7",
    )

    assert replica.env["AIP_EXPERIMENT_NAME"] == "churn"
    assert replica.env["AIP_EXPERIMENT_RUN_NAME"] == "run-7"


def test_the_spec_s_own_variables_win(tmp_path):
    own = [{"name": "AIP_MODEL_DIR", "value": "/gcs/mine/model"}, {"name": "EMPTY"}]

    (replica,) = planned(tmp_path, pool(env=own))

    assert replica.env["AIP_MODEL_DIR"] == f"{tmp_path}/gcs/mine/model"
    assert replica.env["EMPTY"] == ""


def test_replicas_of_all_pools_find_each_other(tmp_path):
    replicas = planned(tmp_path, pool(), pool(2), {}, pool())

    assert [replica.name for replica in replicas] == [
        *("workerpool0-0", "workerpool1-0", "workerpool1-1", "workerpool3-0")
    ]
    specs = [json.loads(replica.env["CLUSTER_SPEC"]) for replica in replicas]
    configs = [json.loads(replica.env["TF_CONFIG"]) for replica in replicas]
    assert all(spec["cluster"] == specs[0]["cluster"] for spec in specs)
    assert {name: len(hosts) for name, hosts in specs[0]["cluster"].items()} == {
        "workerpool0": 1,
        "workerpool1": 2,
        "workerpool3": 1,
    }
    addresses = [address for hosts in specs[0]["cluster"].values() for address in hosts]
    assert len(set(addresses)) == 4
    assert [spec["task"] for spec in specs] == [
        {"type": "workerpool0", "index": 0},
        {"type": "workerpool1", "index": 0},
        {"type": "workerpool1", "index": 1},
        {"type": "workerpool3", "index": 0},
    ]
    assert configs[0]["cluster"] == {
        "chief": specs[0]["cluster"]["workerpool0"],
        "worker": specs[0]["cluster"]["workerpool1"],
    }
    assert [config["task"]["type"] for config in configs] == [
        *("chief", "worker", "worker", "evaluator")
    ]
    assert {spec["environment"] for spec in specs + configs} == {"cloud"}
    assert [replica.env["RANK"] for replica in replicas] == ["0", "1", "2", "3"]
    assert {replica.env["WORLD_SIZE"] for replica in replicas} == {"4"}
    assert len({(r.env["MASTER_ADDR"], r.env["MASTER_PORT"]) for r in replicas}) == 1


def test_every_port_is_free_and_only_one_s(tmp_path):
    replicas = planned(tmp_path, pool(), pool())

    hosts = json.loads(replicas[0].env["CLUSTER_SPEC"])["cluster"].values()
    ports = [host.rpartition(":")[2] for (host,) in hosts]
    for replica in replicas:
        ports += [replica.env["AIP_TF_PROFILER_PORT"], replica.env["AIP_HTTP_HANDLER_PORT"]]
    ports.append(replicas[0].env["MASTER_PORT"])
    assert len(set(ports)) == 7
    for port in ports:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", int(port)))


def test_a_job_of_one_replica_has_no_cluster_for_tensorflow(tmp_path):
    (replica,) = planned(tmp_path, pool())

    assert "TF_CONFIG" not in replica.env
    assert json.loads(replica.env["CLUSTER_SPEC"])["cluster"].keys() == {"workerpool0"}


def test_numbers_in_arguments_are_written_as_people_write_them(tmp_path):
    (replica,) = planned(tmp_path, pool(args=["--epochs", 4.0, "--rate", 0.001, 7]))

    assert replica.args == ("--epochs", "4", "--rate", "0.001", "7")


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("/gcs/bucket", "ROOT/bucket"),
        ("--data=/gcs/bucket/a/b.csv", "--data=ROOT/bucket/a/b.csv"),
        (
            "pip3 install -q --user /gcs/my-bucket/x.tar.gz && python3 -m task /gcs/other/y",
            "pip3 install -q --user ROOT/my-bucket/x.tar.gz && python3 -m task ROOT/other/y",
        ),
        ("'/gcs/bucket/a b'", "'ROOT/bucket/a b'"),
        ("/data/gcs/bucket", "/data/gcs/bucket"),
        ("gs://bucket/gcs/bucket", "gs://bucket/gcs/bucket"),
        ("/gcs/Upper/x", "/gcs/Upper/x"),
        ("/gcs", "/gcs"),
        ("./gcs/bucket", "./gcs/bucket"),
    ],
)
def test_mounted_buckets_are_led_to_the_job_s_folder(text: str, rewritten: str):
    assert BucketPaths(Path("ROOT")).rewritten(text) == rewritten


def test_what_a_command_mentions_is_found():
    job_spec = {
        "workerPoolSpecs": [
            pool(
                command=["sh", "-c", "pip install /gcs/my-bucket/1:02:03.tar.gz&&run '/gcs/b-2/c/'"]
            ),
            {},
            pool(
                env=[{"name": "PYTHONPATH", "value": "/gcs/data/lib:/gcs/data/more"}],
                args=[1.0, "/gcs/whole"],
            ),
        ]
    }

    assert launch_plan.mounted(job_spec, BucketPaths(Path("/root"))) == {
        "gs://my-bucket/1:02:03.tar.gz",
        "gs://b-2/c/",
        "gs://data/lib",
        "gs://data/more",
        "gs://whole/",
    }


@given(st.text(max_size=40))
def test_text_without_a_mounted_bucket_stays_as_it_is(text: str):
    if "/gcs/" not in text:
        assert BucketPaths(Path("/root")).rewritten(text) == text


@pytest.mark.parametrize(
    ("scheduling", "seconds"),
    [
        ({}, 7 * 86_400),
        ({"scheduling": {"timeout": "0s"}}, 7 * 86_400),
        ({"scheduling": {"timeout": "3600s"}}, 3600),
        ({"scheduling": {"timeout": "1.500s"}}, 1.5),
    ],
)
def test_how_long_a_job_may_run(scheduling: dict[str, Any], seconds: float):
    assert launch_plan.timeout_seconds(scheduling) == seconds
