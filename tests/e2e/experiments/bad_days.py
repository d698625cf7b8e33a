"""What a user does wrong, or what goes wrong under one, and what the client makes of it."""

import math

from google.api_core import exceptions
from google.cloud import aiplatform
from google.cloud.aiplatform.metadata import context
from opening import answer, init_experiment, init_place

REFUSED = (exceptions.InvalidArgument, exceptions.BadRequest)
init_place()
board = aiplatform.Tensorboard.create(display_name="board")
init_experiment(experiment="EXP-Upper", experiment_tensorboard=board)
result = {}


def refusal(work: object, *arguments: object, **options: object) -> str:
    try:
        work(*arguments, **options)
    except (*REFUSED, exceptions.NotFound) as error:
        return str(error)
    return "accepted"


with aiplatform.start_run("Run-1") as run:
    aiplatform.log_metrics({"loss": 0.5})
    result["too_long"] = refusal(aiplatform.log_params, {"text": "x" * 205_000})
    result["after_refusal"] = aiplatform.ExperimentRun("Run-1", experiment="EXP-Upper").get_params()
    try:
        aiplatform.log_metrics({"loss": math.nan, "top": math.inf})
    except Exception as error:  # noqa: BLE001 -- JSON has no such numbers: over REST the client can't send them
        result["nan"] = type(error).__name__
    else:
        aiplatform.log_metrics({"later": 1})
        logged = aiplatform.ExperimentRun("Run-1", experiment="EXP-Upper").get_metrics()
        result["nan"] = [logged["loss"], logged["top"]]
    # The session's own copy of the run holds what could not be sent: another one goes on.
    aiplatform.log_time_series_metrics({"loss": math.nan, "top": -math.inf}, step=1)
again = aiplatform.ExperimentRun("Run-1", experiment="EXP-Upper")
again.log_params({"lr": 0.1})
curve = again.get_time_series_data_frame()
result["curve"] = [math.isnan(curve["loss"][0]), bool(curve["top"][0] == -math.inf)]

# Each of two has its own copy of the run, and the second one's is stale when it logs.
one = aiplatform.ExperimentRun("Run-1", experiment="EXP-Upper")
two = aiplatform.ExperimentRun("Run-1", experiment="EXP-Upper")
one.log_params({"one": 1})
two.log_params({"two": 2})
result["stale"] = aiplatform.ExperimentRun("Run-1", experiment="EXP-Upper").get_params()
text = "é" * 10_000
one.log_metrics({text: 1, "text": text})
metrics = aiplatform.ExperimentRun("Run-1", experiment="EXP-Upper").get_metrics()
result["long"] = [len(max(metrics)), len(metrics["text"]), metrics[text]]

result["frame"] = aiplatform.get_experiment_df("EXP-Upper")["run_name"].tolist()

one = context.Context.create(schema_title="user.Nobody-Knows", resource_id="Upper.Case~1")
two = context.Context.create(schema_title="", resource_id="two-two")
one.add_context_children([two])
result["cycle"] = refusal(two.add_context_children, [one])
result["itself"] = refusal(one.add_context_children, [one])
gone = aiplatform.Artifact.create(schema_title="system.Dataset", uri="gs://b/gone")
with aiplatform.start_execution(schema_title="system.Run", display_name="e") as execution:
    pass
gone.delete()
result["deleted"] = refusal(execution.assign_input_artifacts, [gone])
two.delete()
result["deleted_child"] = refusal(one.add_context_children, [two])
result["bad_filter"] = refusal(aiplatform.Artifact.list, filter='schema_title = "x" AND (uri')
result["no_field"] = refusal(aiplatform.Artifact.list, filter="uri=x AND nonsense=1")
result["injected"] = [
    len(aiplatform.Artifact.list(filter=f'display_name = "{text}"'))
    for text in ("x' OR '1'='1", "x%", "\\\\", "x; DROP TABLE artifacts; --", "x" * 10_000)
]
answer(**result)
