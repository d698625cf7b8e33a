"""PipelineService: pipelines as the official client sends them, and the jobs they become."""

import pytest

from tensordeck import errors, protos
from tensordeck.services.job_states import JobStates
from tensordeck.store.resources import JobState
from tests.services.conftest import DEFINITION, POOL

IMAGE = POOL["python_package_spec"]["executor_image_uri"]


def sent_by_the_client(board: str) -> dict:
    """The inputs of a `CustomTrainingJob.run`, in the form that it sends them."""
    return {
        "worker_pool_specs": [
            {
                "replica_count": 1,
                "machine_spec": {
                    "machine_type": "n1-standard-4",
                    "accelerator_type": "NVIDIA_TESLA_T4",
                    "accelerator_count": 1,
                },
                "disk_spec": {"boot_disk_type": "pd-ssd", "boot_disk_size_gb": 100},
                "python_package_spec": {
                    "executor_image_uri": IMAGE,
                    "package_uris": ["gs://b/t.tar.gz"],
                    "python_module": "aiplatform_custom_trainer_script.task",
                    "args": ["--epochs", 4, "--lr", 0.5, "--big", 1e300, True],
                    "env": [{"name": "N", "value": 3}],
                },
            },
            {},
            None,
        ],
        "base_output_directory": {"output_uri_prefix": "gs://b/aiplatform-2026-01-01-00:00:00.1"},
        "service_account": "sa@p.iam.gserviceaccount.com",
        "network": None,
        "tensorboard": board,
        "enable_web_access": True,
        "scheduling": {
            "timeout": "3600s",
            "restart_job_on_worker_restart": True,
            "disable_retries": False,
            "strategy": None,
            "max_wait_duration": None,
        },
    }


def job_of(api, pipeline: str):
    got = api("GetTrainingPipeline", name=pipeline)
    job = got.training_task_metadata.struct_value["backingCustomJob"]
    return api("GetCustomJob", name=job)


def test_a_pipeline_comes_back_as_it_was_created(api):
    inputs = sent_by_the_client(api.board())
    name = api.pipeline(inputs, labels={"a": "b"}, model_to_upload={"display_name": "m"})
    got = api("GetTrainingPipeline", name=name)
    assert name.startswith(f"{api.place}/trainingPipelines/")
    assert name.rpartition("/")[2].isdecimal()
    assert (got.display_name, dict(got.labels)) == ("pipeline", {"a": "b"})
    assert got.training_task_definition == DEFINITION
    assert protos.to_json(got.training_task_inputs) == inputs
    assert got.model_to_upload.display_name == "m"
    assert got.state == JobState.QUEUED
    assert not got.HasField("error")
    assert not got.HasField("input_data_config")


def test_its_job_has_the_spec_of_its_inputs(api):
    board = api.board()
    job = job_of(api, api.pipeline(sent_by_the_client(board), labels={"a": "b"}))
    spec = job.job_spec
    pool = spec.worker_pool_specs[0]
    assert (job.display_name, dict(job.labels)) == ("pipeline-custom-job", {"a": "b"})
    assert pool.replica_count == 1
    assert protos.to_json(pool.machine_spec) == {
        "machineType": "n1-standard-4",
        "acceleratorType": "NVIDIA_TESLA_T4",
        "acceleratorCount": 1,
    }
    assert pool.disk_spec.boot_disk_size_gb == 100
    assert list(pool.python_package_spec.args) == [
        *("--epochs", "4", "--lr", "0.5", "--big", "1e+300", "true"),
    ]
    assert pool.python_package_spec.env[0].value == "3"
    assert [bool(empty.ByteSize()) for empty in spec.worker_pool_specs[1:]] == [False, False]
    assert spec.tensorboard == board
    assert spec.service_account == "sa@p.iam.gserviceaccount.com"
    assert spec.enable_web_access
    assert spec.scheduling.timeout.seconds == 3600
    assert spec.scheduling.restart_job_on_worker_restart


def test_field_names_may_come_in_camel_case(api):
    pool = {"replicaCount": 1, "containerSpec": {"imageUri": "i", "args": [1]}}
    inputs = {"worker_pool_specs": None, "workerPoolSpecs": [pool]}
    job = job_of(api, api.pipeline(inputs))
    assert list(job.job_spec.worker_pool_specs[0].container_spec.args) == ["1"]


def test_pipelines_are_listed_newest_first_by_pages(api):
    names = [api.pipeline(labels={"n": str(n)}) for n in range(3)]
    api("CancelTrainingPipeline", name=names[1])
    first = api("ListTrainingPipelines", parent=api.place, page_size=2)
    assert [p.name for p in first.training_pipelines] == names[:0:-1]
    rest = api("ListTrainingPipelines", parent=api.place, page_token=first.next_page_token)
    assert [p.name for p in rest.training_pipelines] == names[:1]
    for text, expected in [
        ("state=PIPELINE_STATE_CANCELLED", names[1:2]),
        ("labels.n=2 AND displayName=pipeline", names[2:]),
    ]:
        found = api("ListTrainingPipelines", parent=api.place, filter=text)
        assert [p.name for p in found.training_pipelines] == expected


def test_cancelling_a_pipeline_cancels_its_job(api):
    name = api.pipeline()
    api("CancelTrainingPipeline", name=name)
    got = api("GetTrainingPipeline", name=name)
    assert (got.state, got.error.code) == (JobState.CANCELLED, 1)
    assert job_of(api, name).state == JobState.CANCELLED
    api("CancelTrainingPipeline", name=name)


def test_only_a_pipeline_that_has_ended_is_deleted(api):
    name = api.pipeline()
    job = job_of(api, name).name
    with pytest.raises(errors.FailedPrecondition, match="QUEUED"):
        api("DeleteTrainingPipeline", name=name)
    JobStates(api.store.catalog).succeeded(job)
    api("DeleteTrainingPipeline", name=name)
    for rpc in ("GetTrainingPipeline", "DeleteTrainingPipeline", "CancelTrainingPipeline"):
        with pytest.raises(errors.NotFound, match=name):
            api(rpc, name=name)
    assert api("GetCustomJob", name=job).state == JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"worker_pool_specs": None}, "worker_pool_specs"),
        ({"worker_pool_specs": [None]}, "worker_pool_specs"),
        ({"worker_pool_specs": "x"}, "worker_?[pP]ool_?[sS]pecs"),
        ({"worker_pool_specs": [{**POOL, "replica_count": 1.5}]}, "replica_?[cC]ount"),
        ({"worker_pool_spec": [POOL]}, "worker_pool_spec"),
        ({"scheduling": {"timeout": "soon"}}, "timeout"),
        (
            {"worker_pool_specs": [{**POOL, "machine_spec": {"accelerator_type": "ABACUS"}}]},
            "ABACUS",
        ),
    ],
)
def test_inputs_that_are_no_job_are_refused(api, inputs, message):
    with pytest.raises(
        errors.InvalidArgument, match=rf"training_pipeline\.training_task_inputs.*{message}"
    ):
        api.pipeline(inputs)
    assert not api("ListCustomJobs", parent=api.place).custom_jobs


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"display_name": ""}, errors.InvalidArgument, "training_pipeline.display_name"),
        ({"training_task_definition": ""}, errors.InvalidArgument, "training_task_definition"),
        (
            {"training_task_definition": DEFINITION.replace("custom_task", "automl_tables")},
            errors.InvalidArgument,
            "no other training tasks",
        ),
        ({"input_data_config": {"dataset_id": "7"}}, errors.NotFound, "dataset_id"),
        ({"model_id": "1x"}, errors.InvalidArgument, "model_id"),
        ({"model_to_upload": {}}, errors.InvalidArgument, "model_to_upload.display_name"),
        (
            {"model_to_upload": {"display_name": "m", "version_aliases": ["1"]}},
            errors.InvalidArgument,
            "version_aliases",
        ),
        ({"parent_model": "m"}, errors.InvalidArgument, "training_pipeline.parent_model"),
        (
            {"parent_model": "projects/p/locations/us-central1/models/none"},
            errors.NotFound,
            "models/none",
        ),
    ],
)
def test_bad_pipelines(api, fields, kind, message):
    with pytest.raises(kind, match=message):
        api.pipeline(**fields)
    assert not api("ListTrainingPipelines", parent=api.place).training_pipelines


def test_inputs_are_an_object(api):
    pipeline = {"display_name": "d", "training_task_definition": DEFINITION}
    with pytest.raises(errors.InvalidArgument, match="training_task_inputs"):
        api("CreateTrainingPipeline", parent=api.place, training_pipeline=pipeline)


def test_a_model_s_id_that_is_taken_is_known_at_once(api):
    model = {"display_name": "m"}
    taken = api("UploadModel", parent=api.place, model=model, model_id="taken").model
    with pytest.raises(errors.AlreadyExists, match="parent_model"):
        api.pipeline(model_to_upload=model, model_id="taken")
    assert api.pipeline(model_to_upload=model, model_id="taken", parent_model=f"{taken}@1")
