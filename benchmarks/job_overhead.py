"""What a training job costs before its script's first line, its environment being cached.

    python benchmarks/job_overhead.py [executor] [server] [--rounds 5]

`executor`: the process executor alone, from `start` to the script's first line. `server`: the
whole of it, from the call of CreateCustomJob to that line. Three kinds of jobs: a command; a
package that was packed before, packed anew as the official client does for every job; and a
package whose script has changed, so that it is built and installed first.

The first job of each kind, which may build the environment, is not counted.
"""

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ingest import free_port, wait_for
from tensordeck.jobs import job_log
from tensordeck.jobs.executor import Launch, Replica
from tensordeck.jobs.machine_types import machine
from tensordeck.jobs.process.executor import ProcessExecutor

PARENT = "projects/p/locations/us-central1"
IMAGE = "tensordeck/server"
KINDS = ("a command", "the same package", "a changed package")
BUCKET = "overhead"


def sdist(script: str) -> bytes:
    """A script as the official client packs it."""
    members = {
        "setup.py": "from setuptools import find_packages, setup\n"
        "setup(name='trainer', version='0.1', packages=find_packages())\n",
        "trainer/__init__.py": "",
        "trainer/task.py": script,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in members.items():
            entry = tarfile.TarInfo(f"trainer-0.1/{name}")
            entry.size, entry.mtime = len(text), time.time()
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def script(kind: str) -> str:
    return f"print({time.time_ns() if kind == KINDS[2] else 'begun'!r})"


def first_line(logs: Path) -> float:
    """Waits for the script's first line; returns when it came, in seconds since 1970."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for line in job_log.read(logs).lines:
            if line.replica == "workerpool0-0":
                return line.time_ns / 1e9
        time.sleep(0.01)
    raise SystemExit(f"{logs} has no line of the script")


def by_executor(folder: Path) -> Callable[[str, int], float]:
    """A way to run one job with the executor alone; gives seconds."""
    executor = ProcessExecutor(folder / "environments")

    def run(kind: str, number: int) -> float:
        attempt = folder / str(number)
        attempt.mkdir()
        package = attempt / "trainer-0.1.tar.gz"
        package.write_bytes(sdist(script(kind)))
        task: dict[str, Any] = {"module": "trainer.task", "packages": (package,)}
        if kind == KINDS[0]:
            task = {"command": ("python", "-c", script(kind))}
        replica = Replica(pool=0, index=0, image=IMAGE, machine=machine("n1-standard-4"), **task)
        launch = Launch(job_id=str(number), attempt=1, folder=attempt, replicas=(replica,))
        began = time.time()
        handle = executor.start(launch)
        seconds = first_line(attempt / "logs") - began
        while not executor.poll(handle)[0].phase.ended:
            time.sleep(0.01)
        return seconds

    return run


class Server:
    """A server with a bucket."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        serve = ["-m", "tensordeck", "serve", "--data-dir", str(self.data), "--port", str(port)]
        self.process = subprocess.Popen([sys.executable, *serve], stdout=subprocess.DEVNULL)
        wait_for(f"{self.url}/healthz", self.process)
        owner = json.loads((self.data / "credentials" / "owner.json").read_text())
        keys = ("client_id", "client_secret", "refresh_token")
        form = "&".join(["grant_type=refresh_token", *(f"{key}={owner[key]}" for key in keys)])
        with urllib.request.urlopen(f"{self.url}/token", data=form.encode()) as reply:  # noqa: S310 -- our own address
            self.token = json.load(reply)["access_token"]
        self.call("POST", "/storage/v1/b?project=p", json.dumps({"name": BUCKET}).encode())

    def call(self, verb: str, path: str, body: bytes | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.url + path, body, headers, method=verb)  # noqa: S310 -- our own address
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 -- our own address
            return json.load(reply)


def by_server(server: Server) -> Callable[[str, int], float]:
    """A way to run one job by the API; gives seconds."""

    def run(kind: str, number: int) -> float:
        name = f"trainer-{number}.tar.gz"
        upload = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}"
        server.call("POST", upload, sdist(script(kind)))
        pool: dict[str, Any] = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": 1}
        if kind == KINDS[0]:
            command = ["python", "-c", script(kind)]
            pool["containerSpec"] = {"imageUri": IMAGE, "command": command}
        else:
            pool["pythonPackageSpec"] = {
                "executorImageUri": IMAGE,
                "packageUris": [f"gs://{BUCKET}/{name}"],
                "pythonModule": "trainer.task",
            }
        spec = {
            "workerPoolSpecs": [pool],
            "baseOutputDirectory": {"outputUriPrefix": f"gs://{BUCKET}/{number}"},
        }
        body = json.dumps({"displayName": kind, "jobSpec": spec}).encode()
        began = time.time()
        job = server.call("POST", f"/v1/{PARENT}/customJobs", body)["name"]
        logs = server.data / "jobs" / job.rpartition("/")[2] / "1" / "logs"
        seconds = first_line(logs) - began
        while not server.call("GET", f"/v1/{job}").get("endTime"):
            time.sleep(0.05)
        return seconds

    return run


@contextlib.contextmanager
def running(what: str) -> Iterator[Callable[[str, int], float]]:
    with tempfile.TemporaryDirectory() as folder:
        if what == "executor":
            yield by_executor(Path(folder))
            return
        server = Server(Path(folder))
        try:
            yield by_server(server)
        finally:
            server.process.terminate()
            server.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["executor", "server"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for what in options.what:
        print(f"{what}: seconds to the script's first line")
        with running(what) as run:
            number = 0
            for kind in KINDS:
                seconds = []
                for _ in range(options.rounds + 1):
                    number += 1
                    seconds.append(run(kind, number))
                counted = seconds[1:]
                print(
                    f"  {kind}: median {statistics.median(counted):.2f}, worst {max(counted):.2f}"
                )


if __name__ == "__main__":
    main()
