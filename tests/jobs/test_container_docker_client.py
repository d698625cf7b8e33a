"""What the real docker client makes of our commands: the requests that its engine would get.

The engine itself can't run where these tests must; what answers here is a recorder of requests.
"""

import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import pytest

from tensordeck.errors import FailedPrecondition, Unavailable
from tensordeck.jobs.container.engine import ContainerEngine, EngineInfo
from tensordeck.jobs.container.executor import ContainerExecutor
from tensordeck.jobs.container.invocation import invocation
from tensordeck.jobs.executor import Launch, Machine, Replica

pytestmark = pytest.mark.skipif(not shutil.which("docker"), reason="there is no docker client here")

GIB = 1 << 30
IMAGE = "registry.example/team/train:2"


class Requests(ThreadingMixIn, UnixStreamServer):
    """Answers as far as `docker run --detach` needs it.

    Attributes:
        made: The bodies of requests for containers.
    """

    daemon_threads = True

    def __init__(self, path: str) -> None:
        super().__init__(path, Answers)
        self.made: list[dict[str, Any]] = []


class Answers(BaseHTTPRequestHandler):
    server: Requests

    def do_HEAD(self) -> None:
        self._answer(200, b"")

    def do_GET(self) -> None:
        if self.path.endswith("/json"):
            self._answer(404, b'{"message": "No such container: tensordeck-17-1-workerpool0-0"}')
        else:
            self._answer(200, b"OK")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "/containers/create" in self.path:
            self.server.made.append({"path": self.path, **json.loads(body)})
            self._answer(201, b'{"Id": "c0ffee", "Warnings": []}')
        else:
            self._answer(204, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Api-Version", "1.41")
        self.send_header("Ostype", "linux")
        self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def requests(monkeypatch) -> Iterator[Requests]:
    with tempfile.TemporaryDirectory() as folder:  # sockets' paths must be short
        path = f"{folder}/engine.sock"
        with Requests(path) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
            monkeypatch.setenv("DOCKER_CONFIG", folder)
            yield server
            server.shutdown()
            thread.join()


def test_the_engine_is_asked_for_what_a_job_may_have(requests, tmp_path):
    folder = tmp_path / "2026-11-23-08:14:12, a job"
    env = {
        "AIP_MODEL_DIR": f"{folder}/gcs/b/model/",
        "QUOTED": "a \"b\" 'c' $d #e",
        "LINES": "two\nlines",
        "PADDED": "  x ",
    }
    machine = Machine(
        machine_type="n1-standard-8",
        cpus=8,
        memory_bytes=30 * GIB,
        accelerator_type="NVIDIA_TESLA_T4",
        accelerators=2,
    )
    launch = Launch(
        job_id="17",
        attempt=1,
        folder=folder,
        replicas=(
            Replica(
                pool=0,
                index=0,
                image=IMAGE,
                machine=machine,
                command=("python", "train.py"),
                args=("--flag", "--", "x y"),
                env=env,
            ),
        ),
    )
    (tmp_path / "env").touch()
    info = EngineInfo(podman=False, rootless=False, cpus=4, memory_bytes=64 * GIB)
    run = invocation(launch, launch.replicas[0], info, tmp_path / "env", ("1", "3"))
    (tmp_path / "env").write_text(run.variables)

    ContainerEngine("docker").run(run.arguments, run.environ())

    (made,) = requests.made
    assert made["path"].endswith("create?name=tensordeck-17-1-workerpool0-0")
    assert (made["Entrypoint"], made["Image"]) == (["python"], IMAGE)
    assert made["Cmd"] == ["train.py", "--flag", "--", "x y"]
    assert set(made["Env"]) >= {f"{name}={value}" for name, value in env.items()}
    assert made["User"] == f"{os.getuid()}:{os.getgid()}"
    host = made["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 30 * GIB
    assert host["NanoCpus"] == 4_000_000_000
    assert host["PidsLimit"] == 4096
    assert host["ShmSize"] == 15 * GIB
    assert host["NetworkMode"] == "host"
    assert host["Init"] is True
    assert host["SecurityOpt"] == ["no-new-privileges", "label=disable"]
    assert host["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": "128m", "max-file": "2"},
    }
    (gpus,) = host["DeviceRequests"]
    assert (gpus["DeviceIDs"], gpus["Capabilities"]) == (["1", "3"], [["gpu"]])
    mounts = {mount["Target"]: mount for mount in host["Mounts"]}
    assert mounts[str(folder)] == {"Type": "bind", "Source": str(folder), "Target": str(folder)}
    assert mounts["/gcs"]["Source"] == f"{folder}/gcs"
    assert mounts[f"{folder}/engine"]["Type"] == "tmpfs"
    assert mounts[f"{folder}/logs"]["ReadOnly"] is True


def test_a_container_that_is_not_there_is_told_from_an_engine_that_is_not(requests, monkeypatch):
    engine = ContainerEngine("docker")

    assert engine.state("tensordeck-17-1-workerpool0-0") is None
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/engine.sock")
    with pytest.raises(Unavailable, match=r"docker does not answer: .*/nowhere/engine.sock"):
        engine.state("tensordeck-17-1-workerpool0-0")


def test_without_an_engine_the_error_says_what_to_do(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    machine = Machine(machine_type="n1-standard-4", cpus=4, memory_bytes=15 * GIB)
    replica = Replica(pool=0, index=0, image=IMAGE, machine=machine, command=("true",))
    launch = Launch(job_id="1", attempt=1, folder=tmp_path, replicas=(replica,))

    with pytest.raises(FailedPrecondition, match=r"finds no engine: .*no.sock"):
        ContainerExecutor("docker").check(launch)


def test_the_client_knows_all_other_commands(requests):
    help_of = [("ps", "--filter"), ("stop", "-t,"), ("rm", "--volumes"), ("logs", "--timestamps")]

    for command, option in help_of:
        done = subprocess.run(
            ["docker", command, "--help"], check=True, capture_output=True, text=True
        )
        assert option in done.stdout
