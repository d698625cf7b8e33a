"""An attempt as the supervisor gets it: everything decided, nothing left to look up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from tensordeck.jobs.executor import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentPlan:
    """A virtual environment to make or find.

    Attributes:
        python: The interpreter's executable.
        python_version: E.g. `3.11.7`.
        requirements: What the image has.
        same: Distributions that stand for each other.
        server: Whether the server's own packages are there, too.
        gpus: Whether there will be GPUs: some packages come without what those need.
        packages: The user's packages, as files.
    """

    python: str
    python_version: str
    requirements: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    server: bool = False
    gpus: bool = False
    packages: tuple[str, ...] = ()

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Reads what was written as JSON."""
        lists = {key: tuple(document[key]) for key in ("requirements", "same", "packages")}
        return cls(**{**document, **lists})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaPlan:
    """A replica as the supervisor needs to know it.

    Attributes:
        name: E.g. `workerpool0-0`.
        machine: What it may use.
        environment: What it runs in.
        module: Python module to run, or empty.
        command: What to run if there is no module.
        args: Arguments after either.
        env: Its variables, the image's included.
        gpus: How many of the host's GPUs it gets.
    """

    name: str
    machine: Machine
    environment: EnvironmentPlan
    module: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    gpus: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An attempt, resolved: what images mean here is decided.

    Attributes:
        job_id: The job's numeric id.
        attempt: From 1.
        marker: A secret-free random word that all processes of the attempt carry in their
            environment, and no others.
        environments: Where environments are cached.
        gpus: The host's, as `CUDA_VISIBLE_DEVICES` calls them.
        replicas: The chief first.
        timeout_seconds: How long the replicas may run; None for as long as they like.
        linger_seconds: How long replicas may go on when the chief has succeeded.
        grace_seconds: Between SIGTERM and SIGKILL.
        system_metrics: Whether to record what the replicas use.
        notes: What the user should know before the job starts.
        installer_env: Variables for pip and uv, which the replicas don't get.
        path: PATH of the host.
    """

    job_id: str
    attempt: int
    marker: str
    environments: str
    gpus: tuple[str, ...] = ()
    replicas: tuple[ReplicaPlan, ...]
    timeout_seconds: float | None
    linger_seconds: float
    grace_seconds: float
    system_metrics: bool
    notes: tuple[str, ...] = ()
    installer_env: Mapping[str, str]
    path: str

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Reads what was written as JSON."""
        replicas = tuple(
            ReplicaPlan(
                **{
                    **replica,
                    "machine": Machine(**replica["machine"]),
                    "environment": EnvironmentPlan.read(replica["environment"]),
                    "command": tuple(replica["command"]),
                    "args": tuple(replica["args"]),
                }
            )
            for replica in document["replicas"]
        )
        lists = {key: tuple(document[key]) for key in ("gpus", "notes")}
        return cls(**{**document, **lists, "replicas": replicas})


__all__ = ["EnvironmentPlan", "Plan", "ReplicaPlan"]
