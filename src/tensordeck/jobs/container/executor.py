"""The executor that runs replicas as containers of this host."""

import sys
import threading
from typing import ClassVar

from tensordeck.errors import FailedPrecondition, InvalidArgument
from tensordeck.jobs import job_log
from tensordeck.jobs.container.engine import ContainerEngine
from tensordeck.jobs.container.replica import ContainerReplica
from tensordeck.jobs.engine.executor import EngineExecutor
from tensordeck.jobs.engine.reconciler import PATIENCE_SECONDS, PERIOD_SECONDS
from tensordeck.jobs.engine.record import AttemptRecord
from tensordeck.jobs.engine.replica import EngineReplica
from tensordeck.jobs.executor import Launch, Replica
from tensordeck.jobs.job_log import LogWriter
from tensordeck.jobs.machine_types import GIB
from tensordeck.jobs.process import accelerators


class ContainerExecutor(EngineExecutor):
    """Runs replicas as containers, in the images that jobs name."""

    name: ClassVar[str] = "container"

    def __init__(
        self,
        program: str = "",
        *,
        grace_seconds: float = 30.0,
        period_seconds: float = PERIOD_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Asks the engine nothing yet.

        Args:
            program: docker's or podman's command or path; empty for whichever is there.
            grace_seconds: Between SIGTERM and SIGKILL.
            period_seconds: See `EngineExecutor`.
            patience_seconds: See `EngineExecutor`.
        """
        super().__init__(period_seconds=period_seconds, patience_seconds=patience_seconds)
        self._engine = ContainerEngine(program)
        self._grace_seconds = grace_seconds
        self._gpus = threading.Lock()

    def check(self, launch: Launch) -> None:
        """See `Executor`."""
        for replica in launch.replicas:
            if not replica.image:
                raise InvalidArgument(
                    f"{replica.name} names no container image: set container_spec.image_uri or "
                    f"python_package_spec.executor_image_uri."
                )
        if sys.platform != "linux":
            raise FailedPrecondition(
                "The container executor needs Linux, where a container can be in the host's "
                "network. Use another executor (--executor process)."
            )
        self._engine.info()
        there = len(accelerators.there())
        for replica in launch.replicas:
            machine = replica.machine
            if machine.accelerators > there:
                raise FailedPrecondition(
                    f"{replica.name} asks for {machine.accelerators} {machine.accelerator_type}, "
                    f"and this host has {there or 'no'} GPUs. Leave accelerator_type out, use an "
                    f"executor that has some, or let jobs run without "
                    f"(--allow-missing-accelerators)."
                )

    def prepare(self, launch: Launch) -> None:
        """Tells what the job will have less of than it asks for."""
        info = self._engine.info()
        notes = {
            f"{machine.machine_type} has {machine.cpus:g} cores and "
            f"{machine.memory_bytes / GIB:g} GiB of memory; this host has {info.cpus} and "
            f"{info.memory_bytes / GIB:.0f} GiB, which have to do."
            for machine in (replica.machine for replica in launch.replicas)
            if machine.cpus > info.cpus or machine.memory_bytes > info.memory_bytes
        }
        with LogWriter(launch.folder / "logs", job_log.SERVICE) as log:
            for note in sorted(notes):
                log.append(note)

    def in_engine(self, launch: Launch, replica: Replica, record: AttemptRecord) -> EngineReplica:
        """See `EngineExecutor`."""
        return ContainerReplica(
            self._engine, self._gpus, launch, replica, record, self._grace_seconds
        )


__all__ = ["ContainerExecutor"]
