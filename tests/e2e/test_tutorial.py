"""The tutorial, code block by code block, with the real client, gcloud, TensorFlow and PyTorch.

`tutorial/` holds its code blocks as they are printed; only placeholders such as `TB_ID` are
filled in. What the tutorial leaves to its reader (the PyTorch model, for one) stands before the
block in the test.
"""

import json
import shutil
import sys
import threading
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import pytest
from tensorboardX import SummaryWriter

from tests.e2e.event_values import assert_same, logged
from tests.e2e.fashion_mnist import fashion_mnist_files

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

OFFICIAL = {"scalars", "histograms", "distributions", "text", "hparams", "images", "graphs"}
"""Plugins that the official uploader sends; ours sends all."""

PYTORCH = """
import torch

model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
num_epochs = 5
losses = iter([1.0, 0.5, 0.25, 0.125, 0.0625] * 3)


def compute_training_loss():
    return next(losses)


compute_validation_loss = compute_validation_accuracy = compute_training_loss

"""


def test_create_an_instance(reader):
    out = reader.run(reader.script("create_tensorboard.py")).stdout

    name = out.split("TensorBoard created: ")[1].split()[0]
    assert name.startswith(f"projects/{reader.project}/locations/us-central1/tensorboards/")
    assert f"TensorBoard ID: {name.rpartition('/')[2]}" in out
    assert reader.api("GET", f"/v1/{name}")["displayName"] == "ml-experiments-tensorboard"


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_create_and_describe_an_instance_with_gcloud(reader):
    reader.run("bash", reader.script("create_tensorboard.sh"))
    parent = f"/v1/projects/{reader.project}/locations/us-central1/tensorboards"
    (made,) = reader.api("GET", parent)["tensorboards"]
    reader.instance = made["name"]

    described = reader.run("bash", reader.script("describe_tensorboard.sh")).stdout

    assert "displayName: ml-experiments-tensorboard" in described
    assert f"name: {made['name']}" in described


def test_tensorflow_summaries(with_instance):
    reader = with_instance
    logs = reader.folder / "logs"

    reader.run(reader.script("custom_logging.py"), AIP_TENSORBOARD_LOG_DIR=str(logs))
    reader.upload(logs, "tensorflow")

    stored = reader.read_back("tensorflow")
    assert assert_same(stored, logged(logs)) == 100 + 100 + 100 + 10
    assert set(stored["default"]["series"]) == {
        "custom/learning_rate",
        "custom/gpu_utilization",
        "custom/weights",
        "custom/notes",
    }


def test_tensorflow_summaries_in_a_bucket(with_instance):
    reader = with_instance
    logs = f"gs://{reader.create_bucket()}/tb/logs"

    reader.run(reader.script("custom_logging.py"), AIP_TENSORBOARD_LOG_DIR=logs)
    upload_one_shot(reader, logs, "from-bucket")

    copy = download(reader, logs)
    assert assert_same(reader.read_back("from-bucket"), logged(copy), plugins=OFFICIAL) == 310


def test_pytorch_summaries(with_instance):
    reader = with_instance
    logs = reader.folder / "logs"

    script = reader.script("pytorch_tb_logging.py", before=PYTORCH)
    reader.run(script, AIP_TENSORBOARD_LOG_DIR=str(logs))
    reader.upload(logs, "pytorch")

    assert assert_same(reader.read_back("pytorch"), logged(logs)) == 5 * (3 + 4)


def test_pytorch_summaries_in_a_bucket(with_instance):
    reader = with_instance
    logs = f"gs://{reader.create_bucket()}/tb/logs"

    script = reader.script("pytorch_tb_logging.py", before=PYTORCH)
    reader.run(script, AIP_TENSORBOARD_LOG_DIR=logs)
    upload_one_shot(reader, logs, "from-bucket")

    copy = download(reader, logs)
    assert assert_same(reader.read_back("from-bucket"), logged(copy), plugins=OFFICIAL) == 35


def test_keras_callback(with_instance):
    reader = with_instance
    logs = reader.folder / "logs"

    reader.run(
        *(reader.script("trainer/task.py"), "--epochs", "2", "--batch-size", "50"),
        KERAS_HOME=str(keras_home(reader.folder / "keras")),
        AIP_TENSORBOARD_LOG_DIR=str(logs),
        AIP_MODEL_DIR=str(reader.folder / "model.keras"),
    )
    reader.upload(logs, "keras")

    stored = reader.read_back("keras")
    assert assert_same(stored, logged(logs)) > 20
    plugins = {s["plugin"] for run in stored.values() for s in run["series"].values()}
    assert {"scalars", "histograms", "graph_keras_model"} <= plugins
    assert {run["display_name"] for run in stored.values()} == {"train", "validation"}


def test_keras_callback_in_a_bucket(with_instance):
    reader = with_instance
    logs = f"gs://{reader.create_bucket()}/job/logs"

    reader.run(
        *(reader.script("trainer/task.py"), "--epochs", "1", "--batch-size", "50"),
        KERAS_HOME=str(keras_home(reader.folder / "keras")),
        AIP_TENSORBOARD_LOG_DIR=logs,
        AIP_MODEL_DIR=str(reader.folder / "model.keras"),
    )

    written = logged(download(reader, logs))
    assert set(written) == {"train", "validation"}
    plugins = {series["plugin"] for series in written["train"].values()}
    assert {"scalars", "histograms", "graph_keras_model"} <= plugins


def test_every_pytorch_summary_comes_back(with_instance):
    reader = with_instance
    logs = reader.folder / "logs"
    script = reader.folder / "everything.py"
    script.write_text(EVERYTHING)

    reader.run(script, logs)
    reader.upload(logs, "everything")

    stored = reader.read_back("everything")
    assert assert_same(stored, logged(logs)) > 30
    plugins = {s["plugin"] for run in stored.values() for s in run["series"].values()}
    assert plugins == {
        *("scalars", "histograms", "images", "text", "graphs", "hparams"),
        *("pr_curves", "mesh", "custom_scalars", "graph_tagged_run_metadata"),
    }


def test_the_dashboards_address(with_instance):
    reader = with_instance

    printed = reader.run(reader.script("open_tensorboard.py")).stdout

    path = printed.split("googleusercontent.com", 1)[1].strip()
    assert path == f"/experiment/{reader.instance}"
    ours = reader.tensordeck("open", reader.instance, "--no-browser")
    assert ours.startswith(reader.server.url.replace("127.0.0.1", "localhost"))


def test_upload_existing_logs(with_instance):
    reader = with_instance
    logs = reader.folder / "local-tb-logs"
    reader.run(reader.script("custom_logging.py"), AIP_TENSORBOARD_LOG_DIR=str(logs / "first"))

    reader.run(reader.script("upload_logs.py"))

    stored = reader.read_back("local-experiment-001")
    assert assert_same(stored, logged(logs), plugins=OFFICIAL) == 310


def test_upload_while_training(with_instance):
    reader = with_instance
    script = reader.folder / "live.py"
    script.write_text(
        LIVE.replace("PROJECT", reader.project).replace("INSTANCE", reader.instance_id)
    )

    out = reader.run(script).stdout

    assert "seen while training" in out
    stored = reader.read_back("live")
    assert assert_same(stored, logged(reader.folder / "live-logs"), plugins=OFFICIAL) == 2


def test_organize_experiments(with_instance):
    reader = with_instance

    reader.run(reader.script("organize_experiments.py"))

    experiment = reader.api("GET", f"/v1/{reader.instance}/experiments/churn-prediction-v2")
    assert experiment["displayName"] == "Churn Prediction Model v2"
    run = reader.api("GET", f"/v1/{experiment['name']}/runs/run-lr001-bs64-ep30")
    assert run["displayName"] == "LR=0.001, BS=64, Epochs=30"


def test_clean_up_gives_everything_back(fresh_reader):
    reader = fresh_reader
    logs = reader.folder / "logs"
    rng = np.random.default_rng(1)
    with SummaryWriter(str(logs / "run")) as writer:
        for step in range(3000):
            for tag in range(10):
                writer.add_scalar(f"noise/{tag}", rng.normal(), step)
        for step in range(10):
            writer.add_image("noise", rng.random((3, 256, 256)), step)
    before = disk_use(reader.server.data_dir)
    reader.upload(logs, "old-experiment")
    reader.upload(logs, "another-experiment")
    full = disk_use(reader.server.data_dir)
    bucket = reader.api("GET", f"/v1/{reader.instance}")["blobStoragePathPrefix"]
    assert len(reader.api("GET", f"/storage/v1/b/{bucket}/o")["items"]) == 2 * (
        10 + 1
    )  # width and height are one blob

    reader.run(reader.script("clean_up.py", before=CLEAN_UP.replace("PROJECT", reader.project)))

    for gone in (reader.instance, f"{reader.instance}/experiments/old-experiment"):
        with pytest.raises(HTTPError, match="404"):
            reader.api("GET", f"/v1/{gone}")
    assert reader.api("GET", "/v1/projects/reader/locations/us-central1/tensorboards") == {}
    with pytest.raises(HTTPError, match="404"):
        reader.api("GET", f"/storage/v1/b/{bucket}/o")
    left = full
    for _ in range(600):  # space is given back soon after, in small steps
        left = disk_use(reader.server.data_dir)
        if left - before < (full - before) / 10:
            break
        threading.Event().wait(0.1)
    assert left - before < (full - before) / 10


def disk_use(folder):
    """The bytes that a folder's files take, without SQLite's log, which is written over again."""
    return sum(
        path.stat().st_blocks * 512
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    )


def upload_one_shot(reader, logdir, experiment):
    """Uploads with the official command."""
    reader.run(
        *(Path(sys.executable).with_name("tb-gcp-uploader"), "--one_shot=True"),
        *("--logdir", logdir),
        *("--tensorboard_resource_name", reader.instance, "--experiment_name", experiment),
    )


def download(reader, logs):
    """Copies a gs:// folder to a local one with TensorFlow's file system."""
    target = reader.folder / "copy"
    script = reader.folder / "download.py"
    script.write_text(DOWNLOAD)
    reader.run(script, logs, target)
    return target


def keras_home(folder):
    """A Keras home with a data set, for the real one needs the internet."""
    place = folder / "datasets" / "fashion-mnist"
    place.mkdir(parents=True)
    for name, content in fashion_mnist_files().items():
        (place / name).write_bytes(content)
    (folder / "keras.json").write_text(json.dumps({"backend": "tensorflow"}))
    return folder


CLEAN_UP = """
from google.cloud import aiplatform

aiplatform.init(project="PROJECT", location="us-central1")

"""

DOWNLOAD = """
import os, sys
import tensorflow as tf

source, target = sys.argv[1:]
for folder, _, files in tf.io.gfile.walk(source):
    inner = os.path.join(target, os.path.relpath(folder.rstrip("/"), source))
    os.makedirs(inner, exist_ok=True)
    for name in files:
        tf.io.gfile.copy(os.path.join(folder, name), os.path.join(inner, name), overwrite=True)
"""

EVERYTHING = """
import sys
import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

rng = np.random.default_rng(5)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
with SummaryWriter(sys.argv[1] + "/a/b") as writer:
    writer.add_graph(model, torch.zeros(1, 4))
    for step in range(5):
        writer.add_scalar("loss", [float("nan"), float("inf"), 1e-40, -0.0, 3][step], step)
        writer.add_scalar("new", step, step, new_style=True)
        writer.add_scalar("precise", 1 / 3, step, new_style=True, double_precision=True)
        writer.add_histogram("weights", rng.normal(size=500), step)
        writer.add_image("picture", rng.random((3, 32, 32)), step)
        writer.add_images("pictures", rng.random((2, 3, 8, 8)), step)
        writer.add_text("note", "step " + str(step) + " \\N{ROCKET}", step)
    writer.add_pr_curve("pr", rng.integers(0, 2, 50), rng.random(50), 1)
    writer.add_mesh("mesh", torch.rand(1, 16, 3), global_step=1)
    writer.add_custom_scalars({"group": {"chart": ["Multiline", ["loss"]]}})
    settings = {"lr": 0.1, "kind": "adam", "deep": True}
    writer.add_hparams(settings, {"hparam/loss": 0.5}, run_name="h")
"""

LIVE = """
import time
import tensorflow as tf
from google.cloud import aiplatform

aiplatform.init(project="PROJECT", location="us-central1")
aiplatform.start_upload_tb_log(
    tensorboard_id="INSTANCE", tensorboard_experiment_name="live", logdir="./live-logs"
)
writer = tf.summary.create_file_writer("./live-logs/run")
name = "projects/PROJECT/locations/us-central1/tensorboards/INSTANCE/experiments/live"
with writer.as_default():
    tf.summary.scalar("loss", 1.0, step=0)
    writer.flush()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            data = aiplatform.TensorboardRun(name + "/runs/run").read_time_series_data()
            if data and data["loss"].values:
                print("seen while training")
                break
        except Exception:
            pass
        time.sleep(0.5)
    tf.summary.scalar("loss", 0.5, step=1)
    writer.flush()
aiplatform.end_upload_tb_log()
"""
