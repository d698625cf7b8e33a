"""The executor that runs replicas as processes of this host."""

import os
import secrets
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import psutil

from tensordeck.errors import FailedPrecondition, InvalidArgument, Unavailable
from tensordeck.jobs.executor import (
    Executor,
    Handle,
    Launch,
    Phase,
    Replica,
    ReplicaStatus,
)
from tensordeck.jobs.machine_types import GIB
from tensordeck.jobs.process import accelerators, interpreters
from tensordeck.jobs.process.attempt_folder import AttemptFolder
from tensordeck.jobs.process.images import ImageEnvironment, ImageTable
from tensordeck.jobs.process.interpreters import Interpreter
from tensordeck.jobs.process.plan import EnvironmentPlan, Plan, ReplicaPlan
from tensordeck.jobs.process.process_tree import kill_marked

_OF_THE_HOST = ("LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")
_OF_INSTALLERS = ("HOME", "SSL_CERT_DIR", "SSL_CERT_FILE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
_INSTALLERS = ("PIP_", "UV_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

_LOCK_SECONDS = 2.0
_LOCK_PAUSE = 0.01
_LOST = "The job's supervisor is gone: it was killed, or the host was restarted."


class ProcessExecutor(Executor):
    """Runs replicas as processes, in cached virtual environments in the place of images."""

    name: ClassVar[str] = "process"

    def __init__(
        self,
        environments: Path,
        *,
        images: Path | None = None,
        grace_seconds: float = 30.0,
        linger_seconds: float = 5.0,
        allow_missing_accelerators: bool = False,
    ) -> None:
        """Starts nothing.

        Args:
            environments: Where virtual environments are kept; shared by all jobs.
            images: A table of images of the user's own; see `images.toml`.
            grace_seconds: Between SIGTERM and SIGKILL.
            linger_seconds: How long the other replicas may go on to write what they have when
                the chief has succeeded; then they are ended.
            allow_missing_accelerators: Whether a job that asks for accelerators may run without.

        Raises:
            InvalidArgument: If the table can't be read.
        """
        self._environments = environments
        self._images = ImageTable.load(images)
        self._grace_seconds = grace_seconds
        self._linger_seconds = linger_seconds
        self._allow_missing_accelerators = allow_missing_accelerators
        self._supervisors: dict[int, subprocess.Popen[bytes]] = {}
        self._supervisors_lock = threading.Lock()

    def check(self, launch: Launch) -> None:
        """See `Executor`."""
        self._resolved(launch)

    def start(self, launch: Launch) -> Handle:
        """See `Executor`.

        Raises:
            InvalidArgument, FailedPrecondition: As `check` does.
            Unavailable: If the folder can't be written or no process be started.
        """
        folder = AttemptFolder(launch.folder)
        names = [replica.name for replica in launch.replicas]
        handle = {"folder": str(launch.folder), "replicas": names}
        try:
            lock = _lock(folder)
            if lock is None:
                return handle
            try:
                folder.write_plan(self._resolved(launch))
                self._supervise(folder, lock)
            finally:
                os.close(lock)
        except OSError as error:
            raise Unavailable(
                f"Job {launch.job_id} can't be started on this host: {error}."
            ) from error
        return handle

    def poll(self, handle: Handle) -> list[ReplicaStatus]:
        """See `Executor`."""
        folder = AttemptFolder(Path(handle["folder"]))
        supervised = folder.supervised()
        self._reap()
        statuses = folder.read_status() or [
            ReplicaStatus(name=name, phase=Phase.PREPARING) for name in handle["replicas"]
        ]
        if supervised or all(status.phase.ended for status in statuses):
            return statuses
        self._clean_up(folder)
        lost = [
            status if status.phase.ended else replace(status, phase=Phase.LOST, reason=_LOST)
            for status in statuses
        ]
        with suppress(OSError):
            folder.write_status(lost)
        return lost

    def cancel(self, handle: Handle) -> None:
        """See `Executor`."""
        AttemptFolder(Path(handle["folder"])).request_cancel()

    def _supervise(self, folder: AttemptFolder, lock: int) -> None:
        """Detaches a supervisor, which inherits the lock."""
        with (folder.path / "supervisor.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    sys.executable, "-P", "-m", "tensordeck.jobs.process.supervisor",
                    str(folder.path), str(lock),
                ],
                cwd=folder.path,
                env={name: os.environ[name] for name in _OF_THE_HOST if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock,),
            )  # fmt: skip
        with self._supervisors_lock:
            self._supervisors[process.pid] = process

    def _reap(self) -> None:
        """Takes note of the ends of supervisors that we have started, lest they stay zombies."""
        with self._supervisors_lock:
            for pid, process in list(self._supervisors.items()):
                if process.poll() is not None:
                    del self._supervisors[pid]

    def _clean_up(self, folder: AttemptFolder) -> None:
        """Ends what a supervisor that was killed could not end."""
        plan = folder.read_plan()
        if plan is not None:
            kill_marked(plan.marker, folder.read_processes().values())
            folder.remove_temporaries(plan.marker)

    # Resolution

    def _resolved(self, launch: Launch) -> Plan:
        """Decides what images and machines mean on this host."""
        notes: dict[str, None] = {}
        replicas = tuple(self._replica(replica, notes) for replica in launch.replicas)
        return Plan(
            job_id=launch.job_id,
            attempt=launch.attempt,
            marker=secrets.token_hex(8),
            environments=str(self._environments.absolute()),
            gpus=accelerators.there(),
            replicas=replicas,
            timeout_seconds=launch.timeout_seconds,
            linger_seconds=self._linger_seconds,
            grace_seconds=self._grace_seconds,
            system_metrics=launch.system_metrics,
            notes=tuple(notes),
            installer_env=_installer_env(),
            path=os.environ.get("PATH", os.defpath),
        )

    def _replica(self, replica: Replica, notes: dict[str, None]) -> ReplicaPlan:
        gpus = self._gpus(replica, notes)
        _compare_machine(replica, notes)
        image = self._images.environment(replica.image, accelerated=gpus > 0)
        python = (
            interpreters.own()
            if image.server
            else interpreters.nearest(image.python, image.pythons)
        )
        notes[_description(image, python)] = None
        command = replica.command or image.entrypoint
        if not replica.module and not command and not replica.args:
            raise InvalidArgument(
                f"container_spec.command is empty, and the process executor does not know what "
                f"{replica.image} runs by itself: set a command."
            )
        return ReplicaPlan(
            name=replica.name,
            machine=replica.machine,
            environment=EnvironmentPlan(
                python=python.executable,
                python_version=python.version,
                requirements=image.requirements,
                same=image.same,
                server=image.server,
                gpus=gpus > 0,
                packages=tuple(str(path.absolute()) for path in replica.packages),
            ),
            module=replica.module,
            command=command,
            args=replica.args,
            env={**_libraries(gpus), **image.env, **replica.env},
            gpus=gpus,
        )

    def _gpus(self, replica: Replica, notes: dict[str, None]) -> int:
        """How many GPUs a replica gets.

        Raises:
            FailedPrecondition: If it asks for more than there are, and must have them.
        """
        wanted, kind = replica.machine.accelerators, replica.machine.accelerator_type
        there = 0 if kind.startswith("TPU") else len(accelerators.there())
        if wanted > there:
            if not self._allow_missing_accelerators:
                raise FailedPrecondition(
                    f"{replica.name} asks for {wanted} {kind}, and this host has {there or 'none'}."
                    f" Leave accelerator_type out, use an executor that has some, or let jobs run "
                    f"without (the setting allow-missing-accelerators)."
                )
            notes[f"{replica.name} asks for {wanted} {kind}; this host has {there or 'none'}."] = (
                None
            )
        return min(wanted, there)


def _lock(folder: AttemptFolder) -> int | None:
    """Takes the supervisor's lock; None if a supervisor lives, or has lived."""
    until = time.monotonic() + _LOCK_SECONDS
    while folder.read_status() is None:
        # Somebody who polls holds it for a moment, too.
        if (lock := folder.lock()) is not None or time.monotonic() > until:
            return lock
        time.sleep(_LOCK_PAUSE)
    return None


def _compare_machine(replica: Replica, notes: dict[str, None]) -> None:
    """Says so if this host has less than a machine type."""
    machine = replica.machine
    cpus, memory = os.cpu_count() or 1, psutil.virtual_memory().total
    if machine.cpus > cpus or machine.memory_bytes > memory:
        notes[
            f"{machine.machine_type} has {machine.cpus:g} cores and "
            f"{machine.memory_bytes / GIB:g} GiB of memory; this host has {cpus} and "
            f"{memory / GIB:.0f} GiB, which have to do."
        ] = None


def _libraries(gpus: int) -> dict[str, str]:
    """Where the host's driver is, for who uses it."""
    path = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": path} if gpus and path else {}


def _description(image: ImageEnvironment, python: Interpreter) -> str:
    """Says what stands in for an image."""
    text = f"{image.image} stands for Python {python.version}"
    if image.python and image.python != python.minor:
        text += f" (this host has no {image.python} that would do)"
    if image.server:
        text += " with Tensordeck's own packages"
    if image.requirements:
        text += f" with {', '.join(image.requirements)}"
    return f"{text}."


def _installer_env() -> dict[str, str]:
    """What pip and uv need of our environment: where packages come from, and how to get there."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in (*_OF_THE_HOST, *_OF_INSTALLERS) or name.upper().startswith(_INSTALLERS)
    }


__all__ = ["ProcessExecutor"]
