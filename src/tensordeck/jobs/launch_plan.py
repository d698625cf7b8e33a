"""From a job's spec to what an executor is asked to start.

The spec is the CustomJobSpec as proto3 JSON; services have checked what the API documents.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tensordeck.jobs import machine_types
from tensordeck.jobs.bucket_paths import BucketPaths
from tensordeck.jobs.executor import Machine, Replica

__all__ = ["mounted", "package_uris", "replica_counts", "replicas", "seconds", "timeout_seconds"]

DEFAULT_TIMEOUT: Final = 7 * 86_400.0
"""How long the managed service lets a job run that gives no `scheduling.timeout`."""


def replica_counts(job_spec: Mapping[str, Any]) -> list[int]:
    """How many replicas each worker pool has; an empty pool has none."""
    return [int(pool.get("replicaCount", 1)) if pool else 0 for pool in job_spec["workerPoolSpecs"]]


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
            for pool in job_spec["workerPoolSpecs"]
            for uri in _task(pool).get("packageUris", [])
        )
    )


def mounted(job_spec: Mapping[str, Any], buckets: BucketPaths) -> set[str]:
    """The `gs://` URIs of what commands, arguments and variables have below `/gcs`."""
    return {
        uri
        for pool in job_spec["workerPoolSpecs"]
        for text in _texts(_task(pool))
        for uri in buckets.mentioned(text)
    }


def replicas(
    job_spec: Mapping[str, Any],
    packages: Mapping[str, Path],
    buckets: BucketPaths,
    variables: Callable[[int, int, Mapping[str, str]], Mapping[str, str]],
) -> tuple[Replica, ...]:
    """Makes the replicas of a job, pool after pool.

    Args:
        job_spec: The spec.
        packages: Where the packages lie, by URI.
        buckets: Where `/gcs` leads.
        variables: Gives a replica's environment: from its pool, its index, and its own variables.

    Raises:
        InvalidArgument: If a machine type is not known.
    """

    def replica(number: int, index: int, pool: Mapping[str, Any]) -> Replica:
        task = _task(pool)
        own = {variable["name"]: variable.get("value", "") for variable in task.get("env", [])}
        return Replica(
            pool=number,
            index=index,
            image=task.get("executorImageUri") or task.get("imageUri", ""),
            machine=_machine(pool.get("machineSpec", {})),
            module=task.get("pythonModule", ""),
            packages=tuple(packages[uri] for uri in task.get("packageUris", [])),
            command=tuple(buckets.rewritten(_text(word)) for word in task.get("command", [])),
            args=tuple(buckets.rewritten(_text(word)) for word in task.get("args", [])),
            env=variables(number, index, own),
        )

    counts = replica_counts(job_spec)
    return tuple(
        replica(number, index, pool)
        for number, (count, pool) in enumerate(
            zip(counts, job_spec["workerPoolSpecs"], strict=True)
        )
        for index in range(count)
    )


def _task(pool: Mapping[str, Any]) -> Mapping[str, Any]:
    task: Mapping[str, Any] = pool.get("pythonPackageSpec") or pool.get("containerSpec") or {}
    return task


def _machine(spec: Mapping[str, Any]) -> Machine:
    return machine_types.machine(
        spec.get("machineType", ""),
        spec.get("acceleratorType", ""),
        int(spec.get("acceleratorCount", 0)),
    )


def _texts(task: Mapping[str, Any]) -> Iterator[str]:
    yield from map(_text, [*task.get("command", []), *task.get("args", [])])
    for variable in task.get("env", []):
        yield variable.get("value", "")


def _text(word: Any) -> str:
    """An argument as text. JSON knows one sort of numbers, in which 4 may come as 4.0."""
    if isinstance(word, float) and word.is_integer():
        return str(int(word))
    return str(word)
