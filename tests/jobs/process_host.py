"""A host with the process executor, and scripts packed as the official client packs them."""

import io
import tarfile
import textwrap
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensordeck.jobs import job_log
from tensordeck.jobs.executor import Handle, Launch, Machine, Replica, ReplicaStatus
from tensordeck.jobs.machine_types import machine
from tensordeck.jobs.process.executor import ProcessExecutor

IMAGE = "tensordeck/server"
"""Our own Python: nothing to install."""
PATIENCE = 60.0


def eventually(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Waits for a condition; returns what it said at last."""
    pause, until = threading.Event(), time.monotonic() + patience
    while not (found := condition()) and time.monotonic() < until:
        pause.wait(0.02)
    assert found, "it did not come to that"
    return found


def sdist(
    folder: Path,
    script: str,
    *,
    requirements: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    name: str = "aiplatform-2026-01-02-03:04:05.678-aiplatform_custom_trainer_script-0.1.tar.gz",
) -> Path:
    """Packs a script as `trainer.task`; the file's name has colons, as the client's have."""
    setup = (
        f"from setuptools import find_packages, setup\n"
        f"setup(name='trainer', version='0.1', packages=find_packages(),"
        f" install_requires={list(requirements)!r})\n"
    )
    members = {
        "setup.py": setup,
        "trainer/__init__.py": "",
        "trainer/task.py": textwrap.dedent(script),
        **(files or {}),
    }
    path = folder / name
    with tarfile.open(path, "w:gz") as archive:
        for member, text in members.items():
            info = tarfile.TarInfo(f"trainer-0.1/{member}")
            info.size, info.mtime = len(text.encode()), time.time()
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


class Host:
    """A process executor, and what it has started."""

    def __init__(self, folder: Path, environments: Path, **options: Any) -> None:
        self.folder = folder
        options = {"grace_seconds": 1.0, "linger_seconds": 1.0, **options}
        self.executor = ProcessExecutor(environments, **options)
        self._attempts = 0

    def launch(self, *replicas: Replica, **more: Any) -> Launch:
        self._attempts += 1
        folder = self.folder / "jobs" / "42" / str(self._attempts)
        folder.mkdir(parents=True)
        return Launch(
            job_id="42",
            attempt=self._attempts,
            folder=folder,
            replicas=replicas,
            **{"system_metrics": False, **more},
        )

    def replica(self, script: str = "", **more: Any) -> Replica:
        """A replica that runs a script: packed, or as a container's command."""
        fields: dict[str, Any] = {
            "pool": 0,
            "index": 0,
            "image": IMAGE,
            "machine": machine("n1-standard-4"),
            "command": ("python", "-c", textwrap.dedent(script)),
        }
        return Replica(**{**fields, **more})

    def start(self, script: str = "", **more: Any) -> tuple[Launch, Handle]:
        launch = self.launch(self.replica(script), **more)
        return launch, self.executor.start(launch)

    def run(self, *replicas: Replica, **more: Any) -> tuple[Launch, list[ReplicaStatus]]:
        launch = self.launch(*replicas, **more)
        return launch, self.wait(self.executor.start(launch))

    def wait(self, handle: Handle, patience: float = PATIENCE) -> list[ReplicaStatus]:
        """Waits for the end of all replicas."""

        def ended() -> list[ReplicaStatus] | None:
            statuses = self.executor.poll(handle)
            return statuses if all(status.phase.ended for status in statuses) else None

        return eventually(ended, patience)


def text(launch: Launch, replica: str = "workerpool0-0") -> str:
    """What a replica's log says."""
    return "\n".join(line.text for line in lines(launch, replica))


def lines(launch: Launch, replica: str = "workerpool0-0") -> list[job_log.Line]:
    found = job_log.read(launch.folder / "logs", limit=1_000_000).lines
    return [line for line in found if line.replica == replica]


def small(memory_bytes: int) -> Machine:
    return Machine(machine_type="n1-standard-1", cpus=1, memory_bytes=memory_bytes)
