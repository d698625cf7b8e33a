"""Reads what several processes have tracked in one experiment."""

import json

from google.cloud import aiplatform
from google.cloud.aiplatform_v1 import MetadataServiceClient
from opening import PROJECT, answer, init_place

init_place()
frame = aiplatform.get_experiment_df("exp")
experiment = aiplatform.Experiment("exp")
board = experiment.get_backing_tensorboard_resource().resource_name
client = MetadataServiceClient(
    client_options={"api_endpoint": "us-central1-aiplatform.googleapis.com"}
)
name = f"projects/{PROJECT}/locations/us-central1/metadataStores/default/artifacts/shared-data"
lineage = client.query_artifact_lineage_subgraph(artifact=name)
answer(
    frame=json.loads(frame.to_json(orient="records")),
    board=sorted(
        run.name
        for run in aiplatform.TensorboardRun.list(
            tensorboard_experiment_name=f"{board}/experiments/exp"
        )
    ),
    reads_of_data=len({event.execution for event in lineage.events if event.artifact == name}),
)
