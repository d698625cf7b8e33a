"""JobService: custom jobs, what their specs must keep to, and the experiment runs they get."""

import re

import pytest

from tensordeck import errors
from tensordeck.services.job_states import JobStates
from tensordeck.store.resources import CustomJob, JobState
from tests.services.conftest import POOL

ACCOUNT = "training@p.iam.gserviceaccount.com"
CONTAINER = {"replica_count": 1, "container_spec": {"image_uri": "i"}}


def experiment(api, name: str = "exp", board: str = "", **fields) -> str:
    """An experiment's context, as the official client makes it."""
    return api(
        "CreateContext",
        parent=api.metadata_store,
        context_id=name,
        context={
            "display_name": name,
            "schema_title": "system.Experiment",
            "schema_version": "0.0.1",
            "metadata": {"experiment_deleted": False, "backing_tensorboard_resource": board},
            **fields,
        },
    ).name


def test_a_job_comes_back_as_it_was_created(api):
    board = api.board()
    spec = {
        "worker_pool_specs": [
            {
                **POOL,
                "machine_spec": {
                    "machine_type": "n1-standard-4",
                    "accelerator_type": "NVIDIA_TESLA_T4",
                    "accelerator_count": 1,
                },
            },
            {},
            {**CONTAINER, "replica_count": 3},
        ],
        "scheduling": {"timeout": {"seconds": 60}, "restart_job_on_worker_restart": True},
        "service_account": ACCOUNT,
        "tensorboard": board,
        "base_output_directory": {"output_uri_prefix": "gs://b/out"},
        "enable_web_access": True,
    }
    created = api(
        "CreateCustomJob",
        parent=api.place,
        custom_job={
            "display_name": "Aufgabe 🎉",
            "labels": {"a": "b"},
            "job_spec": spec,
            "encryption_spec": {"kms_key_name": f"{api.place}/keyRings/r/cryptoKeys/k"},
        },
    )
    assert api("GetCustomJob", name=created.name) == created
    assert re.fullmatch(api.place + r"/customJobs/[1-9][0-9]{18}", created.name)
    assert (created.display_name, dict(created.labels)) == ("Aufgabe 🎉", {"a": "b"})
    assert created.state == JobState.QUEUED
    assert created.encryption_spec.kms_key_name.endswith("/k")
    assert not created.HasField("error")
    sent = type(created.job_spec)(**spec)
    assert created.job_spec == sent
    assert api.store.catalog.get(CustomJob, created.name).principal == "owner@tensordeck.local"


def test_jobs_are_listed_newest_first_by_pages(api):
    names = [api.job() for _ in range(5)]
    JobStates(api.store.catalog).failed(names[3], 3, "x")
    pages, token = [], ""
    while token or not pages:
        page = api("ListCustomJobs", parent=api.place, page_size=2, page_token=token)
        pages.append([job.name for job in page.custom_jobs])
        token = page.next_page_token
    assert pages == [names[4:2:-1], names[2:0:-1], names[:1]]
    failed = api(
        "ListCustomJobs",
        parent=api.place,
        filter='state="JOB_STATE_FAILED" AND display_name:"jo*"',
        read_mask={"paths": ["name", "error"]},
    ).custom_jobs
    assert [(job.name, job.error.message, job.display_name) for job in failed] == [
        (names[3], "x", "")
    ]
    everywhere = api("ListCustomJobs", parent=api.place.replace("us-central1", "-"))
    assert len(everywhere.custom_jobs) == 5


def test_a_job_that_nobody_has_taken_up_is_cancelled_at_once(api):
    job = api.job()
    api("CancelCustomJob", name=job)
    got = api("GetCustomJob", name=job)
    assert (got.state, got.error.code) == (JobState.CANCELLED, 1)
    assert got.error.message
    assert got.HasField("end_time")
    api("CancelCustomJob", name=job)
    assert api("GetCustomJob", name=job) == got


def test_only_a_job_that_has_ended_is_deleted(api):
    job = api.job()
    JobStates(api.store.catalog).running(job)
    with pytest.raises(errors.FailedPrecondition, match=r"RUNNING.*Cancel it"):
        api("DeleteCustomJob", name=job)
    JobStates(api.store.catalog).succeeded(job)
    api("DeleteCustomJob", name=job)
    for rpc in ("GetCustomJob", "DeleteCustomJob", "CancelCustomJob"):
        with pytest.raises(errors.NotFound, match=job):
            api(rpc, name=job)


def python(**fields):
    return [{**POOL, "python_package_spec": {**POOL["python_package_spec"], **fields}}]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"worker_pool_specs": []}, "worker_pool_specs"),
        ({"worker_pool_specs": [{}, CONTAINER]}, "worker_pool_specs"),
        ({"worker_pool_specs": [CONTAINER] * 5}, "worker_pool_specs"),
        ({"worker_pool_specs": [{"replica_count": 1}]}, r"worker_pool_specs\[0\]"),
        (
            {"worker_pool_specs": [{**CONTAINER, "replica_count": 0}]},
            r"worker_pool_specs\[0\].replica_count",
        ),
        (
            {"worker_pool_specs": [{**CONTAINER, "replica_count": 2}]},
            r"worker_pool_specs\[0\].replica_count.*second pool",
        ),
        (
            {"worker_pool_specs": [CONTAINER, {**CONTAINER, "replica_count": -1}]},
            r"worker_pool_specs\[1\].replica_count",
        ),
        (
            {"worker_pool_specs": [{"replica_count": 1, "container_spec": {"args": ["x"]}}]},
            r"worker_pool_specs\[0\].container_spec.image_uri",
        ),
        ({"worker_pool_specs": python(python_module="")}, "python_package_spec.python_module"),
        ({"worker_pool_specs": python(executor_image_uri="")}, "executor_image_uri"),
        ({"worker_pool_specs": python(package_uris=[])}, "package_uris"),
        ({"worker_pool_specs": python(package_uris=["/tmp/x.tar.gz"])}, r"package_uris\[0\].*gs:"),
        ({"worker_pool_specs": python(env=[{"name": "a=b", "value": "c"}])}, r"env\[0\].name"),
        ({"worker_pool_specs": python(args=["a\0b"])}, "python_package_spec.args"),
        ({"base_output_directory": {"output_uri_prefix": "s3://b"}}, "output_uri_prefix"),
        ({"base_output_directory": {}}, "output_uri_prefix"),
        ({"scheduling": {"timeout": {"seconds": -1}}}, "scheduling.timeout"),
        ({"experiment_run": "x"}, "job_spec.experiment`"),
    ],
)
def test_a_spec_that_can_not_work_is_refused(api, spec, field):
    with pytest.raises(errors.InvalidArgument, match=rf"custom_job\.job_spec\..*{field}"):
        api.job(**spec)
    assert not api("ListCustomJobs", parent=api.place).custom_jobs


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"display_name": ""}, "custom_job.display_name"),
        ({"labels": {"A": "b"}}, "custom_job.labels"),
        ({"encryption_spec": {"kms_key_name": "k"}}, "custom_job.encryption_spec.kms_key_name"),
    ],
)
def test_bad_titles(api, fields, field):
    job = {"display_name": "d", "job_spec": {"worker_pool_specs": [POOL]}, **fields}
    with pytest.raises(errors.InvalidArgument, match=field):
        api("CreateCustomJob", parent=api.place, custom_job=job)


def test_the_tensorboard_must_be_there_and_near(api):
    board = api.board()
    far = board.replace("us-central1", "europe-west4")
    for name, kind, message in [
        (board[:-1] + "x", errors.NotFound, r"job_spec.tensorboard.*was not found"),
        (far, errors.InvalidArgument, r"tensorboard`.*europe-west4.*us-central1"),
        ("tensorboards/1", errors.InvalidArgument, "job_spec.tensorboard"),
    ]:
        with pytest.raises(kind, match=message):
            api.job(tensorboard=name, service_account=ACCOUNT)
    with pytest.raises(errors.InvalidArgument, match=r"job_spec\.service_account"):
        api.job(tensorboard=board)


def test_an_experiment_and_a_tensorboard_exclude_each_other(api):
    with pytest.raises(errors.InvalidArgument, match="can't be given together"):
        api.job(tensorboard=api.board(), experiment=experiment(api), service_account=ACCOUNT)


def test_a_job_of_an_experiment_gets_a_run(api):
    above = experiment(api)
    name = api.job(experiment=above, service_account=ACCOUNT)
    job = api("GetCustomJob", name=name)
    job_id = name.rpartition("/")[2]

    run = api("GetContext", name=job.job_spec.experiment_run)
    assert run.name == f"{above}-{job_id}"
    assert (run.display_name, run.schema_title) == (job_id, "system.ExperimentRun")
    assert list(run.parent_contexts) == [above]
    assert run.metadata["_state"] == "RUNNING"
    assert run.metadata["_custom_jobs"][0]["custom_job_resource_name"] == name
    assert not api("ListArtifacts", parent=api.metadata_store).artifacts


def test_the_run_is_backed_by_the_experiment_s_tensorboard(api):
    board = api.board()
    above = experiment(api, board=board)
    job = api("GetCustomJob", name=api.job(experiment=above, service_account=ACCOUNT))
    run_id = job.name.rpartition("/")[2]

    run = f"{board}/experiments/exp/runs/{run_id}"
    assert api("GetTensorboardRun", name=run).display_name == run_id
    (artifact,) = api(
        "ListArtifacts",
        parent=api.metadata_store,
        filter=f'in_context("{job.job_spec.experiment_run}")',
    ).artifacts
    assert artifact.name.endswith(f"/artifacts/exp-{run_id}-tb-run")
    assert artifact.schema_title == "google.VertexTensorboardRun"
    assert artifact.metadata["resourceName"] == run
    assert artifact.metadata["vertex_experiment_tracking"] is True
    # A second job finds the instance's experiment there already.
    assert api.job(experiment=above, service_account=ACCOUNT)
    # Who deletes the instance still has an experiment that takes jobs.
    api("DeleteTensorboard", name=board)
    assert api.job(experiment=above, service_account=ACCOUNT)


def test_a_run_that_is_given_is_kept(api):
    above = experiment(api)
    run = api(
        "CreateContext",
        parent=api.metadata_store,
        context_id="exp-mine",
        context={"schema_title": "system.ExperimentRun", "metadata": {"_state": "RUNNING"}},
    ).name
    fields = {"experiment": above, "experiment_run": run, "service_account": ACCOUNT}
    names = [api.job(**fields), api.job(**fields)]
    assert api("GetCustomJob", name=names[0]).job_spec.experiment_run == run
    noted = api("GetContext", name=run).metadata["_custom_jobs"]
    assert [job["custom_job_resource_name"] for job in noted] == names


@pytest.mark.parametrize("state", ["COMPLETE", "FAILED", "left"])
def test_the_run_ends_with_its_job(api, state):
    name = api.job(experiment=experiment(api), service_account=ACCOUNT)
    run = api("GetCustomJob", name=name).job_spec.experiment_run
    states = JobStates(api.store.catalog)
    if state == "left":
        context = api("GetContext", name=run)
        context.metadata["_state"] = "left"
        api("UpdateContext", context=context)
    states.failed(name, 3, "x") if state == "FAILED" else states.succeeded(name)
    assert api("GetContext", name=run).metadata["_state"] == state


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"experiment": "none"}, errors.NotFound, "job_spec.experiment`: .*was not found"),
        ({"experiment_run": "none"}, errors.NotFound, "job_spec.experiment_run`: .*was not found"),
        ({"experiment_run": "other"}, errors.InvalidArgument, "does not belong to"),
        ({"experiment": "other"}, errors.InvalidArgument, "is no experiment"),
        ({"experiment": "x" * 120}, errors.InvalidArgument, "can't have a run"),
        ({"service_account": ""}, errors.InvalidArgument, "service_account"),
    ],
)
def test_bad_experiments(api, change, kind, message):
    above = experiment(api)
    experiment(api, "other", schema_title="system.PipelineRun")
    experiment(api, "x" * 120)
    contexts = above.rpartition("/")[0]
    fields = {"experiment": above, "service_account": ACCOUNT}
    for field, value in change.items():
        fields[field] = value if field == "service_account" else f"{contexts}/{value}"
    with pytest.raises(kind, match=message):
        api.job(**fields)
