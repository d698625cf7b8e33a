"""What a user of training jobs and models writes; prints what came back as JSON."""

import json
import pathlib
import sys
import tempfile

from google.api_core import exceptions
from google.cloud import aiplatform, storage

project, transport = sys.argv[1:]
bucket = f"{project}-staging"
storage.Client(project=project).create_bucket(bucket)
aiplatform.init(
    project=project,
    location="us-central1",
    api_transport=transport,
    staging_bucket=f"gs://{bucket}",
)
result = {}
account = "training@example.iam.gserviceaccount.com"
board = aiplatform.Tensorboard.create(display_name="board")
image = "us-docker.pkg.dev/vertex-ai/training/pytorch-cpu.2-4.py310:latest"
script = pathlib.Path(tempfile.mkdtemp()) / "task.py"
script.write_text("print('hello')\n")


def message_of(call):
    """The text of the error that a call ends with."""
    try:
        call()
    except exceptions.GoogleAPICallError as error:
        return error.message
    return ""


training = aiplatform.CustomTrainingJob(
    display_name="training",
    script_path=str(script),
    container_uri=image,
    model_serving_container_image_uri="gcr.io/p/serve",
)
training.submit(
    args=["--epochs", 4, "--rate", 0.5],
    replica_count=1,
    machine_type="n1-standard-4",
    service_account=account,
    tensorboard=board.resource_name,
    timeout=3600,
)
training.cancel()
got = aiplatform.CustomTrainingJob.get(training.resource_name)
backing = dict(got.gca_resource.training_task_metadata)["backingCustomJob"]
of_pipeline = aiplatform.CustomJob.get(backing)
result["training"] = {
    "listed": [job.display_name for job in aiplatform.CustomTrainingJob.list()],
    "state": got.state.name,
    "error": bool(got.error.message),
    "job": of_pipeline.display_name,
    "args": list(of_pipeline.job_spec.worker_pool_specs[0].python_package_spec.args),
    "timeout": of_pipeline.job_spec.scheduling.timeout.seconds,
}
training.delete()
of_pipeline.delete()

job = aiplatform.CustomJob.from_local_script(
    display_name="job", script_path=str(script), container_uri=image, labels={"a": "b"}
)
result["refused"] = message_of(lambda: job.submit(tensorboard=board.resource_name))
job.submit(service_account=account, tensorboard=board.resource_name)
job.cancel()
result["jobs"] = [
    [found.display_name, dict(found.labels), found.error.code != 0]
    for found in aiplatform.CustomJob.list(filter='display_name="job" AND labels.a:*')
]
job.delete()
result["missing"] = message_of(lambda: aiplatform.CustomJob.get(job.resource_name))

aiplatform.init(
    project=project,
    api_transport=transport,
    experiment="exp",
    experiment_tensorboard=board.resource_name,
)
tracked = aiplatform.CustomJob(
    display_name="tracked",
    worker_pool_specs=[
        {
            "machine_spec": {"machine_type": "n1-standard-4"},
            "replica_count": 1,
            "container_spec": {"image_uri": "gcr.io/p/train", "args": ["--epochs", "4"]},
        }
    ],
)
tracked.submit(service_account=account, experiment="exp")
(run,) = aiplatform.ExperimentRun.list(experiment="exp")
result["run"] = [
    run.name == tracked.name,
    [logged.resource_name == tracked.resource_name for logged in run.get_logged_custom_jobs()],
    tracked.job_spec.experiment_run == run.resource_name,
]
tracked.cancel()

model = aiplatform.Model.upload(
    display_name="model",
    artifact_uri=f"gs://{bucket}/model",
    serving_container_image_uri="gcr.io/p/serve",
    version_aliases=["prod"],
)
second = aiplatform.Model.upload(
    parent_model=model.resource_name,
    is_default_version=False,
    version_description="second",
    display_name="ignored",
    serving_container_image_uri="gcr.io/p/serve",
)
registry = model.versioning_registry
registry.add_version_aliases(["candidate"], version="2")
model.update(description="text", labels={"a": "b"})
result["model"] = {
    "versions": [
        [version.version_id, sorted(version.version_aliases), version.version_description]
        for version in registry.list_versions()
    ],
    "by_alias": aiplatform.Model(f"{model.resource_name}@candidate").version_id,
    "default": aiplatform.Model(model.resource_name).version_id,
    "second": [second.version_id, second.display_name],
    "listed": [
        [found.display_name, found.description, dict(found.labels)]
        for found in aiplatform.Model.list(filter=f"model={model.name}", order_by="create_time")
    ],
}
registry.delete_version("candidate")
result["left"] = [version.version_id for version in registry.list_versions()]
model.delete()
result["models_at_the_end"] = len(aiplatform.Model.list())
sys.stdout.write(f"RESULT {json.dumps(result)}\n")
