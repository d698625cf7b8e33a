"""One of several processes that track runs of one experiment at the same time, in every way."""

import sys

from google.cloud import aiplatform
from opening import ARGUMENTS, answer, init_experiment, init_place

(me,) = ARGUMENTS
init_place()
sys.stdout.write("READY\n")
sys.stdout.flush()
sys.stdin.readline()  # until all are ready
init_experiment(experiment="exp")  # which is not there yet
for number in range(3):
    with aiplatform.start_run(f"{me}-{number}") as run:
        aiplatform.log_params({"number": number, "writer": me})
        aiplatform.log_metrics({"accuracy": number / 4})
        for step in range(1, 4):
            aiplatform.log_time_series_metrics({"loss": number + 1 / step}, step=step)
        aiplatform.log_classification_metrics(
            labels=["a", "b"], matrix=[[number, 0], [0, 1]], display_name=me
        )
        with aiplatform.start_execution(
            schema_title="system.ContainerExecution", display_name=run.name
        ) as execution:
            data = aiplatform.Artifact("shared-data")
            model = aiplatform.Artifact.create(
                schema_title="system.Model", uri=f"gs://b/{run.name}"
            )
            execution.assign_input_artifacts([data])
            execution.assign_output_artifacts([model])
    aiplatform.get_experiment_df("exp")  # while others write to it
    aiplatform.ExperimentRun.list(experiment="exp")
with aiplatform.start_run(f"{me}-0", resume=True):
    aiplatform.log_metrics({"late": 1})
run = aiplatform.ExperimentRun(f"{me}-1", experiment="exp")
answer(
    params=run.get_params(),
    curve=run.get_time_series_data_frame()["loss"].tolist(),
    matrix=[found["matrix"] for found in run.get_classification_metrics()],
    made=[artifact.uri for artifact in run.get_artifacts() if artifact.uri.startswith("gs://")],
)
