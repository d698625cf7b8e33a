"""The Ray executor with a real Ray on this host, through a server and by its own interface."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import psutil
import pytest

from tensordeck.errors import Unavailable
from tensordeck.jobs.cluster import Cluster
from tensordeck.jobs.executor import Launch, Phase, Replica, ReplicaStatus
from tensordeck.jobs.job_log import SERVICE, Severity, read
from tensordeck.jobs.machine_types import machine
from tensordeck.jobs.ray.executor import RayExecutor
from tests.conftest import make_server
from tests.e2e.training_house import IMAGES, TrainingHouse, open_house

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]
pytest.importorskip("ray", reason="the extra `ray` is not installed")

START_SECONDS = 300
SECONDS = 240
"""How long anything may take here: Ray's processes take their time on few cores."""

TRAIN = """
import os
import torch
from torch.utils.tensorboard import SummaryWriter

torch.manual_seed(0)
x = torch.linspace(-1, 1, 64).unsqueeze(1)
model = torch.nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
with SummaryWriter(os.environ["AIP_TENSORBOARD_LOG_DIR"]) as writer:
    for step in range(20):
        loss = torch.nn.functional.mse_loss(model(x), 3 * x + 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        writer.add_scalar("loss", loss.item(), step)
torch.save(model.state_dict(), os.environ["AIP_MODEL_DIR"] + "model.pt")
print("trained on", os.environ["CLOUD_ML_JOB_ID"])
"""
TOGETHER = """
import json, os
import torch.distributed as dist, torch
dist.init_process_group("gloo")
total = torch.tensor([float(dist.get_rank() + 1)])
dist.all_reduce(total)
task = json.loads(os.environ["TF_CONFIG"])["task"]["type"]
print(task, "of", dist.get_world_size(), "says", total.item())
dist.destroy_process_group()
"""


@dataclass
class Ray:
    """A Ray cluster of one node, on this host.

    Attributes:
        process: `ray start --block`, above all others.
        address: Its dashboard's.
    """

    process: subprocess.Popen[bytes]
    address: str

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/api/version", timeout=5) as reply:
                return reply.status == 200
        except (URLError, OSError):
            return False

    def end(self) -> None:
        """Ends it and all that it has started, and nothing else on this host."""
        if self.process.poll() is not None:
            return
        head = psutil.Process(self.process.pid)
        members = [head, *head.children(recursive=True)]
        head.terminate()
        _, left = psutil.wait_procs(members, timeout=30)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


def start_ray(folder: Path) -> Ray:
    ports = []
    with socket.socket() as head, socket.socket() as dashboard:
        for probe in (head, dashboard):
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env |= {
        "PATH": f"{Path(sys.executable).parent}:{env['PATH']}",
        "RAY_agent_register_timeout_ms": "240000",
        "RAY_raylet_start_wait_time_s": "240",
    }
    process = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("ray")), "start", "--head", "--block",
            "--disable-usage-stats", f"--port={ports[0]}", f"--dashboard-port={ports[1]}",
            "--node-ip-address=127.0.0.1", "--num-cpus=8", f"--memory={64 << 30}",
            f"--object-store-memory={100 << 20}", f"--temp-dir={folder}",
        ],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=(folder / "ray.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    ray = Ray(process, f"http://127.0.0.1:{ports[1]}")
    executor = RayExecutor(ray.address)
    try:
        eventually(lambda: ray.is_up() and has_nodes(executor), START_SECONDS)
    except BaseException:
        ray.end()
        raise
    return ray


def has_nodes(executor: RayExecutor) -> bool:
    try:
        return bool(executor._cluster.nodes())
    except Unavailable:
        return False


@pytest.fixture(scope="module")
def ray() -> Iterator[Ray]:
    # Ray's sockets are in there, whose paths must be short.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        ray = start_ray(Path(folder))
        yield ray
        ray.end()


def eventually(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        pause.wait(0.1)
    assert found, "it did not come to that"
    return found


def launch(folder: Path, *scripts: str, **more: Any) -> Launch:
    return Launch(
        **{
            "job_id": str(time.time_ns()),
            "attempt": 1,
            "folder": folder,
            "replicas": tuple(
                Replica(
                    pool=pool,
                    index=0,
                    image="python:3.11",
                    machine=machine("n1-standard-2"),
                    command=("sh", "-c", script),
                    env={"HOME": str(folder)},
                )
                for pool, script in enumerate(scripts)
            ),
            **more,
        }
    )


def ended(executor: RayExecutor, handle: dict[str, Any]) -> list[ReplicaStatus]:
    eventually(lambda: all(status.phase.ended for status in executor.poll(handle)))
    return executor.poll(handle)


def printed(folder: Path) -> list[tuple[Severity, str]]:
    """What replicas have printed, without what the service itself has to say."""
    lines = read(folder / "logs").lines
    return [(line.severity, line.text) for line in lines if line.replica != SERVICE]


# Through a server


@pytest.fixture(scope="module")
def house(tmp_path_factory, ray) -> Iterator[TrainingHouse]:
    folder = tmp_path_factory.mktemp("training")
    (folder / "images.toml").write_text(IMAGES)
    server = make_server(
        folder / "data", "--job-images", str(folder / "images.toml"),
        "--executor", "ray", "--ray-address", ray.address,
    )  # fmt: skip
    server.start()
    yield open_house(server)
    server.kill()


def test_a_job_trains_on_ray_and_its_points_and_model_come_back(house):
    board = house.board()

    job = house.submit(TRAIN, board=board)
    end = eventually(lambda: (j := house.job(job)).get("endTime") and j)

    assert end["state"] == "JOB_STATE_SUCCEEDED", end
    losses = house.scalars(board, job, "default", "loss")
    assert [step for step, _ in losses] == list(range(20))
    assert losses[-1][1] < losses[0][1] / 10
    assert f"INFO trained on {job.rpartition('/')[2]}" in house.log(job)
    base = end["jobSpec"]["baseOutputDirectory"]["outputUriPrefix"].removeprefix("gs://")
    bucket, _, prefix = base.partition("/")
    listed = house.call("GET", f"/storage/v1/b/{bucket}/o?prefix={prefix}/model/")["items"]
    assert [item["name"] for item in listed] == [f"{prefix}/model/model.pt"]


def test_two_replicas_on_ray_train_together(house):
    job = house.submit(TOGETHER, TOGETHER)
    end = eventually(lambda: (j := house.job(job)).get("endTime") and j)

    assert end["state"] == "JOB_STATE_SUCCEEDED", end
    log = house.log(job)
    assert "chief of 2 says 3.0" in log
    assert "worker of 2 says 3.0" in log


# By the executor's own interface


def test_a_program_that_fails_is_told_with_its_exit_code(ray, tmp_path):
    executor = RayExecutor(ray.address)

    handle = executor.start(launch(tmp_path, "echo going; echo wrong >&2; exit 7"))

    (status,) = ended(executor, handle)
    assert (status.phase, status.exit_code) == (Phase.FAILED, 7)
    assert printed(tmp_path) == [(Severity.INFO, "going"), (Severity.ERROR, "wrong")]


def test_another_server_takes_up_what_runs_and_ends_it(ray, tmp_path):
    script = "trap '' TERM; setsid sleep 63 & echo started; while :; do sleep 0.1; done"
    asked = launch(tmp_path, script)
    first = RayExecutor(ray.address, grace_seconds=2)
    handle = first.start(asked)
    eventually(lambda: printed(tmp_path) == [(Severity.INFO, "started")])

    second = RayExecutor(ray.address, grace_seconds=2)
    assert second.start(asked) == handle
    eventually(lambda: second.poll(handle)[0].phase is Phase.RUNNING)
    second.cancel(handle)

    (status,) = ended(second, handle)
    assert status.phase is Phase.CANCELLED
    assert printed(tmp_path) == [(Severity.INFO, "started")]
    left = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "63"]]
    assert left == []


def test_what_waits_for_room_can_be_cancelled(ray, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    executor = RayExecutor(ray.address, grace_seconds=2)
    large = machine("n1-standard-8")
    busy = launch(first, "exec sleep 600")
    busy = Launch(
        job_id=busy.job_id,
        attempt=1,
        folder=first,
        replicas=tuple(
            Replica(pool=0, index=0, image=r.image, machine=large, command=r.command)
            for r in busy.replicas
        ),
    )
    holding = executor.start(busy)
    eventually(lambda: executor.poll(holding)[0].phase is Phase.RUNNING)

    waiting = executor.start(launch(second, "echo started"))
    eventually(lambda: "waiting for resources" in executor.poll(waiting)[0].reason)
    executor.cancel(waiting)
    assert ended(executor, waiting)[0].phase is Phase.CANCELLED
    executor.cancel(holding)
    assert ended(executor, holding)[0].phase is Phase.CANCELLED

    assert printed(second) == []


def test_replicas_get_addresses_that_they_can_listen_on(ray, tmp_path):
    cluster = Cluster.on_this_host([1, 1])
    script = "echo $MASTER_ADDR:$MASTER_PORT"
    asked = launch(tmp_path, script, script)
    replicas = tuple(
        Replica(
            pool=r.pool,
            index=0,
            image=r.image,
            machine=r.machine,
            command=r.command,
            env=cluster.variables(r.pool, 0, {}),
        )
        for r in asked.replicas
    )
    executor = RayExecutor(ray.address)

    handle = executor.start(
        Launch(job_id=asked.job_id, attempt=1, folder=tmp_path, replicas=replicas)
    )

    assert [s.phase for s in ended(executor, handle)] == [Phase.SUCCEEDED] * 2
    (_, one), (_, other) = printed(tmp_path)
    assert one == other != cluster.master


def test_a_cluster_that_goes_away_costs_the_job_only_after_a_while(ray, tmp_path):
    executor = RayExecutor(ray.address, patience_seconds=20)
    handle = executor.start(launch(tmp_path, "exec sleep 600"))
    eventually(lambda: executor.poll(handle)[0].phase is Phase.RUNNING)

    ray.end()  # the last test of this module
    reason = eventually(lambda: executor.poll(handle)[0].reason)

    assert executor.poll(handle)[0].phase is Phase.RUNNING
    assert f"The Ray cluster at {ray.address} does not answer" in reason
    eventually(lambda: executor.poll(handle)[0].phase is Phase.LOST)
