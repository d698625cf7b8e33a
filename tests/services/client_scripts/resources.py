"""What a user of the TensorBoard resources writes; prints what came back as JSON."""

import json
import sys

from google.api_core import exceptions
from google.cloud import aiplatform

project, transport = sys.argv[1:]
aiplatform.init(project=project, location="us-central1", api_transport=transport)
result = {}

board = aiplatform.Tensorboard.create(display_name="one", labels={"a": "b"}, is_default=True)
board.update(display_name="two", description="text")
result["boards"] = [
    [b.display_name, b.gca_resource.description, dict(b.labels)]
    for b in aiplatform.Tensorboard.list(filter="is_default=true", order_by="create_time desc")
]
experiment = aiplatform.TensorboardExperiment.create(
    tensorboard_experiment_id="exp", tensorboard_name=board.resource_name, description="d"
)
run = aiplatform.TensorboardRun.create(
    tensorboard_run_id="run", tensorboard_experiment_name=experiment.resource_name
)
# More than one batch read of the client, which takes 20 series at a time.
tags = [f"tag/{number}" for number in range(22)]
for tag in tags:
    run.create_tensorboard_time_series(display_name=tag)
for step in range(3):
    run.write_tensorboard_scalar_data(dict.fromkeys(tags, step + 0.5), step=step)
data = run.read_time_series_data()
result["series"] = len(data)
result["points"] = [point.scalar.value for point in data["tag/21"].values]
listed = aiplatform.TensorboardTimeSeries.list(
    tensorboard_run_name=run.resource_name, filter='display_name = "tag/7"'
)
result["found"] = [series.display_name for series in listed]
try:
    aiplatform.TensorboardRun(run.resource_name + "x")
except exceptions.NotFound as error:
    result["missing"] = error.message
try:
    run.write_tensorboard_scalar_data({"no such tag": 1.0}, step=1)
except RuntimeError as error:
    result["unknown_tag"] = str(error)
run.delete()
result["runs"] = [
    r.display_name
    for r in aiplatform.TensorboardRun.list(tensorboard_experiment_name=experiment.resource_name)
]
experiment.delete()
board.delete()
result["boards_at_the_end"] = len(aiplatform.Tensorboard.list())
sys.stdout.write(f"RESULT {json.dumps(result)}\n")
