"""Uses the official clients as users do: an instance, points there and back, an object."""

import sys

from google.cloud import aiplatform, storage
from google.cloud.aiplatform_v1 import types

name, calls = sys.argv[1], int(sys.argv[2])
aiplatform.init(project="balanced", location="us-central1")

board = aiplatform.Tensorboard.create(display_name=name)
client = board.api_client
experiment = client.create_tensorboard_experiment(
    parent=board.resource_name, tensorboard_experiment_id=name
)
run = client.create_tensorboard_run(
    parent=experiment.name, tensorboard_run_id="run", tensorboard_run={"display_name": "run"}
)
series = client.create_tensorboard_time_series(
    parent=run.name, tensorboard_time_series={"display_name": "loss", "value_type": "SCALAR"}
)
for step in range(calls):
    point = types.TimeSeriesDataPoint(step=step, scalar={"value": 1 / (step + 1)})
    point.wall_time = {"seconds": 1_760_000_000 + step}
    client.write_tensorboard_run_data(
        tensorboard_run=run.name,
        time_series_data=[
            types.TimeSeriesData(
                tensorboard_time_series_id=series.name.rpartition("/")[2],
                value_type="SCALAR",
                values=[point],
            )
        ],
    )
read = client.read_tensorboard_time_series_data(tensorboard_time_series=series.name)
sys.stdout.write(f"{len(read.time_series_data.values)} points\n")

blob = storage.Client(project="balanced").create_bucket(f"{name}-bucket").blob("file")
blob.upload_from_string(b"x" * 100_000)
sys.stdout.write(f"{len(blob.download_as_bytes())} bytes\n")
