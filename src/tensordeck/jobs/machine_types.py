"""Compute Engine's machine types, as Vertex job specs name them: cores, memory, accelerators.

Most names say what they mean: `n1-standard-4` has 4 cores and n1-standard's 3.75 GiB for each of
them. Source: https://cloud.google.com/compute/docs/machine-resource and, for which of them Vertex
takes, https://cloud.google.com/vertex-ai/docs/training/configure-compute.
"""

import re
from typing import NamedTuple

from tensordeck.errors import InvalidArgument
from tensordeck.jobs.executor import Machine

GIB = 1 << 30

_GIB_PER_CORE: dict[str, dict[str, float]] = {
    "n1": {"standard": 3.75, "highmem": 6.5, "highcpu": 0.9},
    "n2": {"standard": 4, "highmem": 8, "highcpu": 1},
    "n2d": {"standard": 4, "highmem": 8, "highcpu": 1},
    "n4": {"standard": 4, "highmem": 8, "highcpu": 2},
    "e2": {"standard": 4, "highmem": 8, "highcpu": 1},
    "c2": {"standard": 4},
    "c2d": {"standard": 4, "highmem": 8, "highcpu": 2},
    "c3": {"standard": 4, "highmem": 8, "highcpu": 2},
    "c3d": {"standard": 4, "highmem": 8, "highcpu": 2},
    "c4": {"standard": 3.75, "highmem": 7.75, "highcpu": 2},
    "t2d": {"standard": 4},
    "m1": {"ultramem": 24.025, "megamem": 14.93},
    "m2": {"ultramem": 28.31, "megamem": 14.15},
    "m3": {"ultramem": 30.5, "megamem": 15.25},
}
"""Family, class: memory for each core."""

_CORES = (1, 2, 4, 8, 12, 16, 22, 24, 30, 32, 40, 44, 48, 56, 60, 64, 80, 88, 90, 96, 112, 128)
_MORE_CORES = (144, 160, 176, 180, 192, 208, 224, 288, 360, 416)


class _Fixed(NamedTuple):
    cpus: int
    gib: int
    accelerator_type: str
    accelerators: int


_A100, _A100_80, _H100, _L4 = (
    "NVIDIA_TESLA_A100",
    "NVIDIA_A100_80GB",
    "NVIDIA_H100_80GB",
    "NVIDIA_L4",
)
_WITH_ACCELERATORS = {
    **{f"a2-highgpu-{n}g": _Fixed(12 * n, 85 * n, _A100, n) for n in (1, 2, 4, 8)},
    "a2-megagpu-16g": _Fixed(96, 1360, _A100, 16),
    **{f"a2-ultragpu-{n}g": _Fixed(12 * n, 170 * n, _A100_80, n) for n in (1, 2, 4, 8)},
    **{f"a3-highgpu-{n}g": _Fixed(26 * n, 234 * n, _H100, n) for n in (1, 2, 4, 8)},
    "a3-edgegpu-8g": _Fixed(208, 1872, _H100, 8),
    "a3-megagpu-8g": _Fixed(208, 1872, "NVIDIA_H100_MEGA_80GB", 8),
    "a3-ultragpu-8g": _Fixed(224, 2952, "NVIDIA_H200_141GB", 8),
    "a4-highgpu-8g": _Fixed(224, 3968, "NVIDIA_B200", 8),
    **{
        f"g2-standard-{cores}": _Fixed(cores, 4 * cores, _L4, gpus)
        for cores, gpus in {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}.items()
    },
    "ct5lp-hightpu-1t": _Fixed(24, 48, "TPU_V5_LITEPOD", 1),
    "ct5lp-hightpu-4t": _Fixed(112, 192, "TPU_V5_LITEPOD", 4),
    "ct5lp-hightpu-8t": _Fixed(224, 384, "TPU_V5_LITEPOD", 8),
}
"""Types whose accelerators come with the machine."""

_NAME = re.compile(r"(?P<family>[a-z]\d[a-z]?)-(?P<kind>[a-z]+)-(?P<cores>\d+)")


def machine(machine_type: str, accelerator_type: str = "", accelerators: int = 0) -> Machine:
    """Tells what a machine of a job's spec has.

    Args:
        machine_type: `machineSpec.machineType`, e.g. `n1-standard-4`.
        accelerator_type: `machineSpec.acceleratorType`, e.g. `NVIDIA_TESLA_T4`, if any.
        accelerators: `machineSpec.acceleratorCount`.

    Raises:
        InvalidArgument: If there is no such type, or if the accelerators contradict it.
    """
    if accelerator_type in ("", "ACCELERATOR_TYPE_UNSPECIFIED"):
        accelerator_type = ""
        if accelerators:
            raise InvalidArgument(
                f"machine_spec.accelerator_count is {accelerators}, but accelerator_type is not "
                f"set: name one, e.g. NVIDIA_TESLA_T4."
            )
    elif accelerators < 1:
        raise InvalidArgument(
            f"machine_spec.accelerator_type is {accelerator_type}, but accelerator_count is "
            f"{accelerators}: it must be at least 1."
        )
    if fixed := _WITH_ACCELERATORS.get(machine_type):
        if accelerator_type and accelerator_type != fixed.accelerator_type:
            raise InvalidArgument(
                f"machine_spec.machine_type {machine_type} comes with {fixed.accelerators} "
                f"{fixed.accelerator_type}, not with {accelerator_type}."
            )
        return Machine(
            machine_type=machine_type,
            cpus=fixed.cpus,
            memory_bytes=fixed.gib * GIB,
            accelerator_type=fixed.accelerator_type,
            accelerators=accelerators or fixed.accelerators,
        )
    match = _NAME.fullmatch(machine_type)
    gib = _GIB_PER_CORE.get(match["family"], {}).get(match["kind"]) if match else None
    if match is None or gib is None or int(match["cores"]) not in (*_CORES, *_MORE_CORES):
        raise InvalidArgument(
            f"machine_spec.machine_type {machine_type!r} is not known. Examples: n1-standard-4, "
            f"n1-highmem-8, e2-standard-4, n2-highcpu-16, g2-standard-8, a2-highgpu-1g."
        )
    return Machine(
        machine_type=machine_type,
        cpus=int(match["cores"]),
        memory_bytes=int(gib * int(match["cores"]) * GIB),
        accelerator_type=accelerator_type,
        accelerators=accelerators,
    )


__all__ = ["GIB", "machine"]
