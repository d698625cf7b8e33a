"""Looking at GPUs: by a program that answers as nvidia-smi does, for hosts that have none."""

import shutil
from pathlib import Path

import pytest

from tensordeck.jobs.gpus import open_gpus

pytestmark = pytest.mark.skipif(
    shutil.which("nvidia-smi") is not None, reason="this host has GPUs of its own"
)


def nvidia_smi(folder: Path, body: str) -> None:
    """Puts a program of that name where commands are looked for."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_without_gpus_there_is_nothing_to_see(bin_dir):
    assert open_gpus()() == {}


@pytest.mark.parametrize("body", ["exit 9", "echo 'No devices were found'", "echo"])
def test_a_driver_that_has_no_gpu(bin_dir, body):
    nvidia_smi(bin_dir, body)
    assert open_gpus()() == {}


def test_what_nvidia_smi_tells_in_our_units(bin_dir):
    asked = bin_dir / "asked"
    nvidia_smi(
        bin_dir,
        f'echo "$@" > {asked}\necho "0, 1024, 35, 70.50, 41"\necho "1, 0, [N/A], [N/A], 30"',
    )

    assert open_gpus()() == {
        "0/memory_bytes": 2.0**30,
        "0/utilization_percent": 35.0,
        "0/power_watts": 70.5,
        "0/temperature_celsius": 41.0,
        "1/memory_bytes": 0.0,
        "1/temperature_celsius": 30.0,
    }
    assert "--query-gpu=index,memory.used,utilization.gpu,power.draw,temperature.gpu" in (
        asked.read_text()
    )


def test_a_gpu_that_falls_off_the_bus_costs_points(bin_dir):
    nvidia_smi(bin_dir, 'echo "0, 1024, 35, 70.50, 41"')
    gpus = open_gpus()
    assert gpus()

    nvidia_smi(bin_dir, "echo 'GPU is lost' >&2; exit 15")
    assert gpus() == {}
