"""States of jobs, and what follows them: pipelines, models, experiment runs."""

import pytest

from tensordeck import errors
from tensordeck.services.custom_jobs import JobService
from tensordeck.services.job_states import JobStates
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import CustomJob, JobState, Model, TrainingPipeline
from tests.store.samples import changed

MODEL = {"display_name": "m", "container_spec": {"image_uri": "gcr.io/p/serve"}}
OUTPUT = {"base_output_directory": {"output_uri_prefix": "gs://bucket/out/"}}


@pytest.fixture
def states(api) -> JobStates:
    return JobStates(api.store.catalog)


def job_of(api, pipeline: str) -> str:
    got = api("GetTrainingPipeline", name=pipeline)
    return got.training_task_metadata.struct_value["backingCustomJob"]


def test_a_job_goes_its_way(api, states):
    job = api.job()
    assert api("GetCustomJob", name=job).state == JobState.QUEUED
    states.pending(job)
    got = api("GetCustomJob", name=job)
    assert (got.state, got.HasField("start_time")) == (JobState.PENDING, False)
    states.running(job)
    running = api("GetCustomJob", name=job)
    assert (running.state, running.HasField("end_time")) == (JobState.RUNNING, False)
    states.succeeded(job)
    got = api("GetCustomJob", name=job)
    assert (got.state, got.HasField("error")) == (JobState.SUCCEEDED, False)
    assert got.start_time == running.start_time
    assert got.end_time.ToNanoseconds() >= got.start_time.ToNanoseconds()


def test_a_second_attempt_keeps_the_first_start(api, states):
    job = api.job()
    first = states.running(job).start_time
    states.pending(job)
    assert states.running(job).start_time == first


@pytest.mark.parametrize("pipeline", [False, True])
def test_whoever_failed_or_was_cancelled_says_why(api, states, pipeline):
    for end, state, code, text in [
        (lambda job: states.failed(job, 3, "it broke"), JobState.FAILED, 3, "it broke"),
        (states.cancelled, JobState.CANCELLED, 1, "The job was cancelled."),
    ]:
        name = api.pipeline() if pipeline else api.job()
        end(job_of(api, name) if pipeline else name)
        got = api("GetTrainingPipeline" if pipeline else "GetCustomJob", name=name)
        assert (got.state, got.error.code, got.error.message) == (state, code, text)
        assert got.HasField("end_time")


def test_the_first_end_counts(api, states):
    job = api.job()
    ended = states.succeeded(job)
    for again in (
        states.running,
        states.succeeded,
        states.cancelled,
        states.request_cancel,
        lambda name: states.failed(name, 3, "late"),
    ):
        assert again(job) == ended
    assert api.store.catalog.get(CustomJob, job) == ended


def test_a_job_that_is_to_be_cancelled_is_so_until_its_end(api, states):
    job = api.job()
    states.pending(job)
    asked = states.request_cancel(job)
    assert (asked.state, asked.cancel_requested) == (JobState.CANCELLING, True)
    assert states.running(job).state is JobState.CANCELLING
    assert states.cancelled(job).state is JobState.CANCELLED


def test_a_job_that_somebody_holds_is_not_cancelled_behind_their_back(api, states):
    job = api.job()
    api.store.catalog.update(CustomJob, job, changed(lease_owner="server-1"))
    assert states.request_cancel(job).state is JobState.CANCELLING


def test_only_the_holder_moves_a_job(api):
    job = api.job()
    api.store.catalog.update(CustomJob, job, changed(lease_owner="server-1", lease_until=2**60))
    with pytest.raises(errors.Aborted, match="server-1"):
        JobStates(api.store.catalog, "server-2").running(job)
    ended = JobStates(api.store.catalog, "server-1").succeeded(job)
    assert (ended.lease_owner, ended.lease_until) == ("", 0)


def test_a_pipeline_walks_with_its_job(api, states):
    pipeline = api.pipeline()
    job = job_of(api, pipeline)
    for move in (states.pending, states.running, states.request_cancel, states.cancelled):
        moved = move(job)
        got = api.store.catalog.get(TrainingPipeline, pipeline)
        assert (got.state, got.start_time, got.end_time, got.error) == (
            moved.state,
            moved.start_time,
            moved.end_time,
            moved.error,
        )


def test_success_registers_the_model(api, states):
    pipeline = api.pipeline(
        OUTPUT, model_to_upload={**MODEL, "version_aliases": ["prod"], "labels": {"a": "b"}}
    )
    states.succeeded(job_of(api, pipeline))

    made = api("GetTrainingPipeline", name=pipeline).model_to_upload
    assert made.version_id == "1"
    model = api("GetModel", name=f"{made.name}@1")
    assert (model.name, model.display_name) == (made.name, "m")
    assert model.artifact_uri == made.artifact_uri == "gs://bucket/out/model"
    assert model.training_pipeline == pipeline
    assert list(model.version_aliases) == ["default", "prod"]
    assert model.container_spec.image_uri == "gcr.io/p/serve"
    assert dict(model.labels) == {"a": "b"}


def test_without_a_model_to_upload_there_is_none(api, states):
    pipeline = api.pipeline(OUTPUT)
    states.succeeded(job_of(api, pipeline))
    assert not api("GetTrainingPipeline", name=pipeline).HasField("model_to_upload")
    assert not api("ListModels", parent=api.place).models


def test_a_model_s_id_may_be_chosen(api, states):
    pipeline = api.pipeline(model_to_upload=MODEL, model_id="my-model")
    states.succeeded(job_of(api, pipeline))
    assert api("GetModel", name=f"{api.place}/models/my-model").training_pipeline == pipeline


def test_a_further_version_of_a_model(api, states):
    parent = api("UploadModel", parent=api.place, model=MODEL).model
    pipelines = [
        api.pipeline(
            OUTPUT,
            parent_model=parent,
            model_to_upload={**MODEL, "version_aliases": ["default", "newest"]},
        )
        for _ in range(2)
    ]
    for number, pipeline in enumerate(pipelines, start=2):
        states.succeeded(job_of(api, pipeline))
        made = api("GetTrainingPipeline", name=pipeline).model_to_upload
        assert (made.name, made.version_id) == (parent, str(number))
        got = api("GetModel", name=parent)
        assert (got.version_id, got.training_pipeline) == (str(number), pipeline)
        assert list(got.version_aliases) == ["default", "newest"]


def test_a_model_that_can_not_be_registered_fails_its_pipeline(api, states):
    parent = api("UploadModel", parent=api.place, model=MODEL).model
    pipeline = api.pipeline(model_to_upload=MODEL, parent_model=parent)
    api("DeleteModel", name=parent)

    assert states.succeeded(job_of(api, pipeline)).state is JobState.SUCCEEDED
    got = api("GetTrainingPipeline", name=pipeline)
    assert (got.state, got.error.code) == (JobState.FAILED, 5)
    assert "model could not be registered" in got.error.message
    assert parent in got.error.message


class DiedError(Exception):
    """What stands for the end of the process."""


class CrashingCatalog:
    """A catalog whose process ends just before its n-th write."""

    def __init__(self, catalog: Catalog, writes: int) -> None:
        self._catalog = catalog
        self._writes = writes

    def __getattr__(self, name: str):
        if name in {"create", "create_many", "update", "delete"}:
            if self._writes == 0:
                raise DiedError
            self._writes -= 1
        return getattr(self._catalog, name)


@pytest.mark.parametrize("parent", [False, True], ids=["new model", "further version"])
@pytest.mark.parametrize("mend", [JobStates.mend, None], ids=["mend", "again"])
def test_a_crash_between_any_two_writes_is_mended(api, parent, mend):
    """Whichever write the process dies before, one model and one version come of it."""
    catalog = api.store.catalog
    writes = 0
    crashed = True
    while crashed:
        model = {**MODEL, "version_aliases": ["newest"]}
        above = api("UploadModel", parent=api.place, model=model).model if parent else ""
        pipeline = api.pipeline(OUTPUT, model_to_upload=model, parent_model=above)
        job = job_of(api, pipeline)
        crashed = False
        try:
            JobStates(CrashingCatalog(catalog, writes)).succeeded(job)
        except DiedError:
            crashed = True
        if mend and catalog.get(CustomJob, job).state.ended:
            mend(JobStates(catalog))
        else:
            JobStates(catalog).succeeded(job)

        got = api("GetTrainingPipeline", name=pipeline)
        assert got.state == JobState.SUCCEEDED
        made = api("GetModel", name=f"{got.model_to_upload.name}@newest")
        assert made.training_pipeline == pipeline
        assert made.version_id == got.model_to_upload.version_id
        versions = api("ListModelVersions", name=made.name).models
        assert [v.training_pipeline for v in versions].count(pipeline) == 1
        assert len(versions) == (2 if parent else 1)
        writes += 1
    assert writes >= 4  # job, model, pipeline at the least; and once without a crash


def test_a_job_takes_no_success_of_its_pipeline_with_it(api):
    """Deleted between its end and its pipeline's, that is, after a crash."""
    pipeline = api.pipeline()
    job = job_of(api, pipeline)
    with pytest.raises(DiedError):
        JobStates(CrashingCatalog(api.store.catalog, 1)).succeeded(job)
    assert api("GetTrainingPipeline", name=pipeline).state == JobState.QUEUED
    api("DeleteCustomJob", name=job)
    assert api("GetTrainingPipeline", name=pipeline).state == JobState.SUCCEEDED


def test_a_pipeline_whose_job_is_gone_has_failed(api, states):
    pipeline = api.pipeline()
    job = job_of(api, pipeline)
    api.store.catalog.delete(CustomJob, job)
    states.mend()
    got = api("GetTrainingPipeline", name=pipeline)
    assert (got.state, got.error.code) == (JobState.FAILED, 5)
    assert job in got.error.message


def test_those_that_have_not_ended_are_found(api, states):
    waiting, running, ended = api.job(), api.job(), api.job()
    states.running(running)
    states.failed(ended, 3, "x")
    found = [job.name for page in states.unended() for job in page]
    assert {waiting, running} <= set(found)
    assert ended not in found


def test_a_job_that_was_deleted_is_not_found(api, states):
    with pytest.raises(errors.NotFound, match="customJobs/7"):
        states.running(f"{api.place}/customJobs/7")


def test_those_who_run_jobs_are_told(api):
    told = []
    jobs = JobService(api.store, lambda: told.append(len(told)))
    teller = type(api)(api.store, (jobs,), api.place)
    job = teller.job()
    teller("CancelCustomJob", name=job)
    teller("DeleteCustomJob", name=job)
    assert told == [0, 1, 2]


def test_a_job_that_can_not_run_here_is_not_kept(api):
    def check(job: CustomJob) -> None:
        raise errors.InvalidArgument(f"{job.display_name}: no such machine")

    refusing = type(api)(api.store, (JobService(api.store, check=check),), api.place)
    with pytest.raises(errors.InvalidArgument, match="no such machine"):
        refusing.job()
    assert not api("ListCustomJobs", parent=api.place).custom_jobs


def test_a_model_is_a_row_of_its_own(api, states):
    pipeline = api.pipeline(model_to_upload=MODEL)
    states.succeeded(job_of(api, pipeline))
    api("DeleteTrainingPipeline", name=pipeline)
    assert [m.display_name for m in api.store.catalog.list(Model, api.place).items] == ["m"]
