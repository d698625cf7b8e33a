"""Builds the environment of a plan: run by the supervisor as a process of its own.

`python -m tensordeck.jobs.process.build ENVIRONMENTS PLAN`, PLAN being a JSON file. What it
prints is for the job's log; it exits with 1 if something can't be installed. It may be killed at
any moment: what it has not finished lacks its last file, and the next one starts from scratch.
Folders keep their final names from the start, since scripts of a virtual environment hold them.
"""

import fcntl
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
from tensordeck.jobs.process.attempt_folder import write_json
from tensordeck.jobs.process.environments import complete, folder
from tensordeck.jobs.process.installer import InstallFailed, installer
from tensordeck.jobs.process.plan import EnvironmentPlan
from tensordeck.jobs.process.requirements import merged, superfluous, without
from tensordeck.jobs.process.user_packages import (
    COMPLETE,
    UserPackage,
    folder_of,
    installed,
)


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
    with _alone(path):
        if complete(path) is None:
            _build(path, plan, sorted({r for p in packages for r in p.requirements}))


def _build(path: Path, plan: EnvironmentPlan, users: list[str]) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    sites, scripts = [], []
    if plan.requirements or users or not (plan.server and find_spec("pip")):
        venv = path / "venv"
        with tempfile.TemporaryDirectory() as scratch:
            tool = installer(plan.python, plan.python_version, Path(scratch))
            tool.make(venv)
            requirements = merged(plan.requirements, users, plan.same)
            absent = superfluous(requirements, plan.same)
            if requirements:
                _say(f"Installs {', '.join(requirements)}")
                try:
                    tool.install(venv, requirements, absent)
                except InstallFailed:
                    fewer = merged(without(plan.requirements, users, plan.same), users, plan.same)
                    if fewer == requirements:
                        raise
                    _say(f"Tries again without the image's own versions: {', '.join(fewer)}")
                    tool.install(venv, fewer, ())
        sites += [str(found) for found in venv.glob("lib/python*/site-packages")]
        scripts.append(str(venv / "bin"))
    if plan.server:
        sites += site.getsitepackages()
        scripts.append(str(Path(sys.prefix) / "bin"))
    write_json(path / COMPLETE, {"sites": sites, "scripts": scripts})


def _package(environments: Path, plan: EnvironmentPlan, package: Path) -> UserPackage:
    """Installs a package of the user's, unless it is."""
    path = folder_of(environments, plan, package)
    with _alone(path):
        if found := installed(path):
            return found
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        _say(f"Installs {package.name}")
        with tempfile.TemporaryDirectory() as scratch, _sources(package) as sources:
            tool = installer(plan.python, plan.python_version, Path(scratch))
            tool.install_alone(sources, path / "site", isolated=not plan.server)
        requirements = [
            requirement
            for distribution in metadata.distributions(path=[str(path / "site")])
            for requirement in distribution.requires or ()
        ]
        write_json(path / COMPLETE, requirements)
        return UserPackage(path / "site", tuple(requirements))


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


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps others from building the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Waits for another job that builds the same environment")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
