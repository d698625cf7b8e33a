"""Training jobs, from the API to real processes and back."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tensordeck.ingest.tfrecord import read_records
from tests.conftest import make_server
from tests.e2e.training_house import ACCOUNT, IMAGE, IMAGES, TrainingHouse, open_house

TRAIN = """
import os, pathlib, time
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensordeck.ingest.tfrecord import framed  # loads in a moment, as no SummaryWriter does
go, deadline = pathlib.Path(os.environ["HOME"]), time.time() + 120  # a test may have failed
with open(os.environ["AIP_TENSORBOARD_LOG_DIR"] + "events.out.tfevents.1", "wb") as file:
    for step in range(30):
        value = Summary.Value(tag="loss", simple_value=1 / (step + 1))
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=[value]))
        file.write(framed(event.SerializeToString()))
        file.flush()
        while step in (9, 19) and not (go / f"go-{step}").exists() and time.time() < deadline:
            time.sleep(0.05)
pathlib.Path(os.environ["AIP_MODEL_DIR"] + "model.txt").write_text("weights")
"""
"""Writes 30 points, and waits for the test after the tenth and the twentieth."""


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    table = tmp_path_factory.mktemp("images") / "images.toml"
    table.write_text(IMAGES)
    return table


@pytest.fixture(scope="module")
def house(tmp_path_factory, images) -> Iterator[TrainingHouse]:
    """A server that tests share."""
    data_dir = tmp_path_factory.mktemp("training") / "data"
    server = make_server(data_dir, "--job-images", str(images), "--parallel-jobs", "8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET_OF_THE_SERVER", "secret")
        server.start()
    yield open_house(server)
    server.kill()


@pytest.fixture
def own_house(tmp_path, images) -> Iterator[TrainingHouse]:
    """A server that the test may kill."""
    server = make_server(tmp_path / "data", "--job-images", str(images)).start()
    yield open_house(server)
    server.kill()


def go(house: TrainingHouse, job: str, step: int) -> None:
    """Lets a job go on that waits at a step."""
    home = house.folder(job) / "home" / "workerpool0-0"
    house.eventually(home.is_dir)
    (home / f"go-{step}").touch()


def points(house: TrainingHouse, board: str, job: str) -> list[int]:
    return [step for step, _ in house.scalars(board, job, "default", "loss")]


def test_points_are_there_while_the_job_runs(house):
    board = house.board()
    job = house.submit(TRAIN, board=board)

    house.eventually(lambda: points(house, board, job) == list(range(10)))
    house.eventually(lambda: house.job(job)["state"] == "JOB_STATE_RUNNING")
    experiment = house.call("GET", f"/v1/{board}/experiments/{job.rpartition('/')[2]}")
    assert experiment["displayName"] == "a job"
    assert experiment["source"] == job
    go(house, job, 9)
    go(house, job, 19)
    ended = house.ended(job)

    assert ended["state"] == "JOB_STATE_SUCCEEDED"
    assert points(house, board, job) == list(range(30))
    base = ended["jobSpec"]["baseOutputDirectory"]["outputUriPrefix"].removeprefix("gs://")
    bucket, _, prefix = base.partition("/")
    names = {
        item["name"].removeprefix(prefix)
        for item in house.call("GET", f"/storage/v1/b/{bucket}/o?prefix={prefix}")["items"]
    }
    assert "/model/model.txt" in names
    assert any(name.startswith("/logs/events.out.tfevents") for name in names)


@pytest.mark.parametrize("end", ["kill", pytest.param("stop", marks=pytest.mark.heavy)])
def test_a_job_goes_on_while_the_server_is_away(own_house, end):
    house = own_house
    board = house.board()
    job = house.submit(TRAIN, board=board)
    house.eventually(lambda: points(house, board, job) == list(range(10)))

    getattr(house.server, end)()
    go(house, job, 9)
    house.eventually(lambda: written(house, job) >= 20)
    house.server.start()
    house.eventually(lambda: points(house, board, job) == list(range(20)))
    house.eventually(lambda: house.job(job)["state"] == "JOB_STATE_RUNNING")
    go(house, job, 19)

    house.succeeded(job)
    assert points(house, board, job) == list(range(30))


def written(house: TrainingHouse, job: str) -> int:
    """How many points are in the job's event file."""
    (path,) = (house.folder(job) / "gcs").rglob("events.out.tfevents.*")
    with path.open("rb") as file:
        return sum(1 for _ in read_records(file))


def test_a_job_that_ended_while_the_server_was_away_is_found_ended(own_house):
    house = own_house
    board = house.board()
    job = house.submit(TRAIN, board=board)
    house.eventually(lambda: points(house, board, job) == list(range(10)))

    house.server.kill()
    go(house, job, 9)
    go(house, job, 19)
    status = house.folder(job) / "status.json"
    house.eventually(lambda: '"succeeded"' in status.read_text())
    house.server.start()

    house.succeeded(job)
    assert points(house, board, job) == list(range(30))


def test_a_failing_program_s_last_words_are_in_the_error(house):
    job = house.submit("print('before'); raise ValueError('no data at all')")

    ended = house.ended(job)

    assert ended["state"] == "JOB_STATE_FAILED"
    assert ended["error"]["code"] == 3
    assert "workerpool0-0" in ended["error"]["message"]
    assert "before\n" in ended["error"]["message"]
    assert "ValueError: no data at all" in ended["error"]["message"]
    assert f"tensordeck jobs logs {job.rpartition('/')[2]}" in ended["error"]["message"]


def test_a_program_that_takes_too_long_is_ended(house):
    job = house.submit("import time; time.sleep(600)", scheduling={"timeout": "2s"})

    ended = house.ended(job)

    assert ended["state"] == "JOB_STATE_FAILED"
    assert "2" in ended["error"]["message"]


def test_a_job_can_be_cancelled(house):
    job = house.submit("import time; print('running'); time.sleep(600)")
    house.eventually(lambda: "running" in house.log(job))

    house.call("POST", f"/v1/{job}:cancel", {})

    ended = house.ended(job)
    assert ended["state"] == "JOB_STATE_CANCELLED"
    assert ended["error"]["code"] == 1


def test_replicas_find_each_other(house):
    chief = (
        "import json, os, socket\n"
        "spec = json.loads(os.environ['CLUSTER_SPEC']); tf = json.loads(os.environ['TF_CONFIG'])\n"
        "assert spec['task']['type'] == 'workerpool0' and tf['task']['type'] == 'chief'\n"
        "host, port = spec['cluster']['workerpool0'][0].split(':')\n"
        "with socket.create_server((host, int(port))) as server:\n"
        "    connection, _ = server.accept()\n"
        "    print('chief was told', connection.makefile().readline())\n"
    )
    worker = (
        "import json, os, socket, time\n"
        "tf = json.loads(os.environ['TF_CONFIG'])\n"
        "assert tf['task'] == {'type': 'worker', 'index': 0}\n"
        "host, port = tf['cluster']['chief'][0].split(':')\n"
        "while True:\n"
        "    try:\n"
        "        with socket.create_connection((host, int(port))) as chief:\n"
        "            chief.sendall(b'hello from ' + os.environ['RANK'].encode())\n"
        "        break\n"
        "    except ConnectionRefusedError:\n"
        "        time.sleep(0.05)\n"
    )
    job = house.submit(chief, worker)

    house.succeeded(job)
    assert "chief was told hello from 1" in house.log(job)


def test_a_program_s_own_calls_come_to_us_as_the_job_s_account(house):
    program = (
        "import google.auth, os\n"
        "from google.auth.transport.requests import AuthorizedSession\n"
        "credentials, project = google.auth.default(scopes=["
        "'https://www.googleapis.com/auth/cloud-platform'])\n"
        "session = AuthorizedSession(credentials)\n"
        f"url = 'https://storage.googleapis.com/storage/v1/b/{house.bucket}'\n"
        "print('bucket', session.get(url).json()['name'])\n"
        "print('account', credentials.service_account_email, project)\n"
        "print('secrets', [name for name in os.environ if 'SECRET' in name])\n"
    )
    job = house.submit(program)

    house.succeeded(job)
    log = house.log(job)
    assert f"bucket {house.bucket}" in log
    assert f"account {ACCOUNT} my-project" in log
    assert "secrets []" in log
    assert not list(house.folder(job).rglob("service-account.json"))


def test_an_unknown_machine_type_is_refused_with_a_way_out(house):
    pool = {
        "machineSpec": {"machineType": "n1-standrad-4"},
        "replicaCount": 1,
        "containerSpec": {"imageUri": IMAGE},
    }
    with pytest.raises(HTTPError) as refused:
        house.submit(workerPoolSpecs=[pool])

    assert refused.value.code == 400
    (note,) = refused.value.__notes__
    assert "n1-standrad-4" in note
    assert "n1-standard-4" in note


CLIENT = """
import time
from google.cloud import aiplatform, storage

aiplatform.init(project="my-project", location="us-central1", staging_bucket="gs://BUCKET/staging")
board = aiplatform.Tensorboard.create(display_name="client")
account = "trainer@my-project.iam.gserviceaccount.com"

job = aiplatform.CustomJob.from_local_script(
    display_name="custom", script_path="task.py", container_uri="IMAGE", args=["--points", "5"]
)
job.run(tensorboard=board.resource_name, service_account=account, sync=False)
training = aiplatform.CustomTrainingJob(
    display_name="training",
    script_path="task.py",
    container_uri="IMAGE",
    model_serving_container_image_uri="us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-14:latest",
)
model = training.run(
    model_display_name="the-model", args=["--points", 7], service_account=account, sync=False
)
endless = aiplatform.CustomJob.from_local_script(
    display_name="endless", script_path="endless.py", container_uri="IMAGE"
)
endless.submit()
endless.cancel()
aiplatform.init(
    project="my-project",
    location="us-central1",
    staging_bucket="gs://BUCKET/staging",
    experiment="churn",
    experiment_tensorboard=board,
)
tracked = aiplatform.CustomJob.from_local_script(
    display_name="tracked", script_path="task.py", container_uri="IMAGE", args=["--points", "3"]
)
tracked.run(experiment="churn", service_account=account, sync=False)

job.wait()
tracked.wait()
model.wait()
print("job", job.resource_name, job.state.name)
runs = aiplatform.TensorboardRun.list(
    f"{board.resource_name}/experiments/{job.name}", project="my-project", location="us-central1"
)
print("runs", sorted(run.display_name for run in runs))
print("model", model.display_name, model.version_id, training.state.name)
bucket, _, prefix = model.uri.removeprefix("gs://").partition("/")
blob = storage.Client(project="my-project").bucket(bucket).blob(f"{prefix}/weights.txt")
print("artifact", blob.download_as_text())
while not endless.state.name.endswith("CANCELLED"):
    time.sleep(0.2)
(run,) = aiplatform.ExperimentRun.list(experiment="churn")
print("tracked", run.state.name, run.get_time_series_data_frame().to_dict("list"))
"""
TASK = """
import argparse, os
from tensorboardX import SummaryWriter

parser = argparse.ArgumentParser()
parser.add_argument("--points", type=int)
points = parser.parse_args().points
with SummaryWriter(os.environ["AIP_TENSORBOARD_LOG_DIR"]) as writer:
    for step in range(points):
        writer.add_scalar("loss", step, step)
with open(os.path.join(os.environ["AIP_MODEL_DIR"], "weights.txt"), "w") as file:
    file.write(f"trained on {points}")
"""


@pytest.mark.heavy
def test_google_s_client_runs_jobs(house, tmp_path):
    for name, text in {
        "client.py": CLIENT,
        "task.py": TASK,
        "endless.py": "while True: pass",
    }.items():
        filled = text.replace("BUCKET", house.bucket).replace("IMAGE", IMAGE)
        (tmp_path / name).write_text(filled)

    done = house.server.exec(sys.executable, "client.py", cwd=tmp_path, env=dict(os.environ))

    assert done.returncode == 0, done.stderr
    assert "JOB_STATE_SUCCEEDED" in done.stdout
    assert "runs ['default', 'workerpool0-0']" in done.stdout
    assert "model the-model 1 PIPELINE_STATE_SUCCEEDED" in done.stdout
    assert "artifact trained on 7" in done.stdout
    assert "tracked COMPLETE" in done.stdout
    assert "'loss': [0.0, 1.0, 2.0]" in done.stdout


@pytest.mark.heavy
def test_two_servers_share_the_jobs_of_one_store(tmp_path, images):
    shared = (
        *("--database-url", f"sqlite:///{tmp_path}/shared.db"),
        *("--object-store", f"file://{tmp_path}/objects"),
        *("--job-images", str(images), "--parallel-jobs", "1"),
    )
    (tmp_path / "objects").mkdir()
    first = make_server(tmp_path / "first", *shared).start()
    second = make_server(tmp_path / "second", *shared).start()
    try:
        house = open_house(first)
        program = f"import os; os.mkdir('{tmp_path}/' + os.environ['CLOUD_ML_JOB_ID'])"
        jobs = [house.submit(f"{program}; import time; time.sleep(1)") for _ in range(6)]

        for job in jobs:
            house.succeeded(job)
        ids = {job.rpartition("/")[2] for job in jobs}
        here, there = (
            {folder.name for folder in (server.data_dir / "jobs").iterdir()} & ids
            for server in (first, second)
        )
        assert here | there == ids
        assert here
        assert there
        assert not here & there
    finally:
        first.kill()
        second.kill()
