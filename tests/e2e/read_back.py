"""Writes an experiment's whole content to a file, as Google's client reads it.

Runs under `tensordeck exec`: `python read_back.py EXPERIMENT FILE`.
"""

import pickle
import sys
from pathlib import Path

from google.cloud import aiplatform
from google.cloud.aiplatform_v1 import TensorboardServiceClient


def main():
    experiment, target = sys.argv[1:]
    _, project, _, location, *_ = experiment.split("/")
    aiplatform.init(project=project, location=location)
    client = TensorboardServiceClient(
        client_options={"api_endpoint": f"{location}-aiplatform.googleapis.com"}
    )
    runs = {}
    for run in aiplatform.TensorboardRun.list(experiment):
        series = {}
        for item in client.list_tensorboard_time_series(parent=run.resource_name):
            reply = client.read_tensorboard_time_series_data(
                request={"tensorboard_time_series": item.name, "max_data_points": -1}
            )
            series[item.display_name] = {
                "plugin": item.plugin_name,
                "plugin_data": item.plugin_data,
                "kind": item.value_type.name,
                "points": [
                    (point.step, point.wall_time.timestamp(), value_of(client, item, point))
                    for point in reply.time_series_data.values
                ],
            }
        runs[run.name] = {"display_name": run.display_name, "series": series}
    Path(target).write_bytes(pickle.dumps(runs))


def value_of(client, series, point):
    if "scalar" in point:
        return point.scalar.value
    if "tensor" in point:
        return point.tensor.value
    ids = [blob.id for blob in point.blobs.values]
    replies = client.read_tensorboard_blob_data(
        request={"time_series": series.name, "blob_ids": ids}
    )
    blobs = {blob.id: blob.data for reply in replies for blob in reply.blobs}
    return tuple(blobs[blob_id] for blob_id in ids)


if __name__ == "__main__":
    main()
