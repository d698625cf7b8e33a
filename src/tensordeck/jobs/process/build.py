"""Builds the environment of a plan: run by the supervisor as a process of its own.

`python -m tensordeck.jobs.process.build ENVIRONMENTS PLAN`, PLAN being a JSON file. What it
prints is for the job's log; it exits with 1 if something can't be installed. It may be killed at
any moment: what it has not finished lacks its last file, and the next one starts from scratch.
Folders keep their final names from the start, since scripts of a virtual environment hold them.
"""

import json
import shutil
import site
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from tensordeck.errors import TensordeckError
from tensordeck.jobs.process import cache, pure_wheel
from tensordeck.jobs.process.environments import folder
from tensordeck.jobs.process.installer import Installer, InstallFailed, find_uv, installer
from tensordeck.jobs.process.plan import EnvironmentPlan
from tensordeck.jobs.process.requirements import merged, names, superfluous, without
from tensordeck.jobs.process.user_packages import UserPackage, folder_of


def build(environments: Path, plan: EnvironmentPlan) -> None:
    """Builds what is missing of an environment.

    Args:
        environments: Where environments are kept.
        plan: Which one.

    Raises:
        InstallFailed: If something can't be installed; the installer has said why.
        InvalidArgument: If a package can't be read.
    """
    packages = [_package(environments, plan, Path(file)) for file in plan.packages]
    path = folder(environments, plan, packages)
    users = sorted({r for package in packages for r in package.requirements})
    cache.build(path, lambda: _environment(path, plan, users), _wait)


def _environment(path: Path, plan: EnvironmentPlan, users: list[str]) -> dict[str, list[str]]:
    """Fills the folder of an environment."""
    sites, scripts = [], []
    if plan.requirements or users or not (plan.server and find_spec("pip")):
        venv = path / "venv"
        with tempfile.TemporaryDirectory() as scratch:
            tool = installer(plan.python, plan.python_version, Path(scratch), find_uv())
            tool.make(venv)
            _install(tool, venv, plan, users)
        sites += [str(found) for found in venv.glob("lib/python*/site-packages")]
        scripts.append(str(venv / "bin"))
    if plan.server:
        sites += site.getsitepackages()
        scripts.append(str(Path(sys.prefix) / "bin"))
    return {"sites": sites, "scripts": scripts}


def _install(tool: Installer, venv: Path, plan: EnvironmentPlan, users: list[str]) -> None:
    """Installs the requirements, in the best way that works."""
    wanted = merged(plan.requirements, users, plan.same)
    if not wanted:
        return
    ways = [(f"Installs {', '.join(wanted)}", wanted, False)]
    if "torch" in names(wanted) and not plan.gpus:
        small = (f"{ways[0][0]}, PyTorch without CUDA", wanted, True)
        ways = [small, ("Tries again with the common builds of PyTorch", wanted, False)]
    fewer = merged(without(plan.requirements, users, plan.same), users, plan.same)
    if fewer != wanted:
        text = f"Tries again without the image's own versions: {', '.join(fewer)}"
        ways.append((text, fewer, False))
    for number, (text, requirements, small_torch) in enumerate(ways, start=1):
        _say(text)
        try:
            absent = superfluous(requirements, plan.same)
            tool.install(venv, requirements, absent=absent, small_torch=small_torch)
        except InstallFailed:
            if number == len(ways):
                raise
        else:
            return


def _package(environments: Path, plan: EnvironmentPlan, package: Path) -> UserPackage:
    """Installs a package of the user's, unless it is."""
    path = folder_of(environments, plan, package)
    requirements = cache.build(path, lambda: _fill(path, plan, package), _wait)
    return UserPackage(path / "site", tuple(requirements))


def _fill(path: Path, plan: EnvironmentPlan, package: Path) -> list[str]:
    """Fills the folder of a package, and returns what it requires."""
    _say(f"Installs {package.name}")
    with tempfile.TemporaryDirectory() as scratch, _sources(package) as sources:
        tool = installer(plan.python, plan.python_version, Path(scratch), find_uv())
        wheel = pure_wheel.build(sources, Path(scratch)) or sources
        tool.install_alone(wheel, path / "site")
    return [
        requirement
        for distribution in metadata.distributions(path=[str(path / "site")])
        for requirement in distribution.requires or ()
    ]


@contextmanager
def _sources(package: Path) -> Iterator[Path]:
    """What an installer takes: it is strict about an archive's name, which clients change."""
    if package.suffix == ".whl":
        yield package
        return
    with tempfile.TemporaryDirectory() as scratch:
        if tarfile.is_tarfile(package):
            with tarfile.open(package) as archive:
                archive.extractall(scratch, filter="data")
        else:
            shutil.unpack_archive(package, scratch, "zip")
        inside = list(Path(scratch).iterdir())
        yield inside[0] if len(inside) == 1 and inside[0].is_dir() else Path(scratch)


def _wait() -> None:
    _say("Waits for another job that builds the same environment")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 -- our output is the job's log


def main() -> int:
    """Runs one build."""
    environments, plan = sys.argv[1:]
    try:
        build(Path(environments), EnvironmentPlan.read(json.loads(Path(plan).read_text())))
    except InstallFailed:
        return 1
    except (OSError, TensordeckError) as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
