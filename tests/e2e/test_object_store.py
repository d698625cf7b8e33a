"""Two servers over one PostgreSQL and one S3: what comes in by one is read from the other."""

import hashlib
import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import obstore
import pytest
from tensorboardX import SummaryWriter

from tests.conftest import Server, make_server
from tests.e2e.conftest import Reader
from tests.e2e.event_values import assert_same, logged
from tests.e2e.training_house import IMAGES, TrainingHouse, open_house
from tests.postgres_server import open_postgres
from tests.s3_server import S3Server

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

UPLOAD = """
import hashlib, sys
from google.cloud import storage

client = storage.Client()
bucket = client.create_bucket(sys.argv[1])
data = bytes(range(256)) * 40_000
bucket.blob("dir/plain").upload_from_string(data[:1000])
chunked = bucket.blob("dir/chunked", chunk_size=2 * 2**20)
with open("data", "wb") as file:
    file.write(data)
chunked.upload_from_filename("data", checksum="crc32c")
bucket.blob("composed").compose([bucket.blob("dir/plain"), chunked])
"""
DOWNLOAD = """
import hashlib, json, sys
from google.cloud import storage

bucket = storage.Client().bucket(sys.argv[1])
answers = {"listed": sorted(blob.name for blob in bucket.list_blobs())}
for name in answers["listed"]:
    whole = bucket.blob(name).download_as_bytes(checksum="crc32c")
    answers[name] = hashlib.md5(whole).hexdigest()
answers["part"] = bucket.blob("composed").download_as_bytes(start=998, end=1001).hex()
for name in answers["listed"]:
    bucket.blob(name).delete()
print(json.dumps(answers))
"""
WRITE_FILES = """
import sys
import tensorflow as tf

root = f"gs://{sys.argv[1]}/files"
with tf.io.gfile.GFile(f"{root}/large", "wb") as file:
    file.write(bytes(20_000_000))
with tf.summary.create_file_writer(f"{root}/logs").as_default():
    for step in range(20):
        tf.summary.scalar("loss", step, step=step)
"""
READ_FILES = """
import json, sys
import tensorflow as tf

root = f"gs://{sys.argv[1]}/files"
[events] = tf.io.gfile.glob(f"{root}/logs/*")
answers = [
    tf.io.gfile.stat(f"{root}/large").length,
    len(tf.io.gfile.GFile(f"{root}/large", "rb").read()),
    sum(1 for _ in tf.data.TFRecordDataset(events)),
]
tf.io.gfile.rmtree(root)
print(json.dumps([*answers, tf.io.gfile.exists(f"{root}/large")]))
"""


@pytest.fixture(scope="module")
def servers(
    s3: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server]]:
    """Two servers with data directories of their own; only the second runs jobs."""
    bucket = s3.make_bucket()
    images = tmp_path_factory.mktemp("images") / "images.toml"
    images.write_text(IMAGES)
    with open_postgres() as postgres:
        shared = ["--database-url", postgres.make_database()]
        shared += ["--object-store", f"s3://{bucket}/tensordeck"]
        pair = []
        for run_jobs in ("false", "true"):
            server = make_server(tmp_path_factory.mktemp("server") / "data", *shared)
            server.variables.update(s3.environ())
            server.variables["TENSORDECK_RUN_JOBS"] = run_jobs
            server.variables["TENSORDECK_JOB_IMAGES"] = str(images)
            pair.append(server.start())
        yield pair[0], pair[1]
        for server in pair:
            server.kill()
        left = [found["path"] for page in obstore.list(s3.bucket(bucket)) for found in page]
        assert all(path.startswith("tensordeck/") for path in left)


def script(server: Server, text: str, *arguments: str, cwd: Path) -> str:
    done = server.exec(sys.executable, "-c", text, *arguments, cwd=cwd, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_objects_of_the_official_client(servers: tuple[Server, Server], tmp_path: Path) -> None:
    first, second = servers
    bucket = f"official-{uuid.uuid4().hex[:8]}"
    script(first, UPLOAD, bucket, cwd=tmp_path)

    answers = json.loads(script(second, DOWNLOAD, bucket, cwd=tmp_path))

    data = bytes(range(256)) * 40_000
    assert (
        answers
        == {
            "listed": ["composed", "dir/chunked", "dir/plain"],
            "composed": hashlib.md5(data[:1000] + data).hexdigest(),  # noqa: S324 -- a checksum
            "dir/chunked": hashlib.md5(data).hexdigest(),  # noqa: S324
            "dir/plain": hashlib.md5(data[:1000]).hexdigest(),  # noqa: S324
            "part": (data[998:1000] + data[:2]).hex(),
        }
    )
    gone = script(first, DOWNLOAD.replace('answers["part"]', "#"), bucket, cwd=tmp_path)
    assert json.loads(gone) == {"listed": []}


def test_files_of_tensorflow(servers: tuple[Server, Server], tmp_path: Path) -> None:
    first, second = servers
    bucket = f"tensorflow-{uuid.uuid4().hex[:8]}"
    body = json.dumps({"name": bucket}).encode()
    TrainingHouse(first, "").call("POST", "/storage/v1/b?project=p", body)
    script(first, WRITE_FILES, bucket, cwd=tmp_path)

    assert json.loads(script(second, READ_FILES, bucket, cwd=tmp_path)) == [
        20_000_000,
        20_000_000,
        21,
        False,
    ]


def test_pictures_of_the_official_uploader(
    servers: tuple[Server, Server], s3: S3Server, tmp_path: Path
) -> None:
    first, second = servers
    writer_of, reader_of = (
        Reader(server, tmp_path, f"pictures-{uuid.uuid4().hex[:8]}") for server in servers
    )
    reader_of.project = writer_of.project
    writer_of.create_instance()
    logs = tmp_path / "local-tb-logs"
    pixels = np.random.default_rng(3).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    with SummaryWriter(str(logs)) as summaries:
        for step in range(5):
            summaries.add_scalar("loss", 1 / (step + 1), step)
            summaries.add_image("picture", np.roll(pixels, step), step)

    writer_of.run(writer_of.script("upload_logs.py"))

    reader_of.instance = writer_of.instance
    stored = reader_of.read_back("local-experiment-001")
    assert assert_same(stored, logged(logs)) == 10
    assert first.url != second.url


def test_a_job_is_staged_by_one_server_and_run_by_the_other(
    servers: tuple[Server, Server],
) -> None:
    first, second = servers
    house = open_house(first)
    program = (
        "import os, pathlib; print('hello from', 'the job'); "
        "path = pathlib.Path(os.environ['AIP_MODEL_DIR'].replace('gs://', '/gcs/')); "
        "path.mkdir(parents=True, exist_ok=True); (path / 'model').write_text('trained')"
    )
    job = house.submit(program)

    ended = house.ended(job)

    assert ended["state"] == "JOB_STATE_SUCCEEDED", ended
    elsewhere = TrainingHouse(second, house.bucket)
    assert "hello from the job" in elsewhere.log(job)
    base = ended["jobSpec"]["baseOutputDirectory"]["outputUriPrefix"].removeprefix("gs://")
    bucket, _, prefix = base.partition("/")
    listed = house.call("GET", f"/storage/v1/b/{bucket}/o?prefix={prefix}")
    assert any(item["name"].endswith("/model/model") for item in listed["items"])
