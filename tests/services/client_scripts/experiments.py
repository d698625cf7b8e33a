"""What a user of Vertex AI Experiments writes; prints what came back as JSON."""

import json
import sys

from google.cloud import aiplatform

project, transport = sys.argv[1:]
aiplatform.init(project=project, location="us-central1", api_transport=transport)
board = aiplatform.Tensorboard.create(display_name="board")
result = {}

where = {"project": project, "location": "us-central1", "api_transport": transport}
aiplatform.init(experiment="exp", experiment_tensorboard=board, **where)
for number in range(2):
    with aiplatform.start_run(f"run-{number}") as run:
        aiplatform.log_params({"lr": 0.1 * number, "optimizer": "adam"})
        aiplatform.log_metrics({"accuracy": 0.5 + number / 4})
        for step in range(1, 4):
            aiplatform.log_time_series_metrics({"loss": 1 / step, "odd": float("nan")}, step=step)
with aiplatform.start_run("run-1", resume=True) as run:
    aiplatform.log_metrics({"late": 7})
    aiplatform.log_classification_metrics(labels=["a", "b"], matrix=[[1, 2], [3, 4]])
    with aiplatform.start_execution(schema_title="system.ContainerExecution") as execution:
        data = aiplatform.Artifact.create(schema_title="system.Dataset", uri="gs://b/data")
        execution.assign_input_artifacts([data])
        model = aiplatform.Artifact.create(schema_title="system.Model", uri="gs://b/model")
        execution.assign_output_artifacts([model])
    result["inputs"] = [artifact.uri for artifact in execution.get_input_artifacts()]
    result["outputs"] = [artifact.uri for artifact in execution.get_output_artifacts()]
    result["matrix"] = run.get_classification_metrics()[0]["matrix"]
    result["curve"] = run.get_time_series_data_frame()["loss"].tolist()

result["frame"] = json.loads(
    aiplatform.get_experiment_df("exp").sort_values("run_name").to_json(orient="records")
)
result["experiments"] = [experiment.name for experiment in aiplatform.Experiment.list()]

runs = sorted(aiplatform.ExperimentRun.list(experiment="exp"), key=lambda run: run.name)
runs[0].delete(delete_backing_tensorboard_run=True)
result["runs_after_deletion"] = [r.name for r in aiplatform.ExperimentRun.list(experiment="exp")]

# The instance goes while an experiment still refers to it (python-aiplatform issue 2299).
board.delete()
result["runs_without_board"] = [r.name for r in aiplatform.ExperimentRun.list(experiment="exp")]
aiplatform.Experiment("exp").delete()
result["experiments_at_the_end"] = [e.name for e in aiplatform.Experiment.list()]
sys.stdout.write(f"RESULT {json.dumps(result)}\n")
