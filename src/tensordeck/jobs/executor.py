"""What runs the replicas of a job: the contract of every executor.

An executor is asked by a controller that may die at any moment. What it has started goes on
without the controller, and everything that is needed to find it again is in the handle that
`start` returned, which the controller keeps with the job.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

Handle: TypeAlias = dict[str, Any]
"""What finds a started job again: JSON, kept in the job's row."""


class Phase(StrEnum):
    """Where a replica is."""

    PREPARING = "preparing"
    """Its environment is being made; none of the user's code has run."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """It ended by itself with an error, or was ended for breaking a limit."""
    CANCELLED = "cancelled"
    LOST = "lost"
    """It is gone and nobody knows how it ended: its host was restarted, say."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self not in (Phase.PREPARING, Phase.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What one replica may use.

    Attributes:
        machine_type: As the spec names it, e.g. `n1-standard-4`.
        cpus: Cores.
        memory_bytes: Main memory.
        accelerator_type: E.g. `NVIDIA_TESLA_T4`; empty for none.
        accelerators: How many.
    """

    machine_type: str
    cpus: float
    memory_bytes: int
    accelerator_type: str = ""
    accelerators: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One process of a job.

    Either `module` is set (a Python package spec) or not (a container spec).

    Attributes:
        pool: Index of its worker pool.
        index: Its own index in the pool.
        image: The container image's URI as the spec names it.
        machine: What it may use.
        module: Python module to run, as `python -m` does.
        packages: The user's packages (sdists or wheels), as local files.
        command: The container's command; empty for the image's own.
        args: Arguments, after the module or the command.
        env: Its variables, complete but for what the executor's own environment adds (`PATH`).
    """

    pool: int
    index: int
    image: str
    machine: Machine
    module: str = ""
    packages: tuple[Path, ...] = ()
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`workerpool0-0`, as Vertex calls it."""
        return f"workerpool{self.pool}-{self.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One attempt to run a job.

    Attributes:
        job_id: The job's numeric id.
        attempt: From 1.
        folder: The attempt's own folder on this host, which exists. An executor keeps what it
            needs there; log lines go to `folder/logs`, in the form of `jobs.job_log`; event files
            of the system metrics to `folder/system/<replica's name>`.
        replicas: What to run, pool after pool.
        timeout_seconds: How long the replicas may run; None for as long as they like.
        system_metrics: Whether to record what the replicas use.
    """

    job_id: str
    attempt: int
    folder: Path
    replicas: tuple[Replica, ...]
    timeout_seconds: float | None = None
    system_metrics: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """How a replica is.

    Attributes:
        name: E.g. `workerpool0-0`.
        phase: Where it is.
        exit_code: Once it ended by itself; negative for the number of a signal.
        reason: For a phase other than success: one sentence that a person can act on.
    """

    name: str
    phase: Phase
    exit_code: int | None = None
    reason: str = ""


class Executor(ABC):
    """Starts, polls and ends the replicas of jobs. Thread-safe."""

    name: ClassVar[str]
    """What the settings call it."""

    @abstractmethod
    def check(self, launch: Launch) -> None:
        """Tells whether a launch can run here at all; starts nothing and takes no time.

        Raises:
            tensordeck.errors.InvalidArgument: If the image or the machine type is not known, with
                the way out.
            tensordeck.errors.FailedPrecondition: If what it needs is not on this host.
        """

    @abstractmethod
    def start(self, launch: Launch) -> Handle:
        """Starts all replicas, environment and all, and returns at once.

        They go on when this process dies. Started again for the same attempt, it returns the
        first start's handle.
        """

    @abstractmethod
    def poll(self, handle: Handle) -> list[ReplicaStatus]:
        """Tells how each replica is, in the order of the launch. Also brings logs up to date."""

    @abstractmethod
    def cancel(self, handle: Handle) -> None:
        """Asks every replica to end: SIGTERM, and SIGKILL after a grace period; returns at once.

        `poll` tells when they have. Nothing that they started is left behind. No error if they
        have ended already.
        """


__all__ = ["Executor", "Handle", "Launch", "Machine", "Phase", "Replica", "ReplicaStatus"]
