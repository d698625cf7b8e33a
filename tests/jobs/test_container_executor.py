"""The container executor: what the engine is told, and what is made of its answers.

No engine runs where these tests must run, so that most of them have `stand_in_docker` on PATH,
which see. What the executor says without an engine is in `test_container_docker_client`.
"""

import itertools
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tensordeck.errors import FailedPrecondition, InvalidArgument
from tensordeck.jobs.container.engine import EngineInfo
from tensordeck.jobs.container.executor import ContainerExecutor
from tensordeck.jobs.container.invocation import invocation
from tensordeck.jobs.executor import Handle, Launch, Machine, Phase, Replica, ReplicaStatus
from tensordeck.jobs.job_log import Severity, read

STAND_IN = Path(__file__).with_name("stand_in_docker.py")
GIB = 1 << 30
MACHINE = Machine(machine_type="n1-standard-4", cpus=4, memory_bytes=15 * GIB)
IMAGE = "registry.example/team/train:2"
DOCKER = EngineInfo(podman=False, rootless=False, cpus=8, memory_bytes=64 * GIB)


def replica(script: str = "", **more: Any) -> Replica:
    return Replica(
        **{
            "pool": 0,
            "index": 0,
            "image": IMAGE,
            "machine": MACHINE,
            "command": ("sh", "-c", script),
            **more,
        }
    )


def eventually(condition: Callable[[], Any]) -> Any:
    pause, waited = threading.Event(), 0.0
    while not (found := condition()) and waited < 30:
        pause.wait(0.02)
        waited += 0.02
    assert found, "it did not come to that"
    return found


_JOB_IDS = itertools.count(1)


class Host:
    """A machine with a stand-in for docker, and executors on it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "docker"
        self.root.mkdir()
        (self.root / "images").write_text(IMAGE)
        (self.root / "path").write_text(f"{Path(sys._base_executable).parent}:/usr/bin:/bin")
        info = {"NCPU": 2, "MemTotal": 8 * GIB, "SecurityOptions": ["name=seccomp"]}
        (self.root / "info.json").write_text(json.dumps(info))
        self.folder = folder
        # A thread that still ends the last test's container must not find one of that name here.
        self.job_id = str(next(_JOB_IDS))
        self.executor = ContainerExecutor(grace_seconds=1, period_seconds=0.2)
        self.handles: list[Handle] = []

    def launch(self, *replicas: Replica, **more: Any) -> Launch:
        folder = self.folder / "2026-11-23-08:14:12.345"  # clients make such names
        folder.mkdir(exist_ok=True)
        return Launch(
            **{
                "job_id": self.job_id,
                "attempt": 1,
                "folder": folder,
                "replicas": replicas,
                "system_metrics": False,
                **more,
            }
        )

    def start(self, launch: Launch) -> Handle:
        handle = self.executor.start(launch)
        self.handles.append(handle)
        return handle

    def calls(self, *command: str) -> list[dict[str, Any]]:
        calls = map(json.loads, (self.root / "calls.jsonl").read_text().splitlines())
        return [call for call in calls if tuple(call["argv"][: len(command)]) == command]

    def containers(self) -> list[str]:
        return [path.name for path in (self.root / "containers").glob("*")]

    def ended(self, handle: Handle) -> list[ReplicaStatus]:
        eventually(lambda: all(s.phase.ended for s in self.executor.poll(handle)))
        eventually(lambda: not self.containers())
        return self.executor.poll(handle)

    def status(self, handle: Handle) -> ReplicaStatus:
        return self.executor.poll(handle)[0]

    def lines(self) -> list[str]:
        folder = self.folder / "2026-11-23-08:14:12.345" / "logs"
        return [line.text for line in read(folder).lines if line.replica != "service"]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    programs = tmp_path / "bin"
    programs.mkdir()
    docker = programs / "docker"
    docker.write_text(f'#!/bin/sh\nexec {sys.executable} -ISE {STAND_IN} "$@"\n')
    docker.chmod(0o755)
    host = Host(tmp_path)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("STAND_IN_DOCKER", str(host.root))
    for variable in ("DOCKER_HOST", "CONTAINER_HOST"):
        monkeypatch.delenv(variable, raising=False)
    yield host
    (host.root / "down").unlink(missing_ok=True)
    for handle in host.handles:
        host.executor.cancel(handle)
        host.ended(handle)


def test_a_container_s_command_says_all_that_a_job_may_have(tmp_path):
    machine = Machine(
        machine_type="n1-standard-8",
        cpus=8,
        memory_bytes=30 * GIB,
        accelerator_type="NVIDIA_TESLA_T4",
        accelerators=2,
    )
    launch = Launch(
        job_id="17",
        attempt=2,
        folder=Path("/data/jobs/17/2"),
        replicas=(
            replica(
                command=("python", "train.py"),
                args=("--epochs", "3"),
                machine=machine,
                env={
                    "AIP_MODEL_DIR": "/data/jobs/17/2/gcs/b/run-08:14:12/model/",
                    "TOKEN": "a secret",
                    "SCRIPT": "two\nlines",
                    "REQUESTS_CA_BUNDLE": "/data/tls/bundle,pem",
                },
            ),
        ),
    )

    made = invocation(
        launch, launch.replicas[0], DOCKER, Path("/data/jobs/17/2/x.env"), gpus=("2", "3")
    )

    assert made.arguments == (
        "--name", "tensordeck-17-2-workerpool0-0",
        "--label", "tensordeck.job=17",
        "--label", "tensordeck.attempt=2",
        "--label", "tensordeck.replica=workerpool0-0",
        "--network", "host",
        "--init",
        "--user", f"{os.getuid()}:{os.getgid()}",
        "--security-opt", "no-new-privileges",
        "--security-opt", "label=disable",
        "--memory", str(30 * GIB), "--memory-swap", str(30 * GIB),
        "--cpus", "8",
        "--pids-limit", "4096",
        "--shm-size", str(15 * GIB),
        "--label", "tensordeck.gpus=2,3",
        "--gpus", '"device=2,3"',
        "--log-driver", "json-file", "--log-opt", "max-size=128m", "--log-opt", "max-file=2",
        "--mount", "type=bind,source=/data/jobs/17/2,target=/data/jobs/17/2",
        "--mount", "type=bind,source=/data/jobs/17/2/gcs,target=/gcs",
        "--mount", "type=tmpfs,target=/data/jobs/17/2/engine",
        "--mount", "type=bind,source=/data/jobs/17/2/logs,target=/data/jobs/17/2/logs,readonly",
        "--mount",
        'type=bind,"source=/data/tls/bundle,pem","target=/data/tls/bundle,pem",readonly',
        "--env-file", "/data/jobs/17/2/x.env",
        "--env", "SCRIPT",
        "--entrypoint", "python", IMAGE, "train.py", "--epochs", "3",
    )  # fmt: skip
    assert made.variables == (
        "USER=job\nLOGNAME=job\n"
        "AIP_MODEL_DIR=/data/jobs/17/2/gcs/b/run-08:14:12/model/\n"
        "TOKEN=a secret\n"
        "REQUESTS_CA_BUNDLE=/data/tls/bundle,pem\n"
    )
    assert made.inherited == {"SCRIPT": "two\nlines"}


@pytest.mark.parametrize(
    ("info", "user"),
    [
        (replace(DOCKER, rootless=True), []),
        (replace(DOCKER, podman=True), ["--user"]),
        (replace(DOCKER, podman=True, rootless=True), ["--userns", "--user"]),
    ],
)
def test_files_belong_to_the_server_s_user_whatever_the_engine(info, user):
    launch = Launch(job_id="1", attempt=1, folder=Path("/x"), replicas=(replica("true"),))

    made = invocation(launch, launch.replicas[0], info, Path("/x/env"))

    assert [word for word in made.arguments if word.startswith("--user")] == user


def test_podman_gives_gpus_as_devices():
    launch = Launch(job_id="1", attempt=1, folder=Path("/x"), replicas=(replica("true"),))

    made = invocation(
        launch, launch.replicas[0], replace(DOCKER, podman=True), Path("/x/env"), ("0", "1")
    )

    devices = [made.arguments[n + 1] for n, w in enumerate(made.arguments) if w == "--device"]
    assert devices == ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]


def test_a_container_runs_to_its_end_and_is_removed(host):
    script = 'echo "$GREETING from $PWD_OF"; echo "a warning" >&2; echo "$TEXT"; printf end'
    env = {"GREETING": "hello", "PWD_OF": "a=b c", "TEXT": "first\nsecond"}

    handle = host.start(host.launch(replica(script, env=env)))

    assert host.ended(handle) == [
        ReplicaStatus(name="workerpool0-0", phase=Phase.SUCCEEDED, exit_code=0)
    ]
    lines = read(host.launch().folder / "logs").lines
    printed = [line.text for line in lines if line.severity is Severity.INFO]
    assert printed[-4:] == ["hello from a=b c", "first", "second", "end"]
    assert [line.text for line in lines if line.severity is Severity.ERROR] == ["a warning"]
    assert "n1-standard-4 has 4 cores" in printed[0]  # and the host has two
    (run,) = host.calls("run")
    assert run["mode"] == 0o600
    assert run["inherited"] == {"TEXT": "first\nsecond"}
    assert not any("hello" in word for word in run["argv"])
    assert run["argv"][run["argv"].index("--cpus") + 1] == "2"
    assert not list(host.launch().folder.rglob("*.env"))
    assert (host.launch().folder / "gcs").is_dir()


@pytest.mark.heavy  # two runs of pip
def test_a_python_package_is_installed_and_its_module_run(host, tmp_path):
    package = tmp_path / "trainer-0.1-py3-none-any.whl"
    with zipfile.ZipFile(package, "w") as wheel:
        wheel.writestr("trainer/__init__.py", "")
        wheel.writestr("trainer/task.py", "import sys; print('trained', *sys.argv[1:])")
        wheel.writestr(
            "trainer-0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: trainer\nVersion: 0.1\n"
        )
        wheel.writestr(
            "trainer-0.1.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("trainer-0.1.dist-info/RECORD", "")
    home = tmp_path / "home"
    home.mkdir()

    handle = host.start(
        host.launch(
            replica(
                command=(),
                module="trainer.task",
                packages=(package,),
                args=("--name", "it's $HOME"),
                env={"HOME": str(home)},
            )
        )
    )

    assert host.ended(handle)[0].phase is Phase.SUCCEEDED
    assert host.lines()[-1] == "trained --name it's $HOME"
    assert list(home.glob(".local/lib/python*/site-packages/trainer/task.py"))


@pytest.mark.parametrize(
    ("script", "exit_code", "reason"),
    [
        ("exit 3", 3, "It exited with a non-zero status of 3."),
        ("kill -SEGV $$", -11, "It was ended by SIGSEGV."),
        ("kill -KILL $$", -9, "Something outside killed it (SIGKILL)."),
    ],
)
def test_a_container_that_fails_says_how(host, script, exit_code, reason):
    handle = host.start(host.launch(replica(script)))

    assert host.ended(handle) == [
        ReplicaStatus(name="workerpool0-0", phase=Phase.FAILED, exit_code=exit_code, reason=reason)
    ]


@pytest.mark.parametrize(
    ("state", "phase", "reason"),
    [
        ({"OOMKilled": True}, Phase.FAILED, "more memory than n1-standard-4's 15 GiB"),
        ({"StartedAt": "2001-01-01T00:00:00Z"}, Phase.LOST, "The host was restarted"),
        ({"Error": "no shim"}, Phase.FAILED, "The container could not be run: no shim."),
    ],
)
def test_what_the_engine_knows_of_an_end_is_told(host, state, phase, reason):
    env = {"STAND_IN_STATE": json.dumps(state)}

    handle = host.start(host.launch(replica("kill -KILL $$", env=env)))

    (status,) = host.ended(handle)
    assert (status.phase, status.exit_code) == (phase, -9)
    assert reason in status.reason


def test_a_cancelled_container_that_ignores_sigterm_is_killed(host):
    handle = host.start(
        host.launch(replica("trap '' TERM; sleep 61 & echo here; while :; do sleep 1; done"))
    )
    eventually(lambda: host.lines() == ["here"])
    assert host.status(handle).phase is Phase.RUNNING

    host.executor.cancel(handle)

    (status,) = host.ended(handle)
    assert (status.phase, status.exit_code) == (Phase.CANCELLED, -9)
    assert [call["argv"][1:3] for call in host.calls("stop")] == [["-t", "1"]]
    sleeping = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "61"]]
    assert sleeping == []


def test_a_job_that_is_cancelled_while_its_image_comes_never_starts(host):
    handle = host.start(host.launch(replica("true", image="registry.example/slow:1")))
    eventually(lambda: host.calls("pull"))
    assert host.status(handle).phase is Phase.PREPARING

    host.executor.cancel(handle)

    assert host.ended(handle)[0].phase is Phase.CANCELLED
    assert host.calls("run") == []


def test_a_container_that_runs_too_long_is_ended(host):
    handle = host.start(host.launch(replica("exec sleep 60"), timeout_seconds=0.2))

    (status,) = host.ended(handle)

    assert status.phase is Phase.FAILED
    assert "longer than its timeout of 0.2 s" in status.reason


def test_a_server_that_another_one_followed_does_not_take_its_end_for_a_loss(host):
    flag = host.folder / "flag"
    launch = host.launch(replica(f"while ! test -e {flag}; do sleep 0.05; done"))
    slow = ContainerExecutor(period_seconds=1.5)
    slow.start(launch)
    handle = host.start(launch)
    eventually(lambda: slow.poll(handle)[0].phase is Phase.RUNNING)
    flag.touch()

    assert host.ended(handle)[0].phase is Phase.SUCCEEDED
    eventually(lambda: slow.poll(handle)[0].phase.ended)
    assert slow.poll(handle)[0].phase is Phase.SUCCEEDED


def test_another_server_goes_on_where_the_first_one_stopped(host):
    flag = host.folder / "flag"
    script = f"echo before; while ! test -e {flag}; do sleep 0.05; done; echo after"
    launch = host.launch(replica(script))
    handle = host.start(launch)
    eventually(lambda: host.lines() == ["before"])

    host.executor = ContainerExecutor(grace_seconds=1, period_seconds=0.2)
    assert host.executor.start(launch) == handle
    assert host.status(handle).phase is Phase.RUNNING
    flag.touch()

    assert host.ended(handle)[0].phase is Phase.SUCCEEDED
    assert len(host.calls("run")) == 1
    assert host.executor.start(launch) == handle  # nor does one that has ended start again
    assert ContainerExecutor().poll(handle)[0].phase is Phase.SUCCEEDED
    assert len(host.calls("run")) == 1


def test_an_engine_that_is_away_for_a_while_costs_nothing(host):
    flag = host.folder / "flag"
    script = f"echo before; while ! test -e {flag}; do sleep 0.05; done; echo after"
    handle = host.start(host.launch(replica(script)))
    eventually(lambda: host.lines() == ["before"])

    (host.root / "down").touch()
    reason = eventually(lambda: host.status(handle).reason)
    assert host.status(handle).phase is Phase.RUNNING
    assert "Is the docker daemon running?" in reason
    flag.touch()
    (host.root / "down").unlink()

    (status,) = host.ended(handle)
    assert (status.phase, status.reason) == (Phase.SUCCEEDED, "")
    assert host.lines() == ["before", "after"]


def test_a_cancellation_while_the_engine_is_away_is_not_forgotten(host):
    handle = host.start(host.launch(replica("exec sleep 60")))
    eventually(lambda: host.status(handle).phase is Phase.RUNNING)
    (host.root / "down").touch()
    eventually(lambda: host.status(handle).reason)

    host.executor.cancel(handle)
    (host.root / "down").unlink()

    assert host.ended(handle)[0].phase is Phase.CANCELLED


def test_an_engine_that_stays_away_costs_the_job(host):
    host.executor = ContainerExecutor(grace_seconds=1, period_seconds=0.2, patience_seconds=0.3)
    handle = host.start(host.launch(replica("exec sleep 60")))
    eventually(lambda: host.status(handle).phase is Phase.RUNNING)

    (host.root / "down").touch()

    eventually(lambda: host.status(handle).phase is Phase.LOST)
    assert "Nothing was heard of it for 0.3 s" in host.status(handle).reason


def test_a_container_that_somebody_removes_is_lost(host):
    handle = host.start(host.launch(replica("exec sleep 60")))
    eventually(lambda: host.status(handle).phase is Phase.RUNNING)

    subprocess.run(["docker", "rm", "--force", *host.containers()], check=True)

    eventually(lambda: host.status(handle).phase is Phase.LOST)


def test_an_image_that_can_t_be_had_says_so(host):
    handle = host.start(host.launch(replica("true", image="registry.example/nothing:1")))

    (status,) = host.ended(handle)

    assert status.phase is Phase.FAILED
    assert "registry.example/nothing:1 can't be pulled" in status.reason
    assert "pull access denied" in status.reason


def test_replicas_run_side_by_side(host):
    meeting = host.folder / "meeting"
    meeting.mkdir()
    script = f"touch {meeting}/$ME; while ! test -e {meeting}/$OTHER; do sleep 0.05; done"
    replicas = [
        replica(script, pool=pool, env={"ME": str(pool), "OTHER": str(1 - pool)}) for pool in (0, 1)
    ]

    handle = host.start(host.launch(*replicas))

    assert [s.phase for s in host.ended(handle)] == [Phase.SUCCEEDED] * 2
    assert [s.name for s in host.executor.poll(handle)] == ["workerpool0-0", "workerpool1-0"]


def test_gpus_are_given_to_one_container_at_a_time(host, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    flag = host.folder / "flag"
    machine = replace(MACHINE, accelerator_type="NVIDIA_TESLA_T4", accelerators=2)
    script = f"while ! test -e {flag}; do sleep 0.05; done"
    pair = [replica(script, pool=pool, machine=machine) for pool in (0, 1)]

    handle = host.start(host.launch(*pair))
    eventually(
        lambda: {s.phase for s in host.executor.poll(handle)} == {Phase.RUNNING, Phase.PREPARING}
    )
    waiting = eventually(
        lambda: [s for s in host.executor.poll(handle) if "until 2 GPUs are free" in s.reason]
    )
    assert [s.phase for s in waiting] == [Phase.PREPARING]
    flag.touch()

    assert [s.phase for s in host.ended(handle)] == [Phase.SUCCEEDED] * 2
    given = [call["argv"][call["argv"].index("--gpus") + 1] for call in host.calls("run")]
    assert given == ['"device=0,1"', '"device=0,1"']


def test_a_job_whose_accelerators_are_not_here_is_refused(host, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    machine = replace(MACHINE, accelerator_type="NVIDIA_TESLA_T4", accelerators=1)

    with pytest.raises(FailedPrecondition, match=r"asks for 1 NVIDIA_TESLA_T4.*no GPUs"):
        host.executor.check(host.launch(replica("true", machine=machine)))


def test_an_engine_on_another_host_is_refused(host, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://build.example:2376")

    with pytest.raises(FailedPrecondition, match=r"DOCKER_HOST is tcp://build.example:2376"):
        host.executor.check(host.launch(replica("true")))


def test_a_job_without_an_image_is_refused(host):
    with pytest.raises(InvalidArgument, match="workerpool0-0 names no container image"):
        host.executor.check(host.launch(replica("true", image="")))


def test_system_metrics_of_a_container_are_recorded(host):
    flag = host.folder / "flag"
    script = f"while ! test -e {flag}; do sleep 0.05; done"
    handle = host.start(host.launch(replica(script), system_metrics=True))
    folder = host.launch().folder / "system" / "workerpool0-0"

    eventually(lambda: any(file.stat().st_size > 200 for file in folder.glob("*")))
    flag.touch()

    assert host.ended(handle)[0].phase is Phase.SUCCEEDED


def test_without_docker_and_podman_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    launch = Launch(job_id="1", attempt=1, folder=tmp_path, replicas=(replica("true"),))

    with pytest.raises(FailedPrecondition, match=r"needs docker or podman.*--container-engine"):
        ContainerExecutor().check(launch)
