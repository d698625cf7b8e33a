"""Virtual environments: built once, shared, never half built; overlays that keep them clean."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tensordeck.jobs.executor import Phase
from tensordeck.jobs.process import interpreters
from tensordeck.jobs.process.environments import prune
from tensordeck.jobs.process.installer import InstallFailed, installer
from tensordeck.jobs.process.requirements import merged, superfluous, without
from tests.jobs.process_host import Host, eventually, lines, sdist, text

TUTORIAL = "us-docker.pkg.dev/vertex-ai/training/tf-gpu.2-14.py310:latest"


@pytest.fixture
def environments(tmp_path: Path) -> Path:
    return tmp_path / "environments"


@pytest.fixture
def host(tmp_path: Path, environments: Path) -> Host:
    return Host(tmp_path, environments)


@pytest.fixture
def wheel(tmp_path: Path) -> Iterator[Path]:
    """A distribution `greeting` 1.0, as a wheel in a folder of wheels, offline."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    sources = tmp_path / "greeting"
    (sources / "greeting").mkdir(parents=True)
    (sources / "greeting" / "__init__.py").write_text("def main(): print('hello')\n")
    (sources / "setup.py").write_text(
        "from setuptools import setup\n"
        "setup(name='greeting', version='1.0', packages=['greeting'],"
        " entry_points={'console_scripts': ['greet=greeting:main']})\n"
    )
    build = [sys.executable, "-W", "ignore", "setup.py", "-q", "bdist_wheel", "-d", str(folder)]
    subprocess.run(build, cwd=sources, check=True, capture_output=True)
    yield from folder.iterdir()


@pytest.fixture
def images(tmp_path: Path, wheel: Path) -> Path:
    """A table with an image that has `greeting`."""
    file = tmp_path / "images.toml"
    file.write_text(
        f"[[image]]\nname = 'greeter'\npackages = ['greeting @ {wheel.as_uri()}']\n"
        f"same = ['greeting', 'greeting-cpu']\n"
    )
    return file


def test_an_environment_is_built_once(tmp_path: Path, environments: Path, images: Path) -> None:
    host = Host(tmp_path, environments, images=images)
    replica = host.replica("import greeting; greeting.main()", image="greeter")
    launches = [host.run(replica)[0] for _ in range(2)]
    assert [text(launch) for launch in launches] == ["hello", "hello"]
    assert "was built in" in text(launches[0], "service")
    assert "was built in" not in text(launches[1], "service")


def test_two_jobs_at_once_build_one_environment(
    tmp_path: Path, environments: Path, images: Path
) -> None:
    host = Host(tmp_path, environments, images=images)
    replica = host.replica("import greeting; greeting.main()", image="greeter")
    launches = [host.launch(replica) for _ in range(2)]
    handles = [host.executor.start(launch) for launch in launches]
    assert [host.wait(handle)[0].phase for handle in handles] == [Phase.SUCCEEDED] * 2
    assert len([path for path in environments.iterdir() if path.is_dir()]) == 1
    installs = [line.text for launch in launches for line in lines(launch, "service")]
    assert len([line for line in installs if line.startswith("Installs ")]) == 1


def test_a_killed_build_leaves_nothing_half_usable(
    tmp_path: Path, environments: Path, images: Path
) -> None:
    stuck = tmp_path / "stuck"
    package = sdist(
        tmp_path,
        "print('whole')",
        files={
            "setup.py": textwrap.dedent(f"""
                import os, time
                if not os.path.exists({str(stuck)!r}):
                    open({str(stuck)!r}, "w").write(str(os.getpid()))
                    time.sleep(600)
                from setuptools import setup
                setup(name="trainer", version="0.1", packages=["trainer"])
            """)
        },
    )
    host = Host(tmp_path, environments, images=images)
    replica = host.replica(command=(), module="trainer.task", packages=(package,))
    handle = host.executor.start(host.launch(replica))
    eventually(lambda: stuck.exists() and stuck.read_text())
    host.executor.cancel(handle)
    [status] = host.wait(handle)
    assert status.phase is Phase.CANCELLED
    with pytest.raises(ProcessLookupError):
        os.kill(int(stuck.read_text()), signal.SIGCONT)
    launch, [status] = host.run(replica)
    assert (status.phase, text(launch)) == (Phase.SUCCEEDED, "whole")


def test_the_same_script_packed_anew_is_not_installed_again(host: Host, tmp_path: Path) -> None:
    launches = []
    for number in range(3):
        script = "print('one')" if number < 2 else "print('another')"
        package = sdist(tmp_path, script, name=f"aiplatform-12:00:0{number}-trainer-0.1.tar.gz")
        replica = host.replica(command=(), module="trainer.task", packages=(package,))
        launches.append(host.run(replica)[0])
    assert [text(launch) for launch in launches] == ["one", "one", "another"]
    installed = ["Installs aiplatform" in text(launch, "service") for launch in launches]
    assert installed == [True, False, True]


def test_what_a_package_requires_is_installed(host: Host, tmp_path: Path, wheel: Path) -> None:
    package = sdist(
        tmp_path, "import greeting; greeting.main()", requirements=[f"greeting @ {wheel.as_uri()}"]
    )
    replica = host.replica(command=(), module="trainer.task", packages=(package,))
    launch, [status] = host.run(replica)
    assert (status.phase, text(launch)) == (Phase.SUCCEEDED, "hello")


def test_a_requirement_that_does_not_exist_fails_the_job_with_what_pip_said(
    host: Host, tmp_path: Path
) -> None:
    package = sdist(tmp_path, "", requirements=["greeting @ file:///nowhere/greeting-1.0.tar.gz"])
    replica = host.replica(command=(), module="trainer.task", packages=(package,))
    _, [status] = host.run(replica)
    assert status.phase is Phase.FAILED
    assert "could not be built" in status.reason
    assert "/nowhere/greeting-1.0.tar.gz" in status.reason


def test_what_a_job_installs_stays_its_own(host: Host, wheel: Path) -> None:
    """The official client's command for images of the user's own, but for the index."""
    command = (
        f"pip3 install --no-index -q --user {wheel} && python3 -m greeting.__init__ && greet"
        f" && which greet"
        f" && python -c 'import sysconfig as s; print(s.get_path(\"purelib\"))'"
    )
    launch, [status] = host.run(host.replica(command=("sh", "-c", command)))
    assert (status.phase, status.reason) == (Phase.SUCCEEDED, "")
    hello, script, site = text(launch).splitlines()
    assert hello == "hello"
    assert Path(script).is_relative_to(launch.folder)
    assert Path(site).is_relative_to(launch.folder)  # where `pip install` without --user leads
    launch, [status] = host.run(host.replica("import greeting"))
    assert "No module named 'greeting'" in text(launch)


@pytest.mark.parametrize("place", ["environments", "x" * 150])
def test_scripts_of_the_image_run_with_the_packages_of_the_job(
    tmp_path: Path, place: str, images: Path
) -> None:
    host = Host(tmp_path, tmp_path / place, images=images)
    replica = host.replica(image="greeter", command=("sh", "-c", "greet; which python greet"))
    launch, [status] = host.run(replica)
    assert status.phase is Phase.SUCCEEDED
    hello, python, greet = text(launch).splitlines()
    assert hello == "hello"
    assert Path(python).parent == Path(greet).parent


def test_a_virtual_environment_does_not_see_the_packages_of_its_interpreter(
    tmp_path: Path, environments: Path, images: Path
) -> None:
    host = Host(tmp_path, environments, images=images)
    script = """
        import site, sys
        print([path for path in site.getsitepackages([sys.base_prefix]) if path in sys.path])
        print(sys.prefix != sys.base_prefix)
    """
    launch, _ = host.run(host.replica(script, image="greeter"))
    assert text(launch).splitlines() == ["[]", "True"]


@pytest.mark.heavy
def test_without_uv_venv_and_pip_do(tmp_path: Path, wheel: Path) -> None:
    python = interpreters.own()
    tool = installer(python.executable, python.version, tmp_path, uv=None)
    tool.make(tmp_path / "venv")
    tool.install(tmp_path / "venv", [f"greeting @ {wheel.as_uri()}"], absent=["greeting-cpu"])
    greet = subprocess.run([tmp_path / "venv/bin/greet"], check=True, capture_output=True)
    assert greet.stdout == b"hello\n"
    tool.install_alone(wheel, tmp_path / "site")
    assert (tmp_path / "site/greeting/__init__.py").exists()
    with pytest.raises(InstallFailed):
        tool.install(tmp_path / "venv", ["greeting @ file:///nowhere/greeting-1.0.tar.gz"])


def test_unused_environments_can_be_dropped(host: Host, environments: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"""
        import os, time
        print("on", flush=True)
        while not os.path.exists({str(go)!r}):
            time.sleep(0.01)
    """
    package = sdist(tmp_path, script)
    replica = host.replica(command=(), module="trainer.task", packages=(package,))
    launch = host.launch(replica)
    handle = host.executor.start(launch)
    eventually(lambda: text(launch) == "on")
    assert prune(environments, 0) == 0  # in use
    go.touch()
    assert host.wait(handle)[0].phase is Phase.SUCCEEDED
    assert prune(environments, 3600) == 0  # used within the hour
    assert eventually(lambda: prune(environments, -1))
    assert not list(environments.rglob("*.json"))
    go.touch()
    assert host.run(replica)[1][0].phase is Phase.SUCCEEDED


def test_a_requirement_of_the_jobs_is_met_by_what_the_image_has() -> None:
    image, same = ["numpy<2", "tensorflow-cpu~=2.14.0"], ["tensorflow", "tensorflow-cpu"]
    users = ["tensorflow", "Tensorflow>=2.10; python_version > '3'", "keras-tuner"]
    assert merged(image, users, same) == [
        *image,
        "tensorflow-cpu",
        'tensorflow-cpu>=2.10; python_version > "3"',
        "keras-tuner",
    ]
    assert superfluous(merged(image, users, same), same) == ["tensorflow"]
    assert merged(["numpy"], users, same) == ["numpy", *users]


def test_a_job_may_insist_on_another_version_than_the_images() -> None:
    image, same = ["numpy<2", "pandas", "tensorflow-cpu~=2.14.0"], ["tensorflow", "tensorflow-cpu"]
    assert without(image, ["tensorflow==2.12.1"], same) == ["numpy<2", "pandas"]
    assert without(image, ["numpy", "PANDAS>=2"], same) == ["numpy<2", "tensorflow-cpu~=2.14.0"]
    assert without(image, ["not a requirement !"], same) == image


@pytest.mark.heavy
def test_the_image_of_the_tutorial_has_its_keras(tmp_path: Path, environments: Path) -> None:
    host = Host(tmp_path, environments, allow_missing_accelerators=True)
    script = """
        import os
        import tensorflow as tf
        model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))])
        model.save("model")  # a folder, which Keras 3 refuses
        print(tf.__version__, "saved_model.pb" in os.listdir("model"))
    """
    replica = host.replica(
        image=TUTORIAL, command=(), module="trainer.task", packages=(sdist(tmp_path, script),)
    )
    handle = host.executor.start(launch := host.launch(replica))
    [status] = host.wait(handle, patience=290)
    assert (status.phase, status.reason) == (Phase.SUCCEEDED, "")
    version, saved = text(launch).splitlines()[-1].split()
    assert version.startswith("2.14.")
    assert saved == "True"
