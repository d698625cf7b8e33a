"""Executions, artifacts and what led to what."""

from google.cloud import aiplatform
from google.cloud.aiplatform.metadata import context
from opening import answer, init_experiment, init_place

init_place()
init_experiment(experiment="exp", experiment_tensorboard=False)
result = {}


def uris(artifacts: list[aiplatform.Artifact]) -> list[str]:
    return sorted(artifact.uri for artifact in artifacts)


with aiplatform.start_run("run") as run:
    with aiplatform.start_execution(
        schema_title="system.ContainerExecution",
        display_name="prepare",
        resource_id="prepare",
        metadata={"rows": 3},
    ) as prepare:
        raw = aiplatform.Artifact.create(
            schema_title="system.Dataset", uri="gs://b/raw", display_name="raw"
        )
        clean = aiplatform.Artifact.create(schema_title="system.Dataset", uri="gs://b/clean")
        prepare.assign_input_artifacts([raw])
        prepare.assign_output_artifacts([clean])
    with aiplatform.start_execution(
        schema_title="system.ContainerExecution", display_name="train"
    ) as train:
        train.assign_input_artifacts([clean])
        model = aiplatform.Artifact.create(
            schema_title="system.Model", uri="gs://b/model", metadata={"auc": 0.5}
        )
        train.assign_output_artifacts([model])
        aiplatform.log_metrics({"auc": 0.5})

# The same execution once more, from the outside of a run.
with aiplatform.start_execution(
    schema_title="system.ContainerExecution", resource_id="prepare", resume=True
) as prepare:
    result["resumed"] = prepare.state.name
result["states"] = [aiplatform.Execution(e.resource_name).state.name for e in (prepare, train)]
try:
    with aiplatform.start_execution(schema_title="system.Run", resource_id="fails"):
        raise RuntimeError("no")  # noqa: TRY301 -- it is what users do
except RuntimeError:
    result["failed"] = aiplatform.Execution.get("fails").state.name

result["inputs"] = uris(train.get_input_artifacts())
result["outputs"] = uris(train.get_output_artifacts())
result["of_run"] = [uris(run.get_artifacts()), len(run.get_executions())]

# Without `credentials=None` this client puts a type where credentials belong.
lone = aiplatform.Execution.create(schema_title="system.Run", display_name="lone", credentials=None)
run.associate_execution(lone)
lone.update(state=aiplatform.gapic.Execution.State.CACHED, metadata={"x": {"y": 1}})
result["associated"] = sorted(e.display_name for e in run.get_executions())
lone = aiplatform.Execution(lone.resource_name)
result["updated"] = [lone.state.name, lone.metadata]

graph = context.Context(run.resource_name).query_lineage_subgraph()
result["subgraph"] = [len(graph.artifacts), len(graph.executions), len(graph.events)]

found = aiplatform.Artifact.list(
    filter="display_name = raw OR metadata.auc.number_value >= 0.5", order_by="uri desc"
)
result["found"] = [artifact.uri for artifact in found]
result["with_uri"] = aiplatform.Artifact.get_with_uri(uri="gs://b/raw").display_name
model.update(metadata={"auc": 0.75}, description="better")
model.sync_resource()
result["model"] = [model.metadata, model.description, model.schema_version]
created = aiplatform.Artifact.get_or_create(
    resource_id="once", schema_title="user.Anything", schema_version="2.0.0"
)
same = aiplatform.Artifact.get_or_create(resource_id="once", schema_title="user.Anything")
result["once"] = created.resource_name == same.resource_name

# A pipeline's run is a context below the experiment, as the pipeline service makes it.
pipeline_run = context.Context.create(
    schema_title="system.PipelineRun", resource_id="pipeline-run", display_name="pipeline-run"
)
context.Context("exp").add_context_children([pipeline_run])
frame = aiplatform.get_experiment_df("exp")
result["run_types"] = dict(zip(frame["run_name"], frame["run_type"], strict=True))
result["pipelines_of_run"] = len(run.get_logged_pipeline_jobs())
pipeline = context.Context.create(schema_title="system.Pipeline", resource_id="pipeline")
pipeline.add_artifacts_and_executions(execution_resource_names=[lone.resource_name])
result["pipeline_frame"] = aiplatform.get_pipeline_df("pipeline")["run_name"].tolist()

model.delete()
lone.delete()
result["left"] = [
    uris(aiplatform.Artifact.list(filter='uri="gs://b/*"')),
    sorted(e.display_name for e in run.get_executions()),
]
answer(**result)
