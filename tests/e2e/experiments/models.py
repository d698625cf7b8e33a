"""A scikit-learn model logged to a run, found again and loaded from our Cloud Storage."""

import numpy as np
from google.cloud import aiplatform, storage
from opening import PROJECT, answer, init_experiment, init_place
from sklearn.linear_model import LinearRegression

bucket = storage.Client(project=PROJECT).create_bucket(f"{PROJECT}-models")
init_place(staging_bucket=f"gs://{bucket.name}")
init_experiment(experiment="exp", experiment_tensorboard=False)
inputs = np.array([[1.0], [2.0], [3.0]])
model = LinearRegression().fit(inputs, [3.0, 5.0, 7.0])
result = {}

with aiplatform.start_run("run") as run:
    logged = aiplatform.log_model(
        model,
        artifact_id="my-model",
        uri=f"gs://{bucket.name}/models/my-model",
        input_example=inputs,
        display_name="line",
    )
    aiplatform.log_model(model)  # where the client likes, under a name of its own
    result["of_run"] = sorted(m.framework_name for m in run.get_experiment_models())
saved = aiplatform.save_model(model, "no-run")

found = aiplatform.get_experiment_model("my-model")
result["uri"] = found.uri
result["info"] = [found.framework_name, found.model_class, found.display_name]
result["predicts"] = [round(float(y), 6) for y in found.load_model().predict([[10.0], [0.0]])]
result["by_run"] = round(float(run.get_experiment_models()[0].load_model().predict([[1.0]])[0]), 6)
result["files"] = sorted(blob.name for blob in bucket.list_blobs(prefix="models/"))
result["listed"] = len(aiplatform.Artifact.list(filter='schema_title="google.ExperimentModel"'))
registered = found.register_model(
    serving_container_image_uri="us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-0:latest",
    display_name="registered",
)
result["registered"] = [registered.display_name, registered.version_id]
answer(**result)
