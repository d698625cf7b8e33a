"""Uploads of log directories that lie in a bucket of the server."""

import io
import json
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from tensorboardX import SummaryWriter

from tensordeck.errors import InvalidArgument
from tensordeck.ingest.tfrecord import read_records
from tensordeck.ingest.uploader import upload
from tests.ingest.sample_logs import numbered, write
from tests.ingest.test_uploader import Following


@dataclass
class Bucket:
    """A bucket of the server, and files put into it."""

    server: object
    name: str

    def post(self, path: str, body: bytes) -> None:
        request = urllib.request.Request(
            f"{self.server.url}{path}",
            body,
            {"Authorization": f"Bearer {self.server.token}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).close()

    def put(self, local: Path, folder: str) -> None:
        """Stores all files below a local folder anew, as TensorFlow does with one that grew."""
        for path in local.rglob("*"):
            if path.is_file():
                name = quote(f"{folder}{path.relative_to(local).as_posix()}", safe="")
                self.post(
                    f"/upload/storage/v1/b/{self.name}/o?uploadType=media&name={name}",
                    path.read_bytes(),
                )


@pytest.fixture
def bucket(server) -> Bucket:
    made = Bucket(server, f"logs-{uuid.uuid4().hex}")
    made.post("/storage/v1/b?project=ingest", json.dumps({"name": made.name}).encode())
    return made


def test_folders_of_a_bucket_become_runs(bucket, logdir, target, reader, positions):
    write(logdir, [1.5, 2.5])
    write(logdir / "eval" / "fold #0", [0.25])
    (logdir / "notes.txt").write_text("no event file")
    bucket.put(logdir, "some/where/")
    bucket.put(logdir, "some/where-else/")

    done = upload(f"gs://{bucket.name}/some/where", "bucket", target, positions=positions)
    again = upload(f"gs://{bucket.name}/some/where/", "bucket", target, positions=positions)
    whole = upload(f"gs://{bucket.name}", "whole", target, positions=positions)

    assert reader.scalars("bucket") == {
        "default": {"loss": numbered([1.5, 2.5])},
        "eval/fold #0": {"loss": numbered([0.25])},
    }
    assert (done.files, done.points, again.points) == (2, 3, 0)
    assert whole.points == 6
    assert set(reader.runs("whole")) == {
        f"some/{folder}{run}" for folder in ("where", "where-else") for run in ("", "/eval/fold #0")
    }


def test_a_file_larger_than_one_read_arrives_whole(bucket, logdir, target, reader, positions):
    rng = np.random.default_rng(1)
    with SummaryWriter(str(logdir)) as writer:
        for step in range(18):
            writer.add_image("noise", rng.random((3, 300, 300)), step)
            writer.add_scalar("loss", step, step)
    assert sum(path.stat().st_size for path in logdir.iterdir()) > 4 * 2**20
    bucket.put(logdir, "")

    upload(f"gs://{bucket.name}", "large", target, positions=positions)

    assert reader.scalars("large") == {"default": {"loss": numbered(range(18))}}
    (run,) = reader.runs("large").values()
    assert len(reader.points(reader.series(run)["noise"].name)) == 18


def test_following_takes_what_is_added_to_an_object(bucket, logdir, target, reader, positions):
    write(logdir / "whole", range(9))
    (whole,) = (logdir / "whole").iterdir()
    content = whole.read_bytes()
    ends = [end for end, _ in read_records(io.BytesIO(content))]
    growing = logdir / "growing"
    growing.mkdir()
    following = Following(f"gs://{bucket.name}/late", "grows", target, positions)
    try:
        for points in (3, 6, 9):
            # To the end of that many points (the first record is none), and a part of the next.
            (growing / whole.name).write_bytes(content[: ends[points] + 5])
            bucket.put(growing, "late/")
            following.wait_for(points)
    finally:
        following.end()

    assert following.points == 9
    assert reader.scalars("grows") == {"default": {"loss": numbered(range(9))}}


@pytest.mark.parametrize("url", ["gs://", "gs:///folder", "gs://no-such-bucket-here/x"])
def test_what_is_no_folder_is_told(target, positions, url):
    with pytest.raises(InvalidArgument, match="gs://"):
        upload(url, "none", target, positions=positions)


def test_an_empty_folder_of_a_bucket_is_told(bucket, logdir, target, positions):
    write(logdir, [1.0])
    bucket.put(logdir, "full/")

    with pytest.raises(InvalidArgument, match="empty"):
        upload(f"gs://{bucket.name}/empty", "none", target, positions=positions)
