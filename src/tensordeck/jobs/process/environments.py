"""Finds the virtual environment of a plan if it has been built before.

An environment is shared by all jobs with the same Python and the same requirements, and nobody
changes it once it is complete: a replica that installs something does so in its own `overlay`.

    <environments>/<key>/venv/           the virtual environment
    <environments>/<key>/complete.json   written last: without it, the rest is rubbish
    <environments>/<key>.lock            held while it is built
    <environments>/packages/<key>/       a user's package: `user_packages`
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensordeck.jobs.process.plan import EnvironmentPlan
from tensordeck.jobs.process.user_packages import COMPLETE, UserPackage, folder_of, installed

_FORM = 1
"""Counts the forms that environments had: one of another form is not found."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What a replica's `sys.path` and PATH are made of.

    Attributes:
        python: The interpreter's executable.
        python_version: E.g. `3.11.7`.
        sites: Folders of packages, the most important first.
        scripts: Folders of console scripts, likewise.
    """

    python: str
    python_version: str
    sites: tuple[str, ...]
    scripts: tuple[str, ...]


def ready(environments: Path, plan: EnvironmentPlan) -> Environment | None:
    """The environment of a plan; None if something of it has to be built first.

    Raises:
        tensordeck.errors.InvalidArgument: If one of the packages can't be read.
    """
    packages = []
    for file in plan.packages:
        package = installed(folder_of(environments, plan, Path(file)))
        if package is None:
            return None
        packages.append(package)
    document = complete(folder(environments, plan, packages))
    if document is None:
        return None
    sites = [str(package.site) for package in packages]
    return Environment(
        python=plan.python,
        python_version=plan.python_version,
        sites=(*sites, *document["sites"]),
        scripts=(*(f"{site}/bin" for site in sites), *document["scripts"]),
    )


def folder(environments: Path, plan: EnvironmentPlan, packages: list[UserPackage]) -> Path:
    """Where the environment of a plan with its packages is kept."""
    key = {
        "form": _FORM,
        "python": [plan.python, plan.python_version],
        "requirements": sorted(plan.requirements),
        "same": sorted(plan.same),
        "users": sorted({r for package in packages for r in package.requirements}),
        "server": sys.prefix if plan.server else "",
    }
    return environments / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def complete(path: Path) -> dict[str, Any] | None:
    """What is known of a complete environment; None for any other."""
    try:
        document: dict[str, Any] = json.loads((path / COMPLETE).read_text())
    except FileNotFoundError:
        return None
    return document


__all__ = ["Environment", "complete", "folder", "ready"]
