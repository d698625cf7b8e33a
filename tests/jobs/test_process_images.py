"""What stands in for container images."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck.errors import InvalidArgument
from tensordeck.jobs.process.images import ImageTable

VERTEX = "us-docker.pkg.dev/vertex-ai/training"
EUROPE = "europe-docker.pkg.dev/vertex-ai/training"


@pytest.fixture(scope="module")
def shipped() -> ImageTable:
    return ImageTable.load()


@pytest.mark.parametrize(
    ("image", "python", "requirement"),
    [
        (f"{VERTEX}/tf-gpu.2-14.py310:latest", "3.10", "tensorflow-cpu~=2.14.0"),
        (f"{VERTEX}/tf-cpu.2-15.py310:latest", "3.10", "tensorflow-cpu~=2.15.0"),
        (f"{VERTEX}/tf-tpu.2-15.cp310:latest", "3.10", "tensorflow-cpu~=2.15.0"),
        (f"{VERTEX}/tf-cpu.2-11:latest", "3.7", "tensorflow-cpu~=2.11.0"),
        (f"{VERTEX}/tf-cpu.1-15:latest", "3.7", "tensorflow-cpu~=1.15.0"),
        ("gcr.io/cloud-aiplatform/training/tf-cpu.2-2:latest", "3.7", "tensorflow-cpu~=2.2.0"),
        (f"{VERTEX}/pytorch-gpu.2-4.py310@sha256:{'0a' * 32}", "3.10", "torch~=2.4.0"),
        (f"{VERTEX}/pytorch-xla.2-3.py310:latest", "3.10", "torch~=2.3.0"),
        (f"{EUROPE}/pytorch-gpu.1-13:latest", "3.7", "torch~=1.13.0"),
        (f"{VERTEX}/sklearn-cpu.1-6:latest", "3.10", "scikit-learn~=1.6.0"),
        (f"{EUROPE}/scikit-learn-cpu.0-23", "3.7", "scikit-learn~=0.23.0"),
        (f"{VERTEX}/xgboost-cpu.1-1:latest", "3.7", "xgboost~=1.1.0"),
    ],
)  # fmt: skip
def test_the_version_in_the_name_of_a_vertex_image_counts(
    shipped: ImageTable, image: str, python: str, requirement: str
) -> None:
    found = shipped.environment(image)
    assert found.python == python
    assert requirement in found.requirements
    assert found.pythons.contains(python)
    assert "google-cloud-aiplatform" in found.requirements


def test_a_framework_gets_what_is_of_its_age(shipped: ImageTable) -> None:
    found = shipped.environment(f"{VERTEX}/tf-cpu.2-14.py310:latest")
    assert {"numpy<2", "pandas<3", "setuptools<81"} <= set(found.requirements)
    assert not found.pythons.contains("3.12")


def test_gpu_packages_are_for_hosts_with_gpus(shipped: ImageTable) -> None:
    gpu, cpu = f"{VERTEX}/tf-gpu.2-14.py310", f"{VERTEX}/tf-cpu.2-14.py310"
    with_gpu = "tensorflow[and-cuda]~=2.14.0"
    assert with_gpu in shipped.environment(gpu, accelerated=True).requirements
    assert with_gpu not in shipped.environment(gpu).requirements
    assert with_gpu not in shipped.environment(cpu, accelerated=True).requirements


@pytest.mark.parametrize(
    ("image", "python"),
    [
        ("python:3.10", "3.10"),
        ("python:3.11.4-slim-bookworm", "3.11"),
        ("docker.io/library/python:3.12-slim", "3.12"),
        ("python", ""),
        ("python:latest", ""),
    ],
)
def test_plain_python_images_need_nothing(shipped: ImageTable, image: str, python: str) -> None:
    found = shipped.environment(image)
    assert (found.python, found.requirements, found.server) == (python, (), False)


def test_our_own_python_can_be_asked_for(shipped: ImageTable) -> None:
    assert shipped.environment("tensordeck/server:latest").server


@pytest.mark.parametrize(
    "image",
    [
        "",
        "mypython:3.10",
        f"{VERTEX}/tf-cpu.9:latest",
        f"{VERTEX}/tf-cpu.0-12:latest",
        "africa-docker.pkg.dev/vertex-ai/training/tf-cpu.2-14.py310:latest",
        "gcr.io/mine/trainer@sha256:00",
    ],
)
def test_an_unknown_image_is_refused_with_the_way_out(shipped: ImageTable, image: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        shipped.environment(image)
    assert repr(image) in str(refusal.value)
    assert "[[image]]" in str(refusal.value)


@given(st.text())
def test_any_text_is_known_or_refused(image: str) -> None:
    table = ImageTable.load()
    with contextlib.suppress(InvalidArgument):
        assert table.environment(image).image == image


OWN = """
[[image]]
name = ["gcr.io/mine/*", "mine:{version}"]
packages = ["lightning"]
python = "3.11"
pythons = ">=3.10"
entrypoint = ["python", "-m", "trainer"]
env = { PIP_INDEX_URL = "https://packages.example.com/simple" }

[[image]]
name = "*/training/tf-{device}.{version}[.{python}]"
environment = "server"
"""


def test_a_table_of_ones_own_extends_and_overrides(tmp_path: Path) -> None:
    file = tmp_path / "images.toml"
    file.write_text(OWN)
    table = ImageTable.load(file)
    mine = table.environment("gcr.io/mine/trainer:7")
    assert mine.requirements == ("lightning",)
    assert mine.entrypoint == ("python", "-m", "trainer")
    assert mine.env == {"PIP_INDEX_URL": "https://packages.example.com/simple"}
    assert table.environment("mine:1.2") != table.environment("python:3.11")
    assert table.environment(f"{VERTEX}/tf-cpu.2-14.py310").server
    assert "torch~=2.4.0" in table.environment(f"{VERTEX}/pytorch-gpu.2-4.py310").requirements


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[image]", "can't be read"),
        ("[[images]]\nname = 'a'", "'images' is not known"),
        ("[[image]]\npackages = []", "image 1: `name` must be"),
        ("[[image]]\nname = 'a'\npackages = 'b'", "`packages` must be a list"),
        ("[[image]]\nname = 'a'\nimage = 'b'", "'image' is not known; there are"),
        ("[[image]]\nname = 'a'\npython = '2.7'", "`python` must be like"),
        ("[[image]]\nname = 'a'\npythons = '3.10'", "`pythons` must be like"),
        ("[[image]]\nname = 'a'\nenvironment = 'mine'", '`environment` can only be "server"'),
        ("[[image]]\nname = 'a'\nenv = ['b']", "`env` must be a table"),
        ("[[image]]\nname = 'a'\n[[image.release]]\nname = 'b'", "release 1: 'name' is not known"),
        ("[[image]]\nname = 'a'\n[[image.release]]\nversions = 1", "`versions` must be like"),
    ],
)
def test_a_table_that_is_not_understood_says_where(
    tmp_path: Path, text: str, complaint: str
) -> None:
    file = tmp_path / "images.toml"
    file.write_text(text)
    with pytest.raises(InvalidArgument) as refusal:
        ImageTable.load(file)
    assert str(file) in str(refusal.value)
    assert complaint in str(refusal.value)


def test_a_table_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"none\.toml can't be read"):
        ImageTable.load(tmp_path / "none.toml")
