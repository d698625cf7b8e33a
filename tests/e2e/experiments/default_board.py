"""Experiments whose user names no TensorBoard, or none that is left."""

from google.cloud import aiplatform
from opening import answer, init_experiment, init_place

init_place()
result = {}


def boards() -> list[str]:
    return [board.display_name for board in aiplatform.Tensorboard.list(filter="is_default=true")]


init_experiment(experiment="without", experiment_tensorboard=False)
result["none_made"] = boards()
with aiplatform.start_run("run") as run:
    aiplatform.log_metrics({"accuracy": 1})
    try:
        aiplatform.log_time_series_metrics({"loss": 1.0})
    except RuntimeError as error:
        result["refused"] = str(error)

init_experiment(experiment="first")
init_experiment(experiment="second")
made = aiplatform.Tensorboard.list(filter="is_default=true")
result["made"] = [len(made), made[0].display_name.startswith("Default Tensorboard")]
with aiplatform.start_run("run"):
    aiplatform.log_time_series_metrics({"loss": 1.0})
result["curve"] = aiplatform.get_experiment_df("second")["time_series_metric.loss"].tolist()

# Another default instance: a new experiment gets it, an old one keeps its own.
other = aiplatform.Tensorboard.create(display_name="other", is_default=True)
init_experiment(experiment="third")
result["third"] = (
    aiplatform.Experiment("third").get_backing_tensorboard_resource().resource_name
    == other.resource_name
)
result["second"] = (
    aiplatform.Experiment("second").get_backing_tensorboard_resource().resource_name
    == made[0].resource_name
)

# The instance goes behind the experiment's back (python-aiplatform issue 2299).
made[0].delete()
result["runs_without_board"] = [
    run.name for run in aiplatform.ExperimentRun.list(experiment="second")
]
frame = aiplatform.get_experiment_df("second")
result["frame_without_board"] = [frame["run_name"].tolist(), "time_series_metric.loss" in frame]
result["board_without_board"] = aiplatform.Experiment("second").get_backing_tensorboard_resource()
init_experiment(experiment="second")
with aiplatform.start_run("later"):
    aiplatform.log_time_series_metrics({"loss": 2.0})
result["goes_on"] = (
    aiplatform.Experiment("second").get_backing_tensorboard_resource().resource_name
    == other.resource_name
)
with aiplatform.start_run("run", resume=True):
    aiplatform.log_metrics({"accuracy": 2})
for name in ("without", "first", "second", "third"):
    aiplatform.Experiment(name).delete(delete_backing_tensorboard_runs=True)
result["at_the_end"] = [len(aiplatform.Experiment.list()), boards()]
answer(**result)
