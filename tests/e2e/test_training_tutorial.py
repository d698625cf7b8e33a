"""The tutorial's training job, as it is printed there, with TensorFlow 2.14.

The job asks for a GPU that may be missing, and downloads Fashion-MNIST from Google's public bucket,
which is ours here: digits of the same format lie at the same address.
"""

import threading
from collections.abc import Iterator

import pytest

from tests.conftest import make_server
from tests.e2e.conftest import Reader
from tests.e2e.event_values import assert_same, logged
from tests.e2e.fashion_mnist import fashion_mnist_files
from tests.e2e.training_house import TrainingHouse

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1500)]

EPOCHS = 30
PUBLIC = {
    "bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}],
}


@pytest.fixture
def reader(tmp_path) -> Iterator[Reader]:
    """Somebody with an instance and a staging bucket."""
    server = make_server(tmp_path / "data", "--allow-missing-accelerators", "true").start()
    (tmp_path / "work").mkdir()
    reader = Reader(server, tmp_path / "work", "my-project")
    reader.create_instance()
    yield reader
    server.kill()


def test_the_tutorial_s_training_job(reader):
    house = TrainingHouse(reader.server, "tensorflow")
    house.call("POST", "/storage/v1/b?project=tensorflow", {"name": house.bucket})
    house.call("PUT", f"/storage/v1/b/{house.bucket}/iam", PUBLIC)
    for name, content in fashion_mnist_files().items():
        house.call(
            "POST",
            f"/upload/storage/v1/b/{house.bucket}/o?uploadType=media&name=tf-keras-datasets/{name}",
            content,
        )
    bucket = reader.create_bucket()
    reader.script("trainer/task.py")
    script = reader.script("run_training_with_tb.py", **{"your-staging-bucket": bucket})
    done = []
    running = threading.Thread(target=lambda: done.append(reader.run(script)))

    running.start()
    (job,) = house.eventually(lambda: jobs(reader, running), seconds=120)
    losses = house.eventually(
        lambda: house.scalars(reader.instance, job, "train", "epoch_loss"), seconds=1200
    )
    assert len(losses) < EPOCHS
    running.join()

    (finished,) = done
    model = finished.stdout.split("Training complete. Model: ")[1].split()[0]
    described = reader.api("GET", f"/v1/{model}")
    assert described["displayName"] == "fashion-mnist-model"
    _, _, model_dir = described["artifactUri"].partition(f"gs://{bucket}/")
    listed = reader.api("GET", f"/storage/v1/b/{bucket}/o?prefix={model_dir}/")["items"]
    assert {f"{model_dir}/saved_model.pb", f"{model_dir}/variables/variables.index"} <= {
        item["name"] for item in listed
    }
    job_id = job.rpartition("/")[2]
    stored = reader.read_back(job_id)
    assert {"train", "validation", "workerpool0-0"} == set(stored)
    assert len(stored["train"]["series"]["epoch_loss"]["points"]) == EPOCHS
    trained = {run: stored[run] for run in ("train", "validation")}
    (logs,) = (house.folder(job) / "gcs" / bucket).glob("*/logs")
    assert assert_same(trained, logged(logs)) > 10 * EPOCHS
    printed = reader.tensordeck("jobs", "logs", job_id)
    assert "TensorBoard log directory: " in printed
    assert f"Epoch {EPOCHS}/{EPOCHS}" in printed


def jobs(reader: Reader, running: threading.Thread) -> list[str]:
    """The names of the reader's jobs."""
    assert running.is_alive(), "the script has ended"
    parent = "/v1/projects/my-project/locations/us-central1/customJobs"
    return [job["name"] for job in reader.api("GET", parent).get("customJobs", [])]
