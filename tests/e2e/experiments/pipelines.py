"""Pipelines that run elsewhere, recorded here and logged to an experiment."""

import json
import tempfile
from pathlib import Path

from google.api_core import exceptions
from google.cloud import aiplatform
from google.cloud.aiplatform.metadata import context
from opening import PROJECT, answer, init_experiment, init_place

init_place()
init_experiment(experiment="exp", experiment_tensorboard=False)
result = {}


def record(name: str, state: aiplatform.gapic.Execution.State) -> context.Context:
    """Does what a pipeline's own step does that reports to the metadata service."""
    run = context.Context.create(
        schema_title="system.PipelineRun", resource_id=name, display_name=name
    )
    execution = aiplatform.Execution.create(
        schema_title="system.Run",
        display_name=name,
        state=state,
        metadata={"input:lr": 0.5},
        credentials=None,
    )
    metrics = aiplatform.Artifact.create(schema_title="system.Metrics", metadata={"auc": 0.75})
    run.add_artifacts_and_executions(
        artifact_resource_names=[metrics.resource_name],
        execution_resource_names=[execution.resource_name],
    )
    return run


record("kfp-1", aiplatform.gapic.Execution.State.COMPLETE)
record("kfp-2", aiplatform.gapic.Execution.State.RUNNING)
job = aiplatform.PipelineJob.get("kfp-1")
result["job"] = [job.state.name, job.done(), dict(job.runtime_config.parameter_values)]
result["listed"] = sorted(
    job.display_name for job in aiplatform.PipelineJob.list(filter='display_name="kfp-*"')
)

with aiplatform.start_run("run") as run:
    aiplatform.log(pipeline_job=job)
    run.log(pipeline_job=aiplatform.PipelineJob.get("kfp-2"))  # still runs
result["logged"] = sorted(
    job.resource_name.rpartition("/")[2] for job in run.get_logged_pipeline_jobs()
)
aiplatform.ExperimentRun("run", experiment="exp")  # which such children do not disturb

context.Context("exp").add_context_children([context.Context("kfp-1")])
frame = aiplatform.get_experiment_df("exp").sort_values("run_name")
result["frame"] = json.loads(frame.to_json(orient="records"))
result["experiment_of"] = aiplatform.PipelineJob.get("kfp-1").get_associated_experiment().name

spec = {
    "pipelineSpec": {
        "pipelineInfo": {"name": "mine"},
        "root": {"dag": {"tasks": {}}},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.7.0",
    },
    "runtimeConfig": {},
}
with tempfile.NamedTemporaryFile("w", suffix=".json") as template:
    json.dump(spec, template)
    template.flush()
    mine = aiplatform.PipelineJob(
        display_name="mine",
        template_path=str(Path(template.name)),
        pipeline_root=f"gs://{PROJECT}-root",
    )
try:
    mine.submit(experiment="exp")
except exceptions.MethodNotImplemented as error:
    result["submitted"] = str(error)
answer(**result)
