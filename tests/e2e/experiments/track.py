"""Runs with parameters, metrics and curves: started, resumed, nested, read back, deleted."""

import json

from google.api_core import exceptions
from google.cloud import aiplatform
from google.cloud.aiplatform.metadata.schema.google import artifact_schema  # noqa: F401 -- as users do
from opening import answer, init_experiment, init_place

init_place()
board = aiplatform.Tensorboard.create(display_name="board")
init_experiment(
    experiment="exp", experiment_tensorboard=board, experiment_description="what we try"
)
result = {}

aiplatform.start_run("first")
aiplatform.log_params({"lr": 0.1, "layers": 3, "optimizer": "adam"})
aiplatform.log_params({"dropout": 0.5})
aiplatform.log_metrics({"accuracy": 0.5, "verdict": "fair"})
for step in range(1, 4):
    aiplatform.log_time_series_metrics({"loss": 1 / step, "rate": step}, step=step)
aiplatform.end_run()

with aiplatform.start_run("second") as outer:
    aiplatform.log_params({"lr": 0.2})
    aiplatform.log_time_series_metrics({"loss": 0.25})
    aiplatform.log_time_series_metrics({"loss": 0.125})
    result["while_running"] = outer.get_state()
    # A run inside a run is another run of the experiment; the client ends the outer one.
    with aiplatform.start_run("third") as inner:
        aiplatform.log_metrics({"accuracy": 0.75})
        inner.log_params({"lr": 0.3})

try:
    with aiplatform.start_run("broken"):
        aiplatform.log_params({"lr": 9})
        raise RuntimeError("diverged")  # noqa: TRY301 -- it is what users do
except RuntimeError:
    pass

with aiplatform.start_run("first", resume=True) as run:
    aiplatform.log_metrics({"accuracy": 0.625, "late": 7})
    aiplatform.log_time_series_metrics({"loss": 0.2})  # goes on at step 4
    aiplatform.log_classification_metrics(
        labels=["cat", "dog"],
        matrix=[[9, 1], [2, 8]],
        fpr=[0.1, 0.5, 0.9],
        tpr=[0.2, 0.7, 1.0],
        threshold=[0.9, 0.5, 0.1],
        display_name="by class",
    )
    result["classes"] = [
        {key: value for key, value in metrics.items() if key != "id"}
        for metrics in run.get_classification_metrics()
    ]
    result["params"] = run.get_params()
    result["metrics"] = run.get_metrics()
    curve = run.get_time_series_data_frame()
    result["curve"] = {"step": curve["step"].tolist(), "loss": curve["loss"].tolist()}

try:
    aiplatform.start_run("first")
except (exceptions.AlreadyExists, exceptions.Conflict) as error:
    result["twice"] = "already exists" in str(error)
try:
    aiplatform.ExperimentRun("none", experiment="exp")
except exceptions.NotFound as error:
    result["missing"] = str(error)
result["got"] = [
    aiplatform.ExperimentRun.get("none", experiment="exp"),
    aiplatform.ExperimentRun.get("third", experiment="exp").name,
    aiplatform.Experiment.get("none"),
    aiplatform.Experiment.get("exp").name,
]

again = aiplatform.ExperimentRun("third", experiment="exp")
again.update_state(aiplatform.gapic.Execution.State.FAILED)
result["states"] = {
    run.name: run.get_state() for run in aiplatform.ExperimentRun.list(experiment="exp")
}

# A run of its own, out of any session.
created = aiplatform.ExperimentRun.create("own", experiment="exp", tensorboard=board)
created.log_params({"lr": 1})
created.end_run()

frame = aiplatform.get_experiment_df("exp").sort_values("run_name")
result["frame"] = json.loads(frame.to_json(orient="records"))
short = aiplatform.get_experiment_df("exp", include_time_series=False)
result["columns_without_series"] = sorted(short.columns)

experiment = aiplatform.Experiment("exp")
result["experiments"] = [e.name for e in aiplatform.Experiment.list()]
result["board_is"] = experiment.get_backing_tensorboard_resource().resource_name == (
    board.resource_name
)


def board_runs() -> list[str]:
    """The ids of the TensorBoard runs behind the experiment."""
    name = f"{board.resource_name}/experiments/exp"
    return sorted(
        run.resource_name.rpartition("/")[2]
        for run in aiplatform.TensorboardRun.list(tensorboard_experiment_name=name)
    )


result["board_runs"] = board_runs()
aiplatform.ExperimentRun("second", experiment="exp").delete()
result["board_runs_after_a_run"] = board_runs()
aiplatform.ExperimentRun("own", experiment="exp").delete(delete_backing_tensorboard_run=True)
result["board_runs_after_both"] = board_runs()
experiment.delete(delete_backing_tensorboard_runs=True)
result["board_runs_at_the_end"] = board_runs()
result["experiments_at_the_end"] = [e.name for e in aiplatform.Experiment.list()]
answer(**result)
