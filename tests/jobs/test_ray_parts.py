"""What the Ray executor does without a cluster, and what runs on a node, as Ray's shell runs it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck.errors import FailedPrecondition, InvalidArgument
from tensordeck.jobs.cluster import Cluster
from tensordeck.jobs.engine.record import AttemptRecord
from tensordeck.jobs.executor import Launch, Replica
from tensordeck.jobs.job_log import Severity, read
from tensordeck.jobs.machine_types import GIB, machine
from tensordeck.jobs.ray.executor import RayExecutor
from tensordeck.jobs.ray.rendezvous import NobodyCame, meet, with_addresses
from tensordeck.jobs.ray.replica import entrypoint
from tensordeck.jobs.ray.resources import Demand, demand, fitted, placed
from tensordeck.jobs.ray.shipment import ship
from tensordeck.jobs.ray.task import End, Task

SMALL = {"CPU": 2.0, "memory": 8.0 * GIB}
LARGE = {"CPU": 32.0, "memory": 100.0 * GIB}
WITH_GPUS = {**LARGE, "GPU": 4.0, "accelerator_type:T4": 1.0}


def eventually(condition: Callable[[], Any]) -> Any:
    pause, waited = threading.Event(), 0.0
    while not (found := condition()) and waited < 30:
        pause.wait(0.02)
        waited += 0.02
    assert found, "it did not come to that"
    return found


# What a machine asks for


def test_a_machine_asks_for_what_it_has():
    assert demand(machine("n1-standard-4")).resources() == {"CPU": 4, "memory": 15.0 * GIB}
    assert demand(machine("n1-standard-8", "NVIDIA_TESLA_T4", 2)).resources() == {
        "CPU": 8,
        "memory": 30.0 * GIB,
        "GPU": 2,
        "accelerator_type:T4": 0.001,
    }
    assert demand(machine("ct5lp-hightpu-4t")).others == {
        "TPU": 4.0,
        "accelerator_type:TPU-V5LITEPOD": 0.001,
    }


def test_a_machine_that_is_too_large_becomes_all_of_the_largest_node():
    asked, note = fitted(machine("n1-standard-64"), [SMALL, LARGE])

    assert asked == Demand(32.0, 100 * GIB)
    assert "n1-standard-64 has 64 cores" in note
    assert "offers 32 and 100.0 GiB" in note
    assert fitted(machine("n1-standard-4"), [SMALL, LARGE])[1] == ""


def test_accelerators_must_be_there():
    with_t4 = machine("n1-standard-4", "NVIDIA_TESLA_T4", 4)

    assert fitted(with_t4, [LARGE, WITH_GPUS])[0].gpus == 4
    with pytest.raises(FailedPrecondition, match="No node of the Ray cluster has 1 NVIDIA_L4"):
        fitted(machine("n1-standard-4", "NVIDIA_L4", 1), [LARGE, WITH_GPUS])
    with pytest.raises(FailedPrecondition, match="no nodes"):
        fitted(machine("n1-standard-4"), [])


nodes = st.lists(
    st.fixed_dictionaries({"CPU": st.integers(1, 64).map(float), "memory": st.just(1e12)}),
    min_size=1,
    max_size=5,
)


@given(nodes, st.lists(st.sampled_from([1, 2, 4, 8, 16, 32]), min_size=1, max_size=6))
def test_what_finds_room_is_no_more_than_there_is(nodes, cores):
    demands = [fitted(machine(f"n1-standard-{count}"), nodes)[0] for count in cores]

    count = placed(demands, nodes)

    assert 1 <= count <= len(demands)
    smallest = sorted(asked.cpus for asked in demands)[:count]
    assert sum(smallest) <= sum(node["CPU"] for node in nodes)


def test_an_image_that_nobody_knows_is_refused(tmp_path):
    launch = Launch(
        job_id="1",
        attempt=1,
        folder=tmp_path,
        replicas=(
            Replica(
                pool=0, index=0, image="registry.example/own:1", machine=machine("n1-standard-4")
            ),
        ),
    )

    with pytest.raises(InvalidArgument, match=r"registry.example/own:1"):
        RayExecutor("http://127.0.0.1:1").check(launch)


# How replicas find each other


def test_replicas_on_different_nodes_learn_each_other_s_addresses(tmp_path):
    cluster = Cluster.on_this_host([1, 2])
    names = ["workerpool0-0", "workerpool1-0", "workerpool1-1"]
    before = dict(zip(names, [*cluster.pools[0], *cluster.pools[1]], strict=True))

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda name: meet(tmp_path / "a", name, before, lambda: True), names))

    assert found[0] == found[1] == found[2]
    now = found[0]
    assert len(set(now.values())) == 4
    env = with_addresses(cluster.variables(1, 1, {}), before, now)
    assert json.loads(env["TF_CONFIG"])["cluster"] == {
        "chief": [now["workerpool0-0"]],
        "worker": [now["workerpool1-0"], now["workerpool1-1"]],
    }
    spec = json.loads(env["CLUSTER_SPEC"])
    assert spec["cluster"]["workerpool1"][1] == now["workerpool1-1"]
    assert spec["task"] == {"type": "workerpool1", "index": 1}
    assert f"{env['MASTER_ADDR']}:{env['MASTER_PORT']}" == now[""]
    assert env["RANK"] == "2"


def test_a_replica_does_not_wait_for_ever(tmp_path):
    names = {"workerpool0-0": "", "workerpool1-0": ""}

    with pytest.raises(NobodyCame, match="no room for workerpool1-0 within 0 s"):
        meet(tmp_path / "a", "workerpool0-0", names, lambda: True, seconds=0)
    with pytest.raises(NobodyCame):
        meet(tmp_path / "a", "workerpool0-0", names, lambda: False)


# The launcher, as Ray's shell starts it on a node


def task(folder: Path, script: str = "", **more: Any) -> Task:
    return Task(
        **{
            "name": "workerpool0-0",
            "folder": str(folder),
            "module": "",
            "command": ("sh", "-c", script),
            "args": (),
            "packages": (),
            "env": {},
            "files": (),
            "grace_seconds": 1.0,
            "addresses": {},
            **more,
        }
    )


def node(task: Task, launcher: Path) -> subprocess.Popen[bytes]:
    """Starts a task with nothing of Tensordeck at hand but what is shipped."""
    python = Path(task.folder).parent / "python"
    python.mkdir(exist_ok=True)
    program = python / "python"
    if not program.exists():
        program.write_text(f'#!/bin/sh\nexec {sys._base_executable} -S "$@"\n')
        program.chmod(0o755)
    return subprocess.Popen(  # noqa: S602 -- as Ray runs it
        entrypoint(launcher, task.write()),
        shell=True,
        env={"PATH": f"{python}:/usr/bin:/bin", "NODE": "secret"},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "it's a job"
    folder.mkdir()
    return folder


def test_a_task_runs_with_its_own_variables_and_its_output_is_kept(folder):
    script = 'echo "$GREETING$NODE"; echo bad >&2; command -v python; exit 3'
    process = node(task(folder, script, env={"GREETING": "hello"}), ship(folder))

    assert process.wait() == 3

    own = folder / "replicas" / "workerpool0-0"
    lines = read(folder / "logs").lines
    assert [line.text for line in lines if line.severity is Severity.ERROR] == ["bad"]
    assert [line.text for line in lines if line.severity is Severity.INFO] == [
        "hello",
        str(own / "environment" / "bin" / "python"),
    ]
    assert End.read(own) == End(3)
    assert (own / "task.json").stat().st_mode & 0o777 == 0o600


def test_a_node_without_the_job_s_folder_says_so(folder):
    missing = folder / "elsewhere"
    process = node(task(folder), missing / "launcher.pyz")

    output = process.communicate()[0].decode()

    assert process.returncode == 78
    assert f"can not read {missing}: the server's data directory must be" in output


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"files": ("/no/bundle.pem",)}, "can't read /no/bundle.pem"),
        ({"env": {"https_proxy": "http://127.0.0.1:{port}"}}, "can't reach the server at"),
        ({"command": ("no-such-program",)}, "'no-such-program' could not be started"),
    ],
)
def test_a_node_that_can_t_run_a_task_says_why(folder, more, reason):
    with socket.socket() as probe:  # bound, and nobody listens
        probe.bind(("127.0.0.1", 0))
        if "env" in more:
            port = probe.getsockname()[1]
            more = {"env": {k: v.format(port=port) for k, v in more["env"].items()}}
        assert node(task(folder, "true", **more), ship(folder)).wait() == 1

    end = End.read(folder / "replicas" / "workerpool0-0")
    assert end.exit_code is None
    assert reason in end.reason


def test_a_stopped_task_leaves_nothing_behind(folder):
    script = "trap '' TERM; setsid sleep 62 & echo started; while :; do sleep 0.1; done"
    process = node(task(folder, script), ship(folder))
    eventually(lambda: read(folder / "logs").lines)

    os.kill(process.pid, signal.SIGTERM)

    assert process.wait() == 128 + signal.SIGKILL
    assert End.read(folder / "replicas" / "workerpool0-0") == End(-signal.SIGKILL)
    left = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "62"]]
    assert left == []


def test_a_task_that_nobody_wants_any_more_never_starts(folder):
    (folder / "engine").mkdir()
    AttemptRecord(folder).request_cancel()

    assert node(task(folder, "echo started"), ship(folder)).wait() == 1

    assert read(folder / "logs").lines == []


@pytest.mark.heavy  # pip
def test_a_task_s_packages_are_installed_for_it_alone(folder):
    package = folder / "trainer-0.1-py3-none-any.whl"
    info = "trainer-0.1.dist-info"
    with zipfile.ZipFile(package, "w") as wheel:
        wheel.writestr("trainer.py", "import sys; print('trained', *sys.argv[1:])")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: trainer\nVersion: 0.1\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    process = node(
        task(folder, command=(), module="trainer", args=("--fast",), packages=(str(package),)),
        ship(folder),
    )

    assert process.wait() == 0

    lines = [line.text for line in read(folder / "logs").lines]
    assert lines == ["Installs trainer-0.1-py3-none-any.whl", "trained --fast"]
