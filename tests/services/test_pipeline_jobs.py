"""Pipeline jobs: what is recorded of pipelines that run elsewhere."""

import pytest

from tensordeck import errors


@pytest.fixture
def record(api):
    """Records a pipeline's run, in a pipeline, as Vertex AI does; returns its context's name."""

    def record(name: str = "pipe-1", state: int = 2, **context) -> str:
        store = api.metadata_store
        above = api("CreateContext", parent=store, context={"schema_title": "system.Pipeline"}).name
        run = api(
            "CreateContext",
            parent=store,
            context_id=name,
            context={"schema_title": "system.PipelineRun", "display_name": name, **context},
        ).name
        api("AddContextChildren", context=above, child_contexts=[run])
        execution = api(
            "CreateExecution",
            parent=store,
            execution={
                "schema_title": "system.Run",
                "state": state,
                "metadata": {"input:lr": 0.5, "input:name": "a", "vertex-ai-pipelines": 1},
            },
        ).name
        api("AddContextArtifactsAndExecutions", context=run, executions=[execution])
        return run

    return record


def test_a_recorded_run_is_a_job(api, record):
    context = record(labels={"team": "a"})

    job = api("GetPipelineJob", name=f"{api.place}/pipelineJobs/pipe-1")

    assert (job.name, job.display_name) == (f"{api.place}/pipelineJobs/pipe-1", "pipe-1")
    assert dict(job.labels) == {"team": "a"}
    assert job.job_detail.pipeline_run_context == api("GetContext", name=context)
    assert job.job_detail.pipeline_context.schema_title == "system.Pipeline"
    assert job.runtime_config.parameter_values["lr"].number_value == 0.5
    assert job.runtime_config.parameter_values["name"].string_value == "a"
    assert set(job.runtime_config.parameter_values) == {"lr", "name"}
    assert job.create_time == job.job_detail.pipeline_run_context.create_time


@pytest.mark.parametrize(
    ("execution", "pipeline", "ended"),
    [(0, 0, False), (1, 2, False), (2, 3, False), (3, 4, True), (4, 5, True), (5, 4, True)],
)
def test_its_state_is_that_of_its_execution(api, record, execution, pipeline, ended):
    record(state=execution)
    job = api("GetPipelineJob", name=f"{api.place}/pipelineJobs/pipe-1")

    assert (job.state, job.HasField("end_time")) == (pipeline, ended)


def test_a_run_without_an_execution_has_no_state(api):
    api(
        "CreateContext",
        parent=api.metadata_store,
        context_id="bare-run",
        context={"schema_title": "system.PipelineRun"},
    )

    assert api("GetPipelineJob", name=f"{api.place}/pipelineJobs/bare-run").state == 0


def test_a_job_is_found_by_its_display_name_as_the_client_looks_it_up(api, record):
    record(name="pipe-1", display_name="Pipe of mine")

    job = api("GetPipelineJob", name=f"{api.place}/pipelineJobs/Pipe of mine")

    assert job.name.endswith("/pipelineJobs/pipe-1")


def test_other_contexts_are_no_jobs(api):
    api(
        "CreateContext",
        parent=api.metadata_store,
        context_id="experiment",
        context={"schema_title": "system.Experiment"},
    )
    with pytest.raises(errors.NotFound, match='pipelineJobs/experiment" was not found'):
        api("GetPipelineJob", name=f"{api.place}/pipelineJobs/experiment")

    assert not api("ListPipelineJobs", parent=api.place).pipeline_jobs


def test_jobs_are_listed_by_filters_and_in_pages(api, record):
    assert not api("ListPipelineJobs", parent=api.place).pipeline_jobs
    for number in range(3):
        record(name=f"pipe-{number}", labels={"odd": str(number % 2)})

    def listed(**fields) -> list[str]:
        return [
            job.display_name
            for job in api("ListPipelineJobs", parent=api.place, **fields).pipeline_jobs
        ]

    first = api("ListPipelineJobs", parent=api.place, page_size=2)

    assert listed() == ["pipe-2", "pipe-1", "pipe-0"]
    assert listed(filter='labels.odd="0" AND display_name != "pipe-2"') == ["pipe-0"]
    assert listed(order_by="display_name") == ["pipe-0", "pipe-1", "pipe-2"]
    assert listed(page_size=2, page_token=first.next_page_token) == ["pipe-0"]
    masked = api("ListPipelineJobs", parent=api.place, read_mask={"paths": ["name"]})
    assert not any(job.display_name for job in masked.pipeline_jobs)


def test_a_filter_chooses_among_jobs_only(api, record):
    record()
    listed = api(
        "ListPipelineJobs",
        parent=api.place,
        filter='schema_title="system.Pipeline" OR display_name="pipe-1"',
    )

    assert [job.display_name for job in listed.pipeline_jobs] == ["pipe-1"]


def test_what_is_not_run_here_is_said_so(api, record):
    context = record()
    name = f"{api.place}/pipelineJobs/pipe-1"
    with pytest.raises(errors.Unimplemented, match="was not created: nothing here runs"):
        api(
            "CreatePipelineJob",
            parent=api.place,
            pipeline_job_id="mine",
            pipeline_job={"display_name": "d"},
        )
    with pytest.raises(errors.FailedPrecondition, match=f"{context} records .* cancel it there"):
        api("CancelPipelineJob", name=name)
    with pytest.raises(errors.FailedPrecondition, match="delete that context instead"):
        api("DeletePipelineJob", name=name)
    with pytest.raises(errors.NotFound):
        api("CancelPipelineJob", name=f"{api.place}/pipelineJobs/none")

    assert api("GetPipelineJob", name=name).name == name
