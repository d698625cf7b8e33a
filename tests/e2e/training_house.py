"""A server that runs jobs on this Python, and jobs whose program is one line of the test."""

import io
import json
import tarfile
import threading
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from tests.conftest import Server

IMAGE = "us-docker.pkg.dev/vertex-ai/training/this-python:latest"
"""What the official client takes for one of the service's own images."""
IMAGES = f"""
[[image]]
name = "{IMAGE.partition(":")[0]}"
environment = "server"
"""
PARENT = "projects/my-project/locations/us-central1"
ACCOUNT = "trainer@my-project.iam.gserviceaccount.com"
ENDED = {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"}
PACKAGE = {
    "setup.py": (
        "import setuptools\n"
        "setuptools.setup(name='line', version='1', packages=['line'], include_package_data=True)\n"
    ),
    "PKG-INFO": "Metadata-Version: 2.1\nName: line\nVersion: 1\n",
    "line/__init__.py": "",
    "line/run.py": "import sys\nexec(sys.argv[1])\n",
}
"""A package whose program is its argument: one environment serves all tests."""


def sdist() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in PACKAGE.items():
            entry = tarfile.TarInfo(f"line-1/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


@dataclass
class TrainingHouse:
    """A server with a package in a bucket.

    Attributes:
        server: The server.
        bucket: The bucket.
    """

    server: Server
    bucket: str

    def call(self, verb: str, path: str, body: Any = None, token: str = "") -> Any:
        """A plain REST call; bytes are sent as they are."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.server.url + path,
            data=data,
            method=verb,
            headers={"Authorization": f"Bearer {token or self.server.token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return json.loads(reply.read() or b"null")
        except HTTPError as error:
            error.add_note(error.read().decode())
            raise

    def board(self) -> str:
        """A new instance's name."""
        made = self.call("POST", f"/v1/{PARENT}/tensorboards", {"displayName": "jobs"})
        return made["response"]["name"]

    def submit(self, *programs: str, board: str = "", **spec: Any) -> str:
        """Submits a job; each program is a worker pool of one replica. Returns its name."""
        pools = [
            {
                "machineSpec": {"machineType": "n1-standard-4"},
                "replicaCount": 1,
                "pythonPackageSpec": {
                    "executorImageUri": IMAGE,
                    "packageUris": [f"gs://{self.bucket}/line-1.tar.gz"],
                    "pythonModule": "line.run",
                    "args": [program],
                },
            }
            for program in programs
        ]
        output = {"outputUriPrefix": f"gs://{self.bucket}/{uuid.uuid4().hex}"}
        job = {
            "displayName": "a job",
            "jobSpec": {
                "workerPoolSpecs": pools,
                "baseOutputDirectory": output,
                "serviceAccount": ACCOUNT,
                **({"tensorboard": board} if board else {}),
                **spec,
            },
        }
        return self.call("POST", f"/v1/{PARENT}/customJobs", job)["name"]

    def job(self, name: str) -> dict[str, Any]:
        return self.call("GET", f"/v1/{name}")

    def ended(self, name: str) -> dict[str, Any]:
        """A job, once it has ended."""
        return self.eventually(lambda: (job := self.job(name))["state"] in ENDED and job)

    def succeeded(self, name: str) -> None:
        """Waits for a job's end; fails with what it said if that is not a success."""
        job = self.ended(name)
        assert job["state"] == "JOB_STATE_SUCCEEDED", f"{job.get('error')}\n{self.log(name)}"

    def folder(self, name: str) -> Path:
        """The folder of a job's first attempt."""
        return self.server.data_dir / "jobs" / name.rpartition("/")[2] / "1"

    def log(self, name: str) -> str:
        """What the replicas of a job's first attempt have printed, as it is kept."""
        files = sorted((self.folder(name) / "logs").glob("workerpool*.log"))
        return "".join(file.read_text() for file in files)

    def scalars(self, board: str, job: str, run: str, tag: str) -> list[tuple[int, float]]:
        """The points of a series of a job's experiment; empty if there is none yet."""
        experiment = f"{board}/experiments/{job.rpartition('/')[2]}"
        try:
            listed = self.call("GET", f"/v1/{experiment}/runs/-/timeSeries")
        except HTTPError:  # the job has not been taken up yet
            return []
        for series in listed.get("tensorboardTimeSeries", []):
            if series["displayName"] == tag and f"/runs/{run}/" in series["name"]:
                data = self.call("GET", f"/v1/{series['name']}:read?maxDataPoints=-1")
                return [
                    (int(point.get("step", 0)), point["scalar"].get("value", 0.0))
                    for point in data["timeSeriesData"].get("values", [])
                ]
        return []

    @staticmethod
    def eventually(condition: Any, seconds: float = 60.0) -> Any:
        """Waits for a condition; returns what it said at last."""
        pause, waited = threading.Event(), 0.0
        while not (found := condition()) and waited < seconds:
            pause.wait(0.1)
            waited += 0.1
        assert found, "it did not come to that"
        return found


def open_house(server: Server) -> TrainingHouse:
    """Makes a bucket with the package."""
    house = TrainingHouse(server, f"jobs-{uuid.uuid4().hex[:12]}")
    house.call("POST", "/storage/v1/b?project=my-project", {"name": house.bucket})
    house.call(
        "POST",
        f"/upload/storage/v1/b/{house.bucket}/o?uploadType=media&name=line-1.tar.gz",
        sdist(),
    )
    return house
