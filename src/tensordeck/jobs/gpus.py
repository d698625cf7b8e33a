"""What this machine's NVIDIA GPUs are doing, by NVML, else by `nvidia-smi`; nothing without them.

NVML: https://docs.nvidia.com/deploy/nvml-api/; `nvidia-smi --help-query-gpu` lists its fields.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

__all__ = ["Gpus", "open_gpus"]

Gpus: TypeAlias = Callable[[], dict[str, float]]
"""Looks at all GPUs: values by `0/memory_bytes` and so on, those that a GPU tells."""

_SMI_SECONDS: Final = 10.0
_SMI_FIELDS: Final = {
    "memory.used": ("memory_bytes", 2.0**20),
    "utilization.gpu": ("utilization_percent", 1.0),
    "power.draw": ("power_watts", 1.0),
    "temperature.gpu": ("temperature_celsius", 1.0),
}
"""nvidia-smi's fields: what we call each, and its unit in ours."""


def open_gpus() -> Gpus:
    """Finds the way to look at the GPUs; without any, that looks at nothing."""
    return _by_nvml() or _by_smi() or dict


def _by_nvml() -> Gpus | None:
    try:
        import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415 -- most hosts have no GPU
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
    except pynvml.NVMLError:
        return None
    if not handles:
        return None
    readings: dict[str, Callable[[Any], float]] = {
        "memory_bytes": lambda gpu: float(pynvml.nvmlDeviceGetMemoryInfo(gpu).used),
        "utilization_percent": lambda gpu: float(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
        "power_watts": lambda gpu: pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
        "temperature_celsius": lambda gpu: float(
            pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU)
        ),
    }

    def look() -> dict[str, float]:
        found = {}
        for index, gpu in enumerate(handles):
            for name, read in readings.items():
                # A part of a GPU has no power or use of its own.
                with contextlib.suppress(pynvml.NVMLError):
                    found[f"{index}/{name}"] = read(gpu)
        return found

    return look


def _by_smi() -> Gpus | None:
    command = shutil.which("nvidia-smi")
    if command is None:
        return None

    def look() -> dict[str, float]:
        try:
            done = subprocess.run(
                [
                    command,
                    f"--query-gpu=index,{','.join(_SMI_FIELDS)}",
                    "--format=csv,noheader,nounits",
                ],
                check=True,
                capture_output=True,
                text=True,
                timeout=_SMI_SECONDS,
            )
        except (OSError, subprocess.SubprocessError):
            return {}
        return dict(_read_smi(done.stdout))

    return look if look() else None


def _read_smi(table: str) -> Iterator[tuple[str, float]]:
    for line in table.splitlines():
        index, *values = (cell.strip() for cell in line.split(","))
        for (name, unit), value in zip(_SMI_FIELDS.values(), values, strict=False):
            with contextlib.suppress(ValueError):  # `[N/A]`
                yield f"{index}/{name}", float(value) * unit
