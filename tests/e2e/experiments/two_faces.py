"""One experiment seen from both sides: what is done on one shows on the other."""

from google.cloud import aiplatform
from google.cloud.aiplatform.metadata import context
from google.cloud.aiplatform_v1 import (
    Context,
    MetadataServiceClient,
    TensorboardRun,
    TensorboardServiceClient,
)
from opening import TRANSPORT, answer, init_experiment, init_place

init_place()
board = aiplatform.Tensorboard.create(display_name="board")
init_experiment(experiment="exp", experiment_tensorboard=board)
for name in ("one", "two", "three"):
    with aiplatform.start_run(name):
        aiplatform.log_params({"lr": 0.1})
        aiplatform.log_time_series_metrics({"loss": 1.0}, step=1)
experiment = f"{board.resource_name}/experiments/exp"
options = {
    "client_options": {"api_endpoint": "us-central1-aiplatform.googleapis.com"},
    "transport": TRANSPORT,
}
boards, metadata = TensorboardServiceClient(**options), MetadataServiceClient(**options)
mask = {"paths": ["display_name"]}
result = {}


def tracked() -> list[str]:
    frame = aiplatform.get_experiment_df("exp")
    return [] if frame.empty else sorted(frame["run_name"])


def on_board() -> list[str]:
    return sorted(run.display_name for run in boards.list_tensorboard_runs(parent=experiment))


boards.update_tensorboard_run(
    tensorboard_run=TensorboardRun(name=f"{experiment}/runs/one", display_name="The best"),
    update_mask=mask,
)
second = aiplatform.ExperimentRun("two", experiment="exp").resource_name
metadata.update_context(context=Context(name=second, display_name="Runner-up"), update_mask=mask)
result["renamed"] = [tracked(), on_board()]
# One who still has the old names before its eyes and logs takes nothing back.
aiplatform.ExperimentRun("one", experiment="exp").log_metrics({"accuracy": 1})
result["still"] = [tracked(), on_board()]

aiplatform.TensorboardRun(f"{experiment}/runs/one").delete()
result["after_a_run"] = [tracked(), on_board()]
aiplatform.ExperimentRun("two", experiment="exp").delete()
result["after_its_context"] = [tracked(), on_board()]
with aiplatform.start_run("two") as run:
    result["started_again"] = run.get_params()
aiplatform.TensorboardExperiment(experiment).delete()
result["after_the_experiment"] = [
    [e.name for e in aiplatform.Experiment.list()],
    len(context.Context.list(filter='schema_title="system.ExperimentRun"')),
]
answer(**result)
