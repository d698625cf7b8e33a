"""From a job's spec to what an executor is asked to start."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tensordeck.errors import InvalidArgument
from tensordeck.jobs import machine_types
from tensordeck.jobs.bucket_paths import BucketPaths
from tensordeck.jobs.executor import Machine, Replica
from tensordeck.jobs.job_environment import JobEnvironment

__all__ = ["mounted", "package_uris", "replica_counts", "replicas", "timeout_seconds"]

DEFAULT_TIMEOUT: Final = 7 * 86_400.0
"""How long the managed service lets a job run that gives no `scheduling.timeout`."""
_MOST_POOLS: Final = 4


def replica_counts(job_spec: Mapping[str, Any]) -> list[int]:
    """How many replicas each worker pool has; an empty pool has none.

    Raises:
        InvalidArgument: If there is nothing to run, or there are more pools than roles for them.
    """
    pools = job_spec.get("workerPoolSpecs", [])
    counts = [int(pool.get("replicaCount", 1)) if pool else 0 for pool in pools]
    if not counts or not counts[0]:
        raise InvalidArgument(
            "`job_spec.worker_pool_specs` must begin with the pool of the primary replica."
        )
    if len(counts) > _MOST_POOLS:
        raise InvalidArgument(
            f"`job_spec.worker_pool_specs` has {len(counts)} pools; there are roles for "
            f"{_MOST_POOLS}: primary, workers, parameter servers, evaluators."
        )
    return counts


def timeout_seconds(job_spec: Mapping[str, Any]) -> float:
    """How long a job may run."""
    return seconds(job_spec.get("scheduling", {}).get("timeout", "")) or DEFAULT_TIMEOUT


def seconds(duration: str) -> float:
    """Reads a Duration's proto3 JSON, `"3600s"`; 0 for none."""
    return float(duration.removesuffix("s") or 0)


def package_uris(job_spec: Mapping[str, Any]) -> list[str]:
    """The packages that the replicas need, each once."""
    return list(
        dict.fromkeys(
            uri
            for pool in job_spec.get("workerPoolSpecs", [])
            for uri in pool.get("pythonPackageSpec", {}).get("packageUris", [])
        )
    )


def mounted(job_spec: Mapping[str, Any], buckets: BucketPaths) -> set[tuple[str, str]]:
    """The (bucket, object or folder) pairs that commands, arguments and variables have in /gcs."""
    return {
        found
        for pool in job_spec.get("workerPoolSpecs", [])
        for text in _texts(pool)
        for found in buckets.mentioned(text)
    }


def replicas(
    environment: JobEnvironment, packages: Mapping[str, Path], *, accelerators: bool = True
) -> tuple[Replica, ...]:
    """Makes the replicas of a job, pool after pool.

    Args:
        environment: What they get to see.
        packages: Where the packages lie, by URI.
        accelerators: Whether they get the accelerators that the spec asks for.

    Raises:
        InvalidArgument: If the spec can't be run; the message names the field.
    """
    spec = environment.job.job_spec
    return tuple(
        _replica(environment, packages, number, index, accelerators=accelerators)
        for number, count in enumerate(replica_counts(spec))
        for index in range(count)
    )


def _replica(
    environment: JobEnvironment,
    packages: Mapping[str, Path],
    number: int,
    index: int,
    *,
    accelerators: bool,
) -> Replica:
    pool = environment.job.job_spec["workerPoolSpecs"][number]
    where = f"job_spec.worker_pool_specs[{number}]"
    task = pool.get("pythonPackageSpec") or pool.get("containerSpec")
    if not task:
        raise InvalidArgument(f"`{where}` needs a python_package_spec or a container_spec.")
    rewritten = environment.folder.buckets.rewritten
    own = {variable["name"]: variable.get("value", "") for variable in task.get("env", [])}
    return Replica(
        pool=number,
        index=index,
        image=task.get("executorImageUri") or task.get("imageUri", ""),
        machine=_machine(pool.get("machineSpec", {}), f"{where}.machine_spec", accelerators),
        module=task.get("pythonModule", ""),
        packages=tuple(packages[uri] for uri in task.get("packageUris", [])),
        command=tuple(rewritten(_text(word)) for word in task.get("command", [])),
        args=tuple(rewritten(_text(word)) for word in task.get("args", [])),
        env=environment.variables(number, index, own),
    )


def _machine(spec: Mapping[str, Any], where: str, accelerators: bool) -> Machine:
    machine_type = spec.get("machineType", "")
    cpus, memory_bytes = machine_types.machine(machine_type, f"{where}.machine_type")
    kind = spec.get("acceleratorType", "ACCELERATOR_TYPE_UNSPECIFIED")
    count = 0 if kind == "ACCELERATOR_TYPE_UNSPECIFIED" else int(spec.get("acceleratorCount", 1))
    wanted = accelerators and count > 0
    return Machine(
        machine_type=machine_type,
        cpus=cpus,
        memory_bytes=memory_bytes,
        accelerator_type=kind if wanted else "",
        accelerators=count if wanted else 0,
    )


def _texts(pool: Mapping[str, Any]) -> Iterator[str]:
    task = pool.get("pythonPackageSpec") or pool.get("containerSpec") or {}
    yield from map(_text, [*task.get("command", []), *task.get("args", [])])
    for variable in task.get("env", []):
        yield variable.get("value", "")


def _text(word: Any) -> str:
    """An argument as text. JSON knows one sort of numbers, in which 4 may come as 4.0."""
    if isinstance(word, float) and word.is_integer():
        return str(int(word))
    return str(word)
