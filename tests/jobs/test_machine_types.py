"""Machine types: what their names say."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tensordeck.errors import InvalidArgument
from tensordeck.jobs.machine_types import GIB, machine


@pytest.mark.parametrize(
    ("machine_type", "cpus", "gib"),
    [
        ("n1-standard-4", 4, 15),
        ("n1-highmem-8", 8, 52),
        ("n1-highcpu-16", 16, 14.4),
        ("n2-standard-2", 2, 8),
        ("n2d-highmem-96", 96, 768),
        ("e2-highcpu-32", 32, 32),
        ("c2-standard-60", 60, 240),
        ("c3-standard-22", 22, 88),
        ("m1-ultramem-40", 40, 961),
        ("m1-ultramem-160", 160, 3844),
        ("m1-megamem-96", 96, 1433.6),
    ],
)
def test_cores_and_memory_follow_from_the_name(machine_type: str, cpus: int, gib: float) -> None:
    found = machine(machine_type)
    assert found.cpus == cpus
    assert found.memory_bytes == pytest.approx(gib * GIB, rel=0.001)
    assert (found.accelerator_type, found.accelerators) == ("", 0)


@pytest.mark.parametrize(
    ("machine_type", "accelerator", "count"),
    [
        ("a2-highgpu-1g", "NVIDIA_TESLA_A100", 1),
        ("a2-ultragpu-4g", "NVIDIA_A100_80GB", 4),
        ("a3-highgpu-8g", "NVIDIA_H100_80GB", 8),
        ("g2-standard-24", "NVIDIA_L4", 2),
    ],
)
def test_some_machines_come_with_accelerators(
    machine_type: str, accelerator: str, count: int
) -> None:
    assert machine(machine_type) == machine(machine_type, accelerator, count)
    assert machine(machine_type).accelerators == count
    with pytest.raises(InvalidArgument, match=f"comes with {count} {accelerator}"):
        machine(machine_type, "NVIDIA_TESLA_T4", 1)


def test_others_take_those_that_are_asked_for() -> None:
    found = machine("n1-standard-4", "NVIDIA_TESLA_T4", 2)
    assert (found.accelerator_type, found.accelerators) == ("NVIDIA_TESLA_T4", 2)
    assert machine("n1-standard-4", "ACCELERATOR_TYPE_UNSPECIFIED") == machine("n1-standard-4")


def test_accelerators_need_a_type_and_a_count() -> None:
    with pytest.raises(InvalidArgument, match="accelerator_count is 0"):
        machine("n1-standard-4", "NVIDIA_TESLA_T4")
    with pytest.raises(InvalidArgument, match="accelerator_type is not set"):
        machine("n1-standard-4", "", 1)


@given(st.text(max_size=30).filter(lambda text: not text.isascii() or "-" not in text))
@example("n1-standard-5")
@example("n1-ultramem-4")
@example("z9-standard-4")
@example("a2-highgpu-3g")
@example("n1-standard-4 ")
@example("-standard-4")
def test_what_is_not_known_is_refused_with_examples(machine_type: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        machine(machine_type)
    assert repr(machine_type) in refusal.value.message
    assert "n1-standard-4" in refusal.value.message
