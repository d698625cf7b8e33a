"""What a replica's machine asks of a Ray cluster.

Ray counts resources, and looks for a node that has them left:
https://docs.ray.io/en/latest/ray-core/scheduling/resources.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tensordeck.errors import FailedPrecondition
from tensordeck.jobs.executor import Machine
from tensordeck.jobs.machine_types import GIB

_SOME: Final = 0.001
"""Of an accelerator's type: it names a node, and is not used up."""

_TYPES: Final = {
    "NVIDIA_TESLA_K80": "K80",
    "NVIDIA_TESLA_P4": "P4",
    "NVIDIA_TESLA_P100": "P100",
    "NVIDIA_TESLA_V100": "V100",
    "NVIDIA_TESLA_T4": "T4",
    "NVIDIA_TESLA_A100": "A100",
    "NVIDIA_A100_80GB": "A100",
    "NVIDIA_L4": "L4",
    "NVIDIA_H100_80GB": "H100",
    "NVIDIA_H100_MEGA_80GB": "H100",
    "NVIDIA_H200_141GB": "H200",
    "NVIDIA_B200": "B200",
    "TPU_V2": "TPU-V2",
    "TPU_V3": "TPU-V3",
    "TPU_V4_POD": "TPU-V4",
    "TPU_V5_LITEPOD": "TPU-V5LITEPOD",
}
"""Vertex AI's names of accelerators: Ray's (`ray.util.accelerators`)."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one replica asks for.

    Attributes:
        cpus: Cores.
        memory_bytes: Main memory.
        gpus: GPUs.
        others: Further resources, by Ray's names.
    """

    cpus: float
    memory_bytes: int
    gpus: int = 0
    others: Mapping[str, float] = field(default_factory=dict)

    def resources(self) -> dict[str, float]:
        """All of it, by Ray's names."""
        counts = {"CPU": self.cpus, "memory": float(self.memory_bytes), "GPU": float(self.gpus)}
        return {name: count for name, count in {**counts, **self.others}.items() if count}


def demand(machine: Machine) -> Demand:
    """What a machine asks of a cluster."""
    others = {}
    gpus = machine.accelerators
    if machine.accelerators and machine.accelerator_type.startswith("TPU"):
        gpus, others["TPU"] = 0, float(machine.accelerators)
    if kind := _TYPES.get(machine.accelerator_type):
        others[f"accelerator_type:{kind}"] = _SOME
    return Demand(machine.cpus, machine.memory_bytes, gpus, others)


def fitted(machine: Machine, nodes: Sequence[Mapping[str, float]]) -> tuple[Demand, str]:
    """What a machine asks of a cluster that does not grow.

    A machine may be larger than every node: it becomes one that is all of a node. Accelerators
    must be there.

    Args:
        machine: What the job asks for.
        nodes: The resources of each node, by Ray's names.

    Returns:
        What to ask for, and a note if that is less.

    Raises:
        FailedPrecondition: If no node has the accelerators.
    """
    asked = demand(machine)
    accelerators = replace(asked, cpus=0, memory_bytes=0)
    able = [node for node in nodes if _has(node, accelerators)]
    if not able:
        raise FailedPrecondition(
            f"No node of the Ray cluster has {machine.accelerators} {machine.accelerator_type}. "
            f"Leave accelerator_type out, let jobs run without (--allow-missing-accelerators), or, "
            f"if the cluster starts nodes when they are asked for, say so (--ray-autoscaling)."
            if machine.accelerators
            else "The Ray cluster has no nodes."
        )
    if any(_has(node, asked) for node in able):
        return asked, ""
    best = max(able, key=lambda node: (node.get("CPU", 0.0), node.get("memory", 0.0)))
    cpus = min(asked.cpus, best.get("CPU", 0.0))
    memory = min(asked.memory_bytes, int(best.get("memory", 0.0)))
    note = (
        f"{machine.machine_type} has {machine.cpus:g} cores and {machine.memory_bytes / GIB:g} GiB "
        f"of memory; the largest node of the Ray cluster offers {best.get('CPU', 0.0):g} and "
        f"{best.get('memory', 0.0) / GIB:.1f} GiB, which have to do."
    )
    return replace(asked, cpus=cpus, memory_bytes=memory), note


def placed(demands: Sequence[Demand], nodes: Sequence[Mapping[str, float]]) -> int:
    """How many replicas find room at a time, each on the first node that has some left."""
    left = [dict(node) for node in nodes]
    count = 0
    for asked in demands:
        node = next((node for node in left if _has(node, asked)), None)
        if node is not None:
            count += 1
            for name, amount in asked.resources().items():
                node[name] -= amount
    return count


def _has(node: Mapping[str, float], asked: Demand) -> bool:
    return all(node.get(name, 0.0) >= amount for name, amount in asked.resources().items())


__all__ = ["Demand", "demand", "fitted", "placed"]
